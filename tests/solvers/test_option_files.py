"""Files that options name: their content is part of a row, and a path is the user's.

A new defense, or a new option of one, needs a line in `FILES` (it names a file or a folder of
prompts) or in `NO_FILES` (it does not).
"""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from shutil import rmtree
from typing import Any, Literal, get_args, get_origin

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.solver import SolverSpec
from support.auxiliaries import build_clip
from support.defense_scripts import script_of
from support.pools import ITEMS, write_pool
from support.scripted import Scripted, picture, record_of, run_solver, sample

from vlmguard.guard.cards import cards
from vlmguard.guard.defense import defense_named
from vlmguard.guard.errors import UserError
from vlmguard.guard.guard_models.formats import FORMATS
from vlmguard.guard.guard_models.options import options_of
from vlmguard.guard.guard_models.safety_prompt import SafetyPrompt
from vlmguard.guard.rewriter.prompts import PROMPTS
from vlmguard.results.calibrate import calibrate
from vlmguard.results.logs.frame import read_results
from vlmguard.scorers.refusal import refusal
from vlmguard.solvers import guard_model, vlmguard

POLICY = "- {name: tools, definition: All about WORD saws.}\n"


@dataclass(frozen=True)
class Named:
    """What an option names.

    Attributes:
        text: The content, in which WORD is changed.
        file: The file with it in the folder that the option names; empty if it names the file.
        beside: Other options of the defense.
        within: The option of the defense that holds this one, nested, with its other values.
    """

    text: str = "Be WORD and kind."
    file: str = ""
    beside: dict[str, Any] = field(default_factory=dict)
    within: tuple[str, dict[str, Any]] | None = None

    def options(self, option: str, place: str) -> dict[str, Any]:
        """The options of the defense."""
        if self.within is None:
            return {**self.beside, option: place}
        outer, values = self.within
        return {**self.beside, outer: {**values, option: place}}


FORMAT_FILES: dict[tuple[str, str], str] = {
    ("custom", "policy"): POLICY,
    ("custom", "prompt"): "By the WORD rules: {policy}",
    ("llama_guard_7b", "policy"): "O1: WORD saws.\n",
    ("llama_guard_7b", "prompt"): "WORD {policy} {conversation}",
    ("llavaguard", "policy"): "No WORD saws.",
    ("custom_regex", "prompt"): "Is it WORD? {material}",
}
PATTERNS: dict[str, dict[str, str]] = {"custom_regex": {"unsafe": "yes", "safe": "no"}}

FILES: dict[tuple[str, str], Named] = {
    ("adashield", "pool"): Named("", beside={"device": "cpu"}),
    ("adashield", "template"): Named(),
    ("caption_only", "templates"): Named("WORD {caption} {request}", "answer_from_caption.txt"),
    ("coca", "template"): Named(),
    ("ecso", "templates"): Named("WORD {request} {answer}", "self_check.txt"),
    ("eta", "templates"): Named(file="reward.txt"),
    ("figstep_defense", "template"): Named(),
    ("guard_model", "templates"): Named(file="general.txt"),
    ("mllm_protector", "template"): Named("WORD {answer}"),
    ("policy_route", "taxonomy"): Named("- {id: x, definition: WORD saws, action: block}\n"),
    ("policy_route", "templates"): Named(file="block.txt"),
    ("rapguard", "templates"): Named("WORD {material}", "rationale.txt"),
    ("rethink", "templates"): Named(file="policy.txt"),
    ("safety_prompt", "template"): Named(),
    ("self_reminder", "templates"): Named(file="before.txt"),
    ("sia", "fewshot"): Named(),
    ("sia", "templates"): Named("WORD {examples} {caption} {material}", "intent.txt"),
    ("vlmguard", "gate"): Named("- {text: WORD}\n"),
    ("vlmguard", "template"): Named("WORD {request} {format}"),
    **{
        ("guard_model", f"{name}.{option}"): Named(
            text, beside={"adapter": name, "check": "input", **PATTERNS.get(name, {})}
        )
        for (name, option), text in FORMAT_FILES.items()
    },
    **{
        ("vlmguard", f"{name}.{option}"): Named(
            text,
            beside={"gate": "role"},
            within=("gate_adapter", {"adapter": name, **PATTERNS.get(name, {})}),
        )
        for (name, option), text in FORMAT_FILES.items()
    },
}

# Checkpoints count by name, as the models in roles do.
NO_FILES = {
    *(("adashield", each) for each in ("clip", "device")),
    *(("eta", each) for each in ("reward", "clip", "device")),
    *(("guard_model", each) for each in ("adapter", "categories")),
    *(("jailguard", each) for each in ("embedder", "device")),
    *(("mllm_protector", each) for each in ("detector", "detoxifier", "detector_base")),
    *(("mllm_protector", each) for each in ("detoxifier_base", "device")),
    ("safety_prompt", "text"),
    ("vlmguard", "gate_adapter"),
}
FORMAT_NO_FILES = {
    *(("shieldgemma", each) for each in ("checkpoint", "device", "policies")),
    *(("custom_regex", each) for each in ("unsafe", "safe")),
    ("moderation", "model"),
    ("text_guard", "format"),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_clip(tmp_path_factory.mktemp("clip")))


def write(named: Named, place: Path, word: str) -> Path:
    """Write what an option names; returns what it is to name."""
    if not named.text:
        rmtree(place, ignore_errors=True)
        return write_pool(place, [{**ITEMS[0], "prompt": f"Mind {word}."}])
    file = place / (named.file or "named.yaml")
    place.mkdir(exist_ok=True)
    file.write_text(named.text.replace("WORD", word))
    return place if named.file else file


def takes_text(annotation: object) -> bool:
    """Whether an option may be a text of the user's."""
    if get_origin(annotation) is Literal:
        return False
    members = get_args(annotation)
    return any(map(takes_text, members)) if members else annotation is str


def test_every_option_that_may_name_a_file_is_known_here() -> None:
    found = {
        (name, option.name)
        for name in cards().defenses
        for option in signature(defense_named(name)).parameters.values()
        if takes_text(option.annotation)
    }
    assert found == {key for key in FILES if "." not in key[1]} | NO_FILES
    found = {
        (name, option.name)
        for name, each in FORMATS.items()
        for option in options_of(each.guard)[0].values()
        if takes_text(option.annotation)
    }
    assert found == {*FORMAT_FILES} | FORMAT_NO_FILES


@pytest.mark.parametrize("key", FILES, ids=".".join)
def test_two_contents_of_one_file_are_two_rows(
    key: tuple[str, str], clip: str, tmp_path: Path
) -> None:
    defense, option = key[0], key[1].rpartition(".")[2]
    named, script = FILES[key], script_of(defense)
    asked = sample("How do I use the saw?", picture())

    def template(word: str) -> str:
        place = write(named, tmp_path / "named", word)
        own = {"clip": clip} if option == "pool" else {}
        options = {**script.options, **own, **named.options(option, str(place))}
        roles = script.models("calm")
        target = roles.pop("target")
        roles["gate"] = Scripted("no", "gate")
        log = run_solver(SolverSpec(defense, options, options), asked, target, roles)
        return record_of(log).template

    one = template("green")
    assert one
    assert template("yellow") != one


def test_options_that_name_no_file_change_no_hash() -> None:
    """Rows of earlier versions stay comparable."""
    asked = sample("How?", picture())

    def template(solver: Any) -> str:
        roles = {
            "rewriter": Scripted("<reasoning>No.</reasoning><prompt>How, safely?</prompt>", "r"),
            "gate": Scripted('{"violation": true}', "gate"),
            "guard": Scripted('{"violation": false}', "guard"),
        }
        return record_of(run_solver(solver, asked, Scripted("ok"), roles)).template

    ours = PROMPTS[2].hash(reasoning=True)
    assert template(vlmguard()) == ours
    assert template(vlmguard(gate="role", gate_adapter={"adapter": "custom"})) == ours
    ours = SafetyPrompt().hash
    assert template(guard_model()) == ours
    assert template(guard_model(adapter="text_guard", format="custom", caption=False)) == ours


def test_every_path_is_the_users_although_inspect_changes_the_folder(tmp_path: Path) -> None:
    made = []
    for number, (key, named) in enumerate(FILES.items()):
        place = write(named, tmp_path / f"in{number}", "green").relative_to(tmp_path)
        made.append((key[0], named.options(key[1].rpartition(".")[2], str(place))))
    program = (
        "import json, os, sys\n"
        "import vlmguard._registry\n"
        "from vlmguard.guard.defense import defense_named\n"
        "made = json.load(sys.stdin)\n"
        "os.chdir('/')\n"
        "for name, options in made:\n"
        "    defense_named(name)(**options)\n"
        "print(len(made))\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, input=json.dumps(made), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [str(len(FILES))], done.stderr


def test_logs_before_and_after_a_change_of_a_policy_are_not_calibrated_together(
    tmp_path: Path,
) -> None:
    prompt = tmp_path / "prompt.txt"
    harmless = Sample(
        id="h/1",
        input=sample("Is this nice?", picture()).input,
        metadata={"expected": "comply", "image_id": "a", "category": "c", "subset": "all"},
    )
    task = Task(dataset=[harmless], name="nice", scorer=refusal(), version="1-A")
    for words in ("By these rules: {policy}", "By those rules: {policy}"):
        prompt.write_text(words)
        (log,) = inspect_eval(
            task,
            solver=guard_model(prompt=str(prompt)),
            model=Scripted("An answer.").model,
            model_roles={"guard": Scripted('{"violation": false}', "guard").model},
            display="none",
            log_dir=str(tmp_path / "logs"),
        )
        assert log.status == "success", log.error
    results = read_results([str(tmp_path / "logs")])
    assert len(results.runs) == 2, results.left_out
    with pytest.raises(UserError, match="different configurations"):
        calibrate("guard_model", results, 0.2)
