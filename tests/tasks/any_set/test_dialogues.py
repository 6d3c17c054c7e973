"""Turns in every form, pictures at their turns, and wrong records."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.folders import draw_image

from vlmguard.guard.cards import Card
from vlmguard.guard.data_source import local
from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import images_of
from vlmguard.tasks.any_set.dialogues import Said, read_turns
from vlmguard.tasks.any_set.form import read_form
from vlmguard.tasks.any_set.preset import Preset
from vlmguard.tasks.any_set.samples import load_samples

TALK = [Said("user", "What is this?"), Said("assistant", "A pear."), Said("user", "Is it ripe?")]
AS_MESSAGES = [{"role": each.role, "content": each.text} for each in TALK]


def loaded(folder: Path, rows: list[dict[str, Any]], **columns: Any) -> Any:
    draw_image(folder / "pear.png", 40)
    draw_image(folder / "fig.png", 80)
    (folder / "rows.json").write_text(json.dumps(rows))
    content = {"map": {"turns": "t", **columns}, "expected": "refuse"}
    preset = read_form(Preset, {"name": "talks", "file": "rows.json", **content}, "form")
    preset.check_forms("form")
    return load_samples(local(Card("talks", "Talks", obtain="Talk."), folder), preset)


@pytest.mark.parametrize(
    "value",
    [
        AS_MESSAGES,
        [{"role": each.role, "text": each.text} for each in TALK],
        json.dumps(AS_MESSAGES),
        "User: What is this?\nAssistant: A pear.\nUser: Is it ripe?",
        "  human 1 : What is this?\n\nAI: A pear.\n\n**User:** Is it ripe?\n",
        [{"role": "Human", "content": TALK[0].text}, *AS_MESSAGES[1:]],
    ],
)
def test_one_dialogue_is_the_same_in_every_form(value: Any) -> None:
    assert read_turns(value, "row") == TALK


@pytest.mark.parametrize("encode", [lambda turns: turns, json.dumps])
def test_a_list_of_texts_holds_the_users_turns(encode: Any) -> None:
    assert read_turns(encode(["One", "Two"]), "row") == [Said("user", "One"), Said("user", "Two")]


def test_a_turn_goes_on_until_the_next_speaker() -> None:
    said = read_turns("System: Be brief.\nUser: One\nand: more\n\nUser: Two", "row")
    assert [each.text for each in said] == ["Be brief.", "One\nand: more", "Two"]
    assert [each.role for each in said] == ["system", "user", "user"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("What is this?", "row: 'What is this\\?' has no speaker: turns are a list"),
        ("Well.\nUser: What?", "row: 'Well.' has no speaker"),
        ("User:\nAssistant: A pear.", "row: a turn of User is blank"),
        ("[not json", "row: cannot be read as JSON"),
        ('{"role": "user"}', "row: a list is needed, not a dict"),
        (7, "row: a list is needed, not a int"),
        ([" "], "row: a turn is needed as {role: user|assistant|system"),
        ([{"role": "judge", "content": "x"}], "row: a turn is needed"),
        ([{"role": "user", "content": "x", "text": "y"}], "row: a turn is needed"),
        ([{"role": "user", "content": [{"type": "text"}]}], "row: a turn is needed"),
        ([{"role": "user", "content": "x", "name": "y"}], "row: a turn is needed"),
    ],
)
def test_what_holds_no_turns_is_named(value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_turns(value, "row")


_WORDS = st.text("abc :\n.é{}", min_size=1).filter(lambda text: text.strip() and ":" not in text)
_TURNS = st.lists(st.builds(Said, st.sampled_from(["user", "assistant", "system"]), _WORDS))


@given(_TURNS)
def test_turns_come_back_from_messages_and_from_lines(turns: list[Said]) -> None:
    messages = [{"role": each.role, "content": each.text} for each in turns]
    assert read_turns(messages, "row") == read_turns(json.dumps(messages), "row") == turns
    lines = "\n".join(f"{each.role.title()}: {each.text}" for each in turns)
    assert read_turns(lines, "row") == [Said(each.role, each.text.strip()) for each in turns]


@given(
    st.one_of(
        st.text(),
        st.recursive(
            st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.sampled_from(["role", "content", "text", "image"]), inner)
            ),
        ),
    )
)
def test_any_value_gives_turns_or_a_message(value: Any) -> None:
    try:
        turns = read_turns(value, "row 3")
    except UserError:
        with pytest.raises(UserError, match="row 3"):
            read_turns(value, "row 3")
        return
    assert all(each.text.strip() for each in turns)


def test_pictures_stand_at_the_first_turn_or_the_named_one(tmp_path: Path) -> None:
    rows = [
        {"t": AS_MESSAGES, "img": "pear.png", "at": 1},
        {
            "t": [*AS_MESSAGES[:2], {**AS_MESSAGES[2], "image": "fig.png"}],
            "img": "pear.png",
            "at": 2,
        },
    ]
    shown = [
        [[Path(each).name for each in images_of([turn])] for turn in sample.input]
        for sample in [
            *loaded(tmp_path, rows, image="img"),
            *loaded(tmp_path, rows, image="img", image_turn="at"),
        ]
    ]
    assert shown == [
        [["pear.png"], [], []],
        [["pear.png"], [], ["fig.png"]],
        [["pear.png"], [], []],
        [[], [], ["pear.png", "fig.png"]],
    ]
    assert [sample.metadata["image_names"] for sample in loaded(tmp_path, rows, image="img")] == [
        ["pear.png"],
        ["pear.png", "fig.png"],
    ]


def test_a_last_answer_is_left_out_and_what_is_meant_stays_apart(tmp_path: Path) -> None:
    turns = [*AS_MESSAGES, {"role": "assistant", "content": "Yes."}]
    (sample,) = loaded(tmp_path, [{"t": turns, "goal": "to eat it"}], judge_text="goal")
    assert [turn.text for turn in sample.input] == [each.text for each in TALK]
    assert sample.metadata["judge_text"] == "to eat it"
    assert sample.metadata["requests"] == ["What is this?", "Is it ripe?"]
    assert "judge_request" not in sample.metadata


@pytest.mark.parametrize(
    ("row", "columns", "message"),
    [
        ({"t": AS_MESSAGES[1:2]}, {}, r"record 0: column 't' \(turns\) has no turn of the user"),
        ({"t": None}, {}, r"record 0: column 't' \(turns\) has no turn of the user"),
        ({"t": "Hm"}, {}, r"rows.json: record 0: column 't' \(turns\): 'Hm' has no speaker"),
        (
            {"t": AS_MESSAGES, "at": "3"},
            {"image_turn": "at"},
            r"record 0: column 'at' \(image_turn\) is '3', and no number from 1 to 2",
        ),
        ({"t": "", "q": ""}, {"text": "q"}, "turns is a whole dialogue, so text cannot stand"),
        (
            {"t": "", "q": ""},
            {"earlier": "q"},
            "turns before a request in text are the role earlier",
        ),
    ],
)
def test_a_wrong_record_or_map_is_named(
    tmp_path: Path, row: dict[str, Any], columns: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        loaded(tmp_path, [row], **columns)
