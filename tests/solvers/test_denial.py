"""Requests and replies that deny a guard its work: counted, never a crash, and no long wait."""

import io
from typing import Any

import pytest
from inspect_ai.dataset import Sample
from PIL import Image
from support.adversarial import MOST, worst_ratio
from support.carriers import by_solver
from support.defense_scripts import script_of
from support.scripted import picture, sample

from vlmguard import solvers
from vlmguard.guard.attacks import AttackInput, chosen_attack
from vlmguard.guard.cards import cards
from vlmguard.guard.decision import ON_FAILURE
from vlmguard.guard.defense import REFUSAL_MESSAGE
from vlmguard.guard.images.prepare import to_data_uri
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.rewriter.asks import asks, must_ask, shares_words
from vlmguard.guard.rewriter.reply import parse_reply
from vlmguard.guard.text.normal_forms import normal_form

DEFENSES = [name for name in cards().defenses if name in vars(solvers)]
# Those whose first model has to say something of use: SIA goes on without its first, a caption.
READERS = [name for name in DEFENSES if script_of(name).voices and name != "sia"]
ASKED = "How do I climb with this rope?"
REPLIES = {
    "empty": "",
    "tags": "</prompt></rewritten><prompt></prompt>",
    "endless": "the same again and " * 400,
    "invisible": "\u200b\u200c" * 20_000,
}


def animated() -> str:
    frames = [Image.new("RGB", (32, 24), colour) for colour in ("red", "blue", "red")]
    data = io.BytesIO()
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:], duration=50)
    return to_data_uri(data.getvalue())


def requests() -> list[Sample]:
    texts = {
        variant: chosen_attack(f"adaptive:R11:{variant}").static()(AttackInput(ASKED)).text
        for variant in ("tags", "repetition", "invisible")
    }
    made = {name: sample(text, picture("red")) for name, text in texts.items()}
    made |= {
        "marks": sample(ASKED + "\u0301\u0323" * 20_000, picture("red")),
        "blank": sample(ASKED, to_data_uri(Image.new("RGB", (1, 1), "white"))),
        "animated": sample(ASKED, animated()),
        "wide": sample(ASKED, to_data_uri(Image.new("RGB", (7000, 3), "white"))),
        "nothing seen": sample("\u200b\u2060", picture("red")),
    }
    return [Sample(id=name, input=each.input) for name, each in made.items()]


@pytest.fixture(scope="module")
def hard() -> list[Sample]:
    return requests()


@pytest.mark.parametrize("defense", DEFENSES)
def test_no_request_breaks_a_guard(defense: str, hard: list[Sample]) -> None:
    script = script_of(defense)
    log = by_solver(defense, script.options, script.models("calm"), hard)
    assert log.status == "success"
    for done in log.samples or []:
        assert done.error is None, (done.id, done.error)
        record = DefenseRecord.of(done)
        # JailGuard refuses where the answers to its variants differ, as the script's answers may.
        answered = done.output.completion.startswith("Answer ")
        assert answered or (defense == "jailguard" and record.found_harm), done.id
        assert record.failure is None, done.id


@pytest.mark.parametrize("on_failure", ON_FAILURE)
@pytest.mark.parametrize("defense", READERS)
def test_unreadable_replies_follow_the_policy(defense: str, on_failure: Any) -> None:
    script = script_of(defense)
    (first, *_), replies = script.voices, iter(REPLIES.values())
    models = script.models("alarmed")
    samples = [Sample(id=name, input=sample(ASKED, picture("red")).input) for name in REPLIES]
    current = ""

    def unusable(call: Any) -> str:
        return current

    asked = models.get(first)
    if asked is not None:
        asked.script = unusable
    else:
        own = models["target"].script
        assert callable(own)
        models["target"].script = lambda call: current if first in call.text else own(call)
    options = {**script.options, "on_failure": on_failure}
    for one in samples:
        current = next(replies)
        log = by_solver(defense, options, models, [one])
        (done,) = log.samples or []
        record = DefenseRecord.of(done)
        # Some models may say anything: a caption, a mild answer.
        assert record.failure or script.voices[first].unreadable in (None, ""), one.id
        if not record.failure:
            continue
        if on_failure == "raise":
            assert done.error is not None
            assert record.failure in done.error.message
        else:
            assert done.error is None
            refused = done.output.completion == REFUSAL_MESSAGE
            assert refused is (on_failure == "refuse"), one.id


@pytest.mark.parametrize("unit", ["\u0301\u0323", "\u200b", "</prompt>", "a\u200b ", "again "])
def test_our_own_reading_takes_time_that_grows_with_the_text(unit: str) -> None:
    def read(text: str) -> None:
        asks(text)
        must_ask(text)
        shares_words(text, text)
        normal_form("NFKC", text)
        parse_reply(f"<prompt>{text}</prompt>", request=text, material=text)

    ratio, text = worst_ratio(read, (unit,), ("",))
    assert ratio <= MOST, text
