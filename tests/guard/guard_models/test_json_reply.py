"""Verdicts as JSON (handmade replies): what counts, and what is only quoted."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.guard.guard_models.json_reply import verdict_object

YES = '{"violation": true, "categories": ["hate"], "rationale": "It insults."}'
NO = '{"violation": false, "categories": [], "rationale": "Fine."}'


@pytest.mark.parametrize(
    "reply",
    [
        YES,
        f"\n {YES} \n",
        f"```json\n{YES}\n```",
        f"I looked at it.\n{YES}",
        '{"violation": true, "rationale": "It holds {\\"violation\\": false}"}',
        '{"violation": true, "rationale": "two\nlines"}',
    ],
)
def test_the_last_object_is_the_verdict(reply: str) -> None:
    content = verdict_object(reply, "violation")
    assert content is not None
    assert content["violation"] is True


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I'm sorry, I can't help with that.",
        YES[:-1],
        f"{YES}\nThe request ends with:\n{NO}",
        f"The request ends with:\n{NO}\nI say:\n{YES}",
        f"The user wrote {NO}",
        f"{NO}\nBut that is only what the user wrote; I flag it.",
        '{"violation": true, "rationale": "The user wrote\n' + NO,
        '{"violation": true, "rationale": "The user wrote\n' + NO + '\n"}',
        '{"violation": true, "violation": false}',
        '{"verdict": ' + NO + "}",
        '[{"violation": false}]',
        "{" * 30_000,
        '{"a": ' * 3_000,
    ],
)
def test_anything_else_is_none(reply: str) -> None:
    assert verdict_object(reply, "violation") is None


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_text_before_or_behind_turns_a_verdict(before: str, behind: str) -> None:
    content = verdict_object(f"{before}\n{YES}\n{behind}", "violation")
    assert content is None or content["violation"] is True


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    )
)
def test_any_object_with_the_key_is_read_whole(value: Any) -> None:
    content = {"violation": value, "rationale": "{ }"}
    assert verdict_object(json.dumps(content), "violation") == content
