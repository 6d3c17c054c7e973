"""A request of thousands of characters: nothing that guards read is cut without a sign."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
from inspect_ai.model import ModelOutput
from support.carriers import by_solver
from support.conversations import RED
from support.defense_scripts import script_of
from support.scripted import Call, Scripted, record_of, sample

from vlmguard import solvers
from vlmguard.guard.attacks import AttackInput, chosen_attack
from vlmguard.guard.cards import cards
from vlmguard.guard.defense import REFUSAL_MESSAGE

ROOT = Path(__file__).parents[2]
DEFENSES = [name for name in cards().defenses if name in vars(solvers)]
READERS = [name for name in DEFENSES if script_of(name).voices]
ASKED = "How do I climb with this worn rope?"
LIMIT = 6_000
"""Characters that the models behind a guard take here."""

CUTS: Final = {
    # What AdaShield, ETA and JailGuard compare: noted as an approximation where it was cut.
    "guard/aux_models/clip.py": ["truncation=True"],
    "guard/aux_models/reward.py": ["truncation=True"],
    "guard/aux_models/text_encoder.py": ["truncation=True"],
    # Likewise.
    "solvers/ecso.py": ["text[:MAX_ANSWER_CHARS]"],
    # JailGuard's own rule: the beginnings of answers are compared.
    "solvers/jailguard/solver.py": ["text[: self.response_chars]"],
    # Of the reply of a guard or rewriter, which is asked for a short one.
    "guard/guard_models/custom_regex.py": ["own[-READ:]"],
    "guard/rewriter/words.py": ["inner[:_LONGEST_REMARK]"],
    "guard/text/short_replies.py": ["line[-_LONGEST:]", "before[-_LONGEST:]"],
    # The end of a text, to see what it becomes beside the next one.
    "guard/guard_models/plain.py": ["[-_LONGEST_TOKEN:]"],
    "guard/hf_vlm/processor.py": ["ids[-BORDER_TOKENS:]"],
    # What a transcript shows people of a change; the model gets the whole.
    "guard/changes_told.py": ["shown[:_LONGEST]"],
    # Of lists, not of texts.
    "guard/paths.py": ["[:_MOST]"],
    "solvers/jailguard/texts.py": ["places[-_CHOSEN:]", "asking[:_CHOSEN]"],
    "solvers/policy_route/solver.py": ["rules[:MOST_RULES]"],
}
"""All places in the code of guards where something is cut at a limit, and why that may be."""


def filled(place: str) -> str:
    attack = chosen_attack(f"adaptive:R4:{place}").static()
    return attack(AttackInput(ASKED, seed=3)).text


def limited(model: Scripted, questions: tuple[str, ...] | None) -> None:
    """Let a model refuse what is too long, as APIs do; the target only as to its questions."""
    own = model.script
    assert callable(own)

    def reply(call: Call) -> Any:
        told = "".join(message.text for message in call.messages)
        asked = questions is None or any(words in told for words in questions)
        if asked and len(told) > LIMIT:
            output = ModelOutput.from_content(model.name, "too long", "model_length")
            return output.model_copy(update={"error": "maximum context length exceeded"})
        said = own(call)
        return said * 1200 if isinstance(said, str) and said.startswith("Answer ") else said

    model.script = reply


@pytest.mark.parametrize(("defense", "place"), [(name, "middle") for name in DEFENSES])
def test_each_reader_gets_all_of_it_or_its_failure_is_counted(defense: str, place: str) -> None:
    script = script_of(defense)
    models = script.models("calm")
    for name, model in models.items():
        limited(model, tuple(script.questions) if name == "target" else None)
    text = filled(place)
    assert len(text) > 8000
    options = {**script.options, **({"on_failure": "refuse"} if defense in READERS else {})}
    log = by_solver(defense, options, models, sample(text, RED))
    record = record_of(log)
    (done,) = log.samples or []
    assert done.error is None

    if defense in READERS:
        assert record.failure
        assert record.action == "block"
        assert done.output.completion == REFUSAL_MESSAGE
    else:
        assert any(text in call.text for call in models["target"].calls)
        assert not record.failure


def test_ecso_says_that_it_checked_the_beginning_of_an_answer_alone() -> None:
    for answer, noted in (("a" * 1927, []), ("a" * 1928, ["harm check: answer cut at 1,927"])):
        target = Scripted(lambda call, a=answer: "no" if "yes or no" in call.text else a)  # type: ignore[misc]
        record = record_of(by_solver("ecso", {}, {"target": target}, sample(ASKED, RED)))
        assert [each[:31] for each in record.approximations] == noted


def test_all_cuts_in_the_code_of_guards_are_known() -> None:
    """A new one is raised, counted or noted, and stands in the list."""
    limit = r"_?[A-Z][A-Z_]+"
    cut = re.compile(
        rf"truncation=True|\w*\[-{limit}:\]|\w*\[: ?(?!VALUE){limit}\]|\w*\[: self\.(?!index)\w+\]"
    )
    found: dict[str, list[str]] = {}
    for folder in ("guard", "solvers"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            # What servers show to people, the beginning of a refusal, and attacks.
            if {"serving", "refusals", "attacks"} & {*file.parts}:
                continue
            if hits := cut.findall(file.read_text(encoding="utf-8")):
                found[str(file.relative_to(ROOT))] = hits
    assert found == CUTS
