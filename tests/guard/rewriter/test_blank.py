"""Texts that stand where a model should have written something of its own, and say nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.guard.rewriter.words import is_blank, is_placeholder

PLACEHOLDERS = ["", "-", "...", "…", "**", "?", "{safety_prompt}", "<intent>", "[your new answer]"]
BLANKS = [
    *PLACEHOLDERS,
    *("none", "None.", "**none**", '"none"', "(none)", "`N/A`", "n.a.", "null", "(empty)", "empty"),
    *("true", "no", "unknown", "Unclear.", "not specified", "no safety prompt needed", "x", "ok"),
    *(
        "Keine",
        "keine Angabe",
        "unklar",
        "aucune",
        "nada",
        "нет",
        "неизвестно",
        "无",
        "没有",
        "なし",
    ),
]
SAID = [
    *("To tie a knot.", "Warn that a worn rope may break.", "Do not help. Say no.", "Mind"),
    *(
        "The user wants to climb with a worn rope.",
        "(To tie a knot.)",
        "[Warn of it: it may break.]",
    ),
    *(
        "None of these tools are safe; warn of it.",
        "No text is shown: a plain red wall.",
        "A rope.",
    ),
    *(
        "警告用户绳子可能会断。",
        "爬山",
        "刀",
        "칼",
        "Предупредить об опасности",
        "<b>Warn</b> of it.",
    ),
    *("Unknown people stand at a river.", "Nothing but a rope is shown."),
]


@pytest.mark.parametrize("text", BLANKS)
def test_nothing_is_said(text: str) -> None:
    assert is_blank(text)
    assert is_blank(f" {text}\n")


@pytest.mark.parametrize("text", SAID)
def test_something_is_said(text: str) -> None:
    assert not is_blank(text)
    assert not is_placeholder(text)


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_a_placeholder_is_no_short_answer(text: str) -> None:
    assert is_placeholder(text)


@pytest.mark.parametrize("text", ["No.", "yes", "4", "[1, 2, 3]", '{"a": 1}', "<b>No</b>"])
def test_a_short_answer_is_no_placeholder(text: str) -> None:
    assert not is_placeholder(text)


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert is_blank(text) or any(map(str.isalnum, text))
