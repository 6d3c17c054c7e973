"""Reading a reasoner's replies in many forms."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.model import ModelOutput

from vlmguard.training.synthesis.parsing import (
    is_cut_off,
    is_filtered,
    problem_of,
    read_features,
    read_report,
    read_rewriting,
    target_text,
)
from vlmguard.training.synthesis.prompts import OPTIMIZE_TEMPLATE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"features": ["a", "b"]}', ["a", "b"]),
        ('Sure:\n```json\n{"features": ["a"]}\n```\nDone.', ["a"]),
        ('{"features": [{"risk": "a fall", "from": "the ladder"}]}', ["a fall: the ladder"]),
        ('{"features": "only one"}', ["only one"]),
        ('{"features": ["line\nbreak"]}', ["line\nbreak"]),
        ("1. first\n2) second\n* third", ["first", "second", "third"]),
        ('{"features": []}', []),
        ('{"features": ["None."]}', []),
        ('{"features": 3}', None),
        ("There is something here.", None),
        ("", None),
    ],
)
def test_features(text: str, expected: list[str] | None) -> None:
    assert read_features(text, cut_off=False) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"textual": "t", "visual": "v", "joint": "j"}',
        'Here: {"textual": "t", "visual": "v", "joint": "j"} as asked.',
        "textual: t\nvisual: v\njoint: j",
        "**Textual:** t\n**Visual:** v\n**Joint:** j",
        "- Textual analysis: t\n- Visual analysis: v\n- Joint analysis: j",
        '{"textual": "t",\n"visual": "v",\n"joint": "j"',
    ],
)
def test_report_in_any_dress(text: str) -> None:
    report = read_report(text, cut_off=False)
    assert report is not None
    assert report.text() == "textual: t\nvisual: v\njoint: j"


def test_report_leaves_empty_views_out() -> None:
    report = read_report('{"textual": "none", "visual": "", "joint": "A fall."}', cut_off=False)
    assert report is not None
    assert report.text() == "joint: A fall."


def test_report_of_a_single_view() -> None:
    report = read_report('{"joint": ["A fall.", "A cut."]}', cut_off=False)
    assert report is not None
    assert report.text() == "joint: A fall. A cut."


def test_report_needs_a_view() -> None:
    assert read_report("The picture is dangerous.", cut_off=False) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"reasoning": "r", "prompt": "p"}',
        '```\n{"reasoning": "r", "prompt": "p"}\n```',
        "<reasoning>r</reasoning>\n<prompt>p</prompt>",
        "Reasoning: r\nPrompt: p",
        '**reasoning:** r\n**prompt:** "p"',
    ],
)
def test_rewriting_in_any_dress(text: str) -> None:
    parsed = read_rewriting(text, instructions="", cut_off=False)
    assert (parsed.reasoning, parsed.prompt, parsed.failure) == ("r", "p", None)


@pytest.mark.parametrize(
    ("text", "cut_off", "failure"),
    [
        ("", False, "empty"),
        ("I'm sorry, but I can't help with that.", False, "refused"),
        ('{"reasoning": "r", "prompt": "I cannot help with that."}', False, "refused"),
        ('{"reasoning": "r", "prompt": ""}', False, "empty"),
        ('{"reasoning": "r", "prompt": "a <prompt>b</prompt>"}', False, "stray_tags"),
        ("The ladder is high.", False, "no_prompt"),
        ('{"reasoning": "It goes on', True, "cut_off"),
        (json.dumps({"reasoning": "r", "prompt": OPTIMIZE_TEMPLATE}), False, "echo"),
        (json.dumps({"reasoning": "r", "prompt": "go on " * 40}), False, "repetition"),
    ],
)
def test_rewriting_that_cannot_be_used_has_a_name(text: str, cut_off: bool, failure: str) -> None:
    parsed = read_rewriting(text, instructions=OPTIMIZE_TEMPLATE, cut_off=cut_off)
    assert parsed.failure == failure
    assert parsed.prompt == ""


@pytest.mark.parametrize(
    "text",
    [
        '{\n "reasoning": "r",\n "prompt": "How do I climb this if',
        "Reasoning: r\nPrompt: half a sen",
        "<reasoning>r</reasoning>\n<prompt>half a sen",
    ],
)
def test_half_a_rewriting_is_none(text: str) -> None:
    parsed = read_rewriting(text, instructions="", cut_off=True)
    assert (parsed.prompt, parsed.failure) == ("", "cut_off")


@pytest.mark.parametrize(
    "text",
    [
        '{"reasoning": "r", "prompt": "p"}\nThat is because',
        "<reasoning>r</reasoning>\n<prompt>p</prompt>\nThat is because",
    ],
)
def test_what_was_complete_before_the_limit_counts(text: str) -> None:
    parsed = read_rewriting(text, instructions="", cut_off=True)
    assert (parsed.prompt, parsed.failure) == ("p", None)


def test_half_of_features_or_report_is_none() -> None:
    assert read_features('{"features": ["a"]} and', cut_off=True) == ["a"]
    assert read_features("- one\n- tw", cut_off=True) is None
    whole = read_report('{"textual": "t", "visual": "v", "joint": "j"} and', cut_off=True)
    assert whole is not None
    assert read_report('{\n"textual": "t",\n"visual": "v', cut_off=True) is None


def test_an_output_without_choices_is_empty() -> None:
    nothing = ModelOutput(model="m")
    assert problem_of(nothing) == "empty"
    assert not is_cut_off(nothing)
    assert not is_filtered(nothing)


@pytest.mark.parametrize(
    ("text", "stop", "problem"),
    [
        ("", "stop", "empty"),
        ("Something", "content_filter", "refused"),
        ("I'm sorry, but I can't help with this.", "stop", "refused"),
        ("Something", "max_tokens", "cut_off"),
        ("Something", "stop", "invalid_format"),
        ("<think>I'm sorry, but I can't help with this", "max_tokens", "cut_off"),
        ("<think>I'm sorry, but I can't help? Hm", "stop", "empty"),
        ("I'm sorry, but I can't help? Hm.</think>Something", "stop", "invalid_format"),
    ],
)
def test_problem_of_an_unreadable_reply(text: str, stop: Any, problem: str) -> None:
    assert problem_of(ModelOutput.from_content("m", text, stop_reason=stop)) == problem


@pytest.mark.parametrize(
    ("reply", "prompt", "reasoning"),
    [
        ('{"reasoning": "High.", "prompt": "Is it safe?"}', "Is it safe?", "High."),
        ("reasoning: High.\nprompt: Is it safe?", "Is it safe?", "High."),
        ("<prompt>Is it safe?</prompt>", "Is it safe?", 'Or {"prompt": "Jump!"}? prompt: Jump?'),
    ],
)
def test_drafts_in_thinking_are_not_taught(reply: str, prompt: str, reasoning: str) -> None:
    text = f'Or {{"prompt": "Jump!"}}? prompt: Jump?</think>\n{reply}'
    parsed = read_rewriting(text, instructions="", cut_off=False)
    assert (parsed.failure, parsed.prompt, parsed.reasoning) == (None, prompt, reasoning)


@given(st.text(max_size=300))
def test_readers_take_any_text(text: str) -> None:
    features, report = read_features(text, cut_off=False), read_report(text, cut_off=False)
    assert features is None or all(each.strip() for each in features)
    assert report is None or isinstance(report.text(), str)
    parsed = read_rewriting(text, instructions="", cut_off=False)
    assert bool(parsed.prompt) == (parsed.failure is None)


PLAIN = st.text(alphabet=st.characters(exclude_categories=["C"]), min_size=1, max_size=80).filter(
    lambda text: bool(text.strip()) and "<" not in text
)


@given(PLAIN, PLAIN)
def test_what_is_taught_is_read_back_the_same(reasoning: str, prompt: str) -> None:
    taught = target_text(reasoning.strip(), prompt.strip())
    parsed = read_rewriting(
        json.dumps({"reasoning": reasoning, "prompt": prompt}), instructions="", cut_off=False
    )
    if parsed.failure is None:
        assert taught == target_text(parsed.reasoning, parsed.prompt)
