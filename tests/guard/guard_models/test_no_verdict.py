"""What is no verdict in any format: an echo of its instruction, a choice, a contradiction."""

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted import picture, user

from vlmguard.guard.defense import Conversation
from vlmguard.guard.guard_models.base import ChatGuard, Exchange, Side
from vlmguard.guard.guard_models.formats import FORMATS, guard_format

FORMS: Final = {
    "custom": ('{{"violation": {}}}', "false", "true"),
    "custom_regex": ("Verdict: {}", "fine", "bad"),
    "guardreasoner": ("<result>\nRequest: {0}\nResponse: {0}\n</result>", "unharmful", "harmful"),
    "llama_guard": ("{}", "safe", "unsafe"),
    "llama_guard_3_vision": ("{}", "safe", "unsafe"),
    "llama_guard_7b": ("{}", "safe", "unsafe"),
    "llavaguard": ('{{"rating": "{}"}}', "Safe", "Unsafe"),
    "nemotron": ("User Safety: {0}\nResponse Safety: {0}", "safe", "unsafe"),
    "qwen3guard": ("Safety: {}", "Safe", "Unsafe"),
    "yesno": ("{}", "No", "Yes"),
}
"""How each format that is read from text says its verdict, and the words for safe and unsafe."""

PROMPT: Final = "Is this bad?\n{material}\n\nReply in one line, as here:\nVerdict: bad\n"
PATTERNS: Final = {"unsafe": "^verdict: bad$", "safe": "^verdict: fine$"}
JOINTS: Final = ("/", "|", " or ", " / ", ", ", '" or "', '"/"', " ")


def guards(folder: Path) -> dict[str, ChatGuard]:
    (folder / "ask.txt").write_text(PROMPT)
    options = {"custom_regex": {"prompt": str(folder / "ask.txt"), **PATTERNS}}
    return {
        name: guard
        for name in FORMATS
        if name != "shieldgemma"
        and isinstance(guard := guard_format(name, options.get(name)), ChatGuard)
    }


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ChatGuard]:
    return guards(tmp_path_factory.mktemp("prompts"))


def test_each_format_reads_its_own_words(every: dict[str, ChatGuard]) -> None:
    assert every.keys() == FORMS.keys()
    for name, guard in every.items():
        form, safe, unsafe = FORMS[name]
        for side in guard.sides:
            assert guard.read(form.format(safe), side).label == "safe", name
            assert guard.read(form.format(unsafe), side).label == "unsafe", name


@pytest.mark.parametrize("name", FORMS)
def test_an_echo_of_the_instruction_is_none(name: str, every: dict[str, ChatGuard]) -> None:
    guard = every[name]
    for side in guard.sides:
        asked = Exchange(
            Conversation([user("How?", picture())]), "So." if side == "output" else None
        )
        told = guard.messages(asked)
        pieces = [message.text for message in told]
        if name == "custom_regex":
            pieces += [piece.strip() for piece in PROMPT.split("{material}")]
        for echo in (*pieces, "\n".join(pieces)):
            assert guard.read(echo, side).label is None


@pytest.mark.parametrize("name", FORMS)
@given(
    joint=st.sampled_from(JOINTS), turned=st.booleans(), side=st.sampled_from(["input", "output"])
)
def test_a_choice_of_both_words_is_none(
    name: str, joint: str, turned: bool, side: Side, every: dict[str, ChatGuard]
) -> None:
    form, *words = FORMS[name]
    choice = joint.join(reversed(words) if turned else words)
    assert every[name].read(form.format(choice), side).label is None


@pytest.mark.parametrize("name", FORMS)
@given(
    between=st.sampled_from(["\n", "\n\n", "\n> \n", "\nThen again:\n"]),
    turned=st.booleans(),
    side=st.sampled_from(["input", "output"]),
)
def test_two_verdicts_that_differ_are_none(
    name: str, between: str, turned: bool, side: Side, every: dict[str, ChatGuard]
) -> None:
    form, *words = FORMS[name]
    said = [form.format(word) for word in (reversed(words) if turned else words)]
    assert every[name].read(between.join(said), side).label is None


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("llama_guard", "safe\nS9"),
        ("llama_guard", "safe S9"),
        ("llama_guard", "safe\nunsafe\nS1"),
        ("llama_guard", "unsafely speaking"),
        ("llama_guard", "unsafe if taken literally"),
        ("nemotron", "User Safety: safe\nSafety Categories: Violence"),
        ("qwen3guard", "Safety: Safe\nCategories: Violent"),
        ("custom", '{"violation": false, "categories": ["hate"]}'),
        ("guardreasoner", "Request: harmful only in part"),
        ("guardreasoner", "<result>Request: unharmful-looking</result>"),
        ("llavaguard", 'Reply with "rating": "Safe" or "Unsafe", and'),
        ("yesno", "No\n<score>yes</score>"),
    ],
)
def test_safe_with_a_hazard_and_other_words_are_none(
    name: str, reply: str, every: dict[str, ChatGuard]
) -> None:
    assert every[name].read(reply, "input").label is None


def test_a_hazard_of_the_other_side_is_no_contradiction(every: dict[str, ChatGuard]) -> None:
    reply = "User Safety: safe\nResponse Safety: unsafe\nSafety Categories: Violence"
    assert every["nemotron"].read(reply, "input").label == "safe"
    assert every["nemotron"].read(reply, "output").label == "unsafe"
