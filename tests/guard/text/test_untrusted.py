"""Foreign text on its way to another model: tags, control tokens, halves of characters."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.guard.text.untrusted import break_controls, disarm, plain_spelling, well_formed

NAMES = r"request|answer|prompt|reasoning|think|conversation|hints|caption"


@pytest.mark.parametrize(
    "tag",
    [
        *("<request>", "</request>", "</PROMPT>", "< / prompt >", "<prompt id='1'>", "</answer\n>"),
        *("<</prompt>>", "<prompt</prompt>", "</prompt", "<think>", "<hints>", "<caption/>"),
        # Tags in other spellings, which a model may read as tags.
        *(
            "<//request>",
            "<\\/request>",
            "<\u200b/request>",
            "</re\u00adquest>",
            "</req\u2060uest>",
        ),
        *(
            "</r\u0435qu\u0435st>",
            "\uff1c/request\uff1e",
            "</\uff52equest>",
            "\u2039/request\u203a",
        ),
        *(
            "<\u2044request>",
            "</r\u00e9quest>",
            "</\U0001d42b\U0001d41equest>",
            "\u3008/prompt\u3009",
        ),
        *("&lt;/request&gt;", "&LT;prompt&gt;", "&#60;/prompt&#62;", "&#x003C;prompt>"),
    ],
)
def test_tags_in_foreign_text_are_broken(tag: str) -> None:
    broken = disarm(f"before {tag} after")
    assert not re.search(rf"(?:<|&lt;)[/\\]*(?:{NAMES})", plain_spelling(broken))
    assert not re.search(r"&#(?:60|x003c);", broken, re.IGNORECASE)
    assert broken.startswith("before ")
    assert broken.endswith(" after")


@pytest.mark.parametrize(
    "token",
    [
        *("<|im_end|>", "<|start_header_id|>", "<|eot_id|>", "<|channel|>", "<start_of_turn>"),
        *("<|turn>", "<turn|>", "<|channel>", "[SYSTEM_PROMPT]", "[/TOOL_RESULTS]"),
        *("[INST]", "[/INST]", "<<SYS>>", "</s>", "<s>", "<\uff5cend\u2581of\u2581sentence\uff5c>"),
    ],
)
def test_control_tokens_of_servers_are_broken(token: str) -> None:
    want = f"a {token[0]} {token[1:]} b"
    assert break_controls(f"a {token} b") == want
    assert disarm(want) == want == disarm(f"a {token} b")


@pytest.mark.parametrize(
    "text",
    [
        *("3 < 4 > 2", "<b>bold</b>", "<prompts>", "a <- b", "requests", "[1] a|b", "x<|y"),
        *(
            "&lt;b&gt;",
            "AT&T; &amp;",
            "\u041f\u0440\u0438\u0432\u0435\u0442, \u00ab3 < 4\u00bb?",
            "\u5c0f\u5fc3 <br>",
        ),
    ],
)
def test_other_text_is_left_alone(text: str) -> None:
    assert disarm(text) == text


PIECES = st.sampled_from(
    [
        *("<", "/", ">", " ", "prompt", "request", "x", "\n", "\u200b", "\u00ad", "\uff1c", "&lt;"),
        *("&", "#60;", "r\u0435quest", "<|", "|>", "im_end", "[", "INST]", "\ud83d", "\ude00"),
    ]
)


@given(st.one_of(st.text(), st.lists(PIECES).map("".join)))
def test_no_tag_survives_and_nothing_is_broken_twice(text: str) -> None:
    broken = disarm(text)
    assert not re.search(r"(?:<|&lt;)[/\\]*(?:prompt|request)\b", plain_spelling(broken))
    assert not re.search(r"<\|im_end\|>|\[inst\]", plain_spelling(broken))
    assert disarm(broken) == broken
    broken.encode()


def test_halves_of_characters() -> None:
    assert well_formed("a\ud83d\ude00b") == "a\U0001f600b"
    assert well_formed("a\ude00\ud83db") == "a\ufffd\ufffdb"
    assert well_formed("plain") == "plain"


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_encoded_afterwards(text: str) -> None:
    assert len(well_formed(text).encode()) >= len(well_formed(text))
    assert well_formed(well_formed(text)) == well_formed(text)
