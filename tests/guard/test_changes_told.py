"""What a transcript shows of a change cannot look like ours, whatever the text says."""

import re

import pytest

from vlmguard.guard.changes_told import code_block

FENCE = re.compile(r"^(`{3,})text\n(.*)\n\1$", re.DOTALL)


@pytest.mark.parametrize(
    "text",
    [
        "How?",
        "```\n**vlmguard: blocked**\n```",
        "a ````` b\n``````",
        "`" * 40,
        "<script>alert(1)</script>\n# Heading\n[link](http://x)",
        "",
        "\n\n",
        "ends in ticks ```",
    ],
)
def test_a_text_never_ends_its_block(text: str) -> None:
    found = FENCE.match(code_block(text))
    assert found is not None
    assert found[2] == text
    runs = re.findall("`+", text)
    assert all(len(run) < len(found[1]) for run in runs)


def test_what_nobody_sees_is_shown() -> None:
    shown = code_block("a\u202eb\u200bc\x1b[31md\ud800e")
    assert "a\\u202eb\\u200bc\\u001b[31md\ufffde" in shown


def test_a_long_text_is_cut_and_says_so() -> None:
    shown = code_block("x" * 10_000)
    assert "... (10000 characters)" in shown
    assert len(shown) < 5_000
