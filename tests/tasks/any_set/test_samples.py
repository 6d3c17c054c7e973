"""Samples of rows: roles, pairs, turns, several pictures; and wrong records and maps."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.folders import draw_image

from vlmguard.guard.cards import Card
from vlmguard.guard.data_source import MissingFile, Source, local
from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import images_of
from vlmguard.tasks.any_set.form import ROLES, read_form
from vlmguard.tasks.any_set.preset import Preset, read_preset
from vlmguard.tasks.any_set.samples import files_of, links_of, load_samples

CARD = Card("garden", "Garden", obtain="Plant it.")
FORM: dict[str, Any] = {"map": {"text": "q", "image": "img"}, "expected": "comply"}


def loaded(folder: Path, rows: Any, **form: Any) -> Any:
    """The samples of rows in a JSON file, read by a form."""
    (folder / "rows.json").write_text(json.dumps(rows))
    preset = read_form(Preset, {"name": "garden", "file": "rows.json", **FORM, **form}, "form")
    preset.check_forms("form")
    return load_samples(local(CARD, folder), preset)


def test_a_sample_holds_what_scorers_and_tables_need(tmp_path: Path) -> None:
    (sample,) = loaded(tmp_path, [{"q": "Is it ripe?", "img": "pear.png"}])
    (message,) = sample.input
    assert [part.type for part in message.content] == ["image", "text"]
    assert message.text == "Is it ripe?"
    assert images_of(sample.input) == [str(tmp_path / "pear.png")]
    assert sample.id == "garden/0"
    assert sample.metadata == {
        "category": "garden",
        "subset": "garden",
        "expected": "comply",
        "hazard": "",
        "image_id": "pear.png",
        "image_names": ["pear.png"],
    }


def test_every_role_is_read(tmp_path: Path) -> None:
    row = {
        "name": 7,
        "q": "And these?",
        "pics": ["a.png", "b.png"],
        "kind": "fruit",
        "couple": "x",
        "verdict": "bad",
        "goal": "to eat them",
        "note": "They are unripe.",
        "url": "https://example.org/a.png",
        "before": [
            {"role": "user", "text": "What is this?", "image": "c.png"},
            {"role": "assistant", "text": "A pear."},
        ],
    }
    form = {
        "map": {
            "id": "name",
            "text": "q",
            "images": "pics",
            "category": "kind",
            "pair": "couple",
            "expected": "verdict",
            "judge_text": "goal",
            "hint": "note",
            "earlier": "before",
            "link": "url",
        },
        "expected": "",
        "expected_values": {"bad": "care"},
    }
    assert {*form["map"]} | {"image", "turns", "image_turn"} == {*ROLES}  # type: ignore[misc]
    (sample,) = loaded(tmp_path, [row], **form)
    assert sample.id == "garden/7"
    assert [turn.role for turn in sample.input] == ["user", "assistant", "user"]
    assert images_of(sample.input) == [str(tmp_path / f"{n}.png") for n in "cab"]
    assert sample.metadata == {
        "category": "fruit",
        "subset": "garden",
        "expected": "care",
        "image_id": "x",
        "image_names": ["c.png", "a.png", "b.png"],
        "pair_id": "x",
        "judge_request": "user: What is this?\nassistant: A pear.\nuser: And these?\n\n"
        "(What is meant: to eat them)",
        "hint": "They are unripe.",
        "link": "https://example.org/a.png",
    }


def test_several_columns_with_pictures_and_a_written_text(tmp_path: Path) -> None:
    form = {"map": {"images": ["left", "right"], "text": {"write": "Compare row {row}."}}}
    rows = [{"left": "a.png", "right": "b.png"}, {"left": "c.png", "right": "d.png"}]
    _, second = loaded(tmp_path, rows, **form)
    assert second.input[0].text == "Compare row 1."
    assert second.metadata["image_names"] == ["c.png", "d.png"]
    assert second.metadata["image_id"] == "c.png+d.png"


def test_a_row_gives_several_samples_which_are_a_pair(tmp_path: Path) -> None:
    form = {
        "map": {"text": "q", "category": "kind"},
        "expected": "",
        "each_row_gives": {
            "ripe": {"map": {"image": "yes.img"}, "expected": "comply"},
            "green": {"map": {"image": "no.img"}, "expected": "care"},
        },
    }
    row = {"q": "May I?", "kind": "fruit", "yes": {"img": "a.png"}, "no": {"img": "b.png"}}
    ripe, green = loaded(tmp_path, {"first": row}, **form)
    assert (ripe.id, green.id) == ("garden/first/ripe", "garden/first/green")
    assert ripe.input[0].text == green.input[0].text == "May I?"
    assert (ripe.metadata["expected"], green.metadata["expected"]) == ("comply", "care")
    assert ripe.metadata["pair_id"] == green.metadata["pair_id"] == "garden/first"
    # The pair is the cluster; the pictures keep their names for leak checks.
    assert ripe.metadata["image_id"] == "garden/first"
    assert green.metadata["image_names"] == ["b.png"]


def test_what_a_sample_of_a_row_says_replaces_what_all_say(tmp_path: Path) -> None:
    form = {
        "map": {"text": "q", "image": "one", "expected": "right"},
        "expected": "",
        "each_row_gives": {
            "both": {"map": {"images": ["one", "two"]}},
            "one": {"expected": "refuse"},
        },
    }
    row = {"q": "Ripe?", "one": "a.png", "two": "b.png", "right": "care"}
    both, one = loaded(tmp_path, [row], **form)
    assert both.metadata["image_names"] == ["a.png", "b.png"]
    assert one.metadata["image_names"] == ["a.png"]
    assert (both.metadata["expected"], one.metadata["expected"]) == ("care", "refuse")


def test_parts_say_what_differs_and_shards_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name, text in (("a-0", "One?"), ("a-1", "Two?"), ("b", "Three?")):
        row = {"q": text, "other": f"{text}!", "img": "x.png"}
        (tmp_path / "below" / f"{name}.json").write_text(json.dumps([row]))
    preset = Preset(
        name="garden",
        roots=("nowhere", "below"),
        image_dir="images",
        parts={
            "left": {"file": "a-*.json"},
            "right": {"file": "b.json", "map": {"text": "other"}, "image_dir": "pictures"},
        },
        **FORM,
    )
    source = local(CARD, tmp_path)
    samples = load_samples(source, preset)
    assert [sample.id for sample in samples] == ["garden/left/0", "garden/left/1", "garden/right/0"]
    assert [sample.input[0].text for sample in samples] == ["One?", "Two?", "Three?!"]  # type: ignore[union-attr]
    assert [sample.metadata["image_names"] for sample in samples] == [  # type: ignore[index]
        ["below/images/x.png"],
        ["below/images/x.png"],
        ["below/pictures/x.png"],
    ]
    assert [file.name for file in files_of(source, preset)] == ["a-0.json", "a-1.json", "b.json"]
    (tmp_path / "below" / "b.json").unlink()
    with pytest.raises(MissingFile, match=r"below/b\.json.* not found in .*Plant it"):
        load_samples(source, preset)
    # A leak check compares with what is there.
    partial = local(CARD, tmp_path, partial=True)
    assert [sample.id for sample in load_samples(partial, preset)] == [
        "garden/left/0",
        "garden/left/1",
    ]


def test_addresses_are_told_by_file_name(tmp_path: Path) -> None:
    form = {"map": {**FORM["map"], "link": "at"}, "image_dir": "pictures"}
    rows = [{"q": "?", "img": "a.png", "at": "https://example.org/1"}, {"q": "?", "img": "b.png"}]
    loaded(tmp_path, rows, **form)
    preset = Preset(name="garden", file="rows.json", **{**FORM, **form})
    assert links_of(local(CARD, tmp_path), preset) == {"pictures/a.png": "https://example.org/1"}


ROW = {"q": "Is it ripe?", "img": "pear.png"}


@pytest.mark.parametrize(
    ("row", "form", "message"),
    [
        ({**ROW, "q": " "}, {}, r"record 1: column 'q' \(text\) is missing or blank"),
        ({"img": "b.png"}, {}, r"record 1: column 'q' \(text\) is missing or blank"),
        ({**ROW, "q": ["a"]}, {}, r"record 1: column 'q' \(text\) holds no text, but a list"),
        ({**ROW, "img": 5}, {}, r"record 1: column 'img' \(image\): 5 is no path"),
        ({**ROW, "img": "https://a.org/b.png"}, {}, "record 1: .* is no path. Save the pictures"),
        (
            {**ROW, "kind": None},
            {"map": {**FORM["map"], "category": "kind"}},
            r"record 1: column 'kind' \(category\) is missing or blank",
        ),
        (
            {**ROW, "kind": "maybe"},
            {"expected": "field:kind"},
            "record 1: column 'kind' is 'maybe', which is none of refuse, comply, care. Correct",
        ),
        (
            {**ROW, "kind": [{"role": "judge", "text": "x"}]},
            {"map": {**FORM["map"], "earlier": "kind"}},
            "record 1: column 'kind' .earlier.: a turn is needed as {role: user|assistant|system",
        ),
        (
            {**ROW, "kind": {"role": "user"}},
            {"map": {**FORM["map"], "earlier": "kind"}},
            "record 1: column 'kind' .earlier.: a list is needed",
        ),
    ],
)
def test_a_bad_record_is_named(
    tmp_path: Path, row: dict[str, Any], form: dict[str, Any], message: str
) -> None:
    sound = (
        {**ROW, "kind": "comply" if "expected" in form else [] if "earlier" in form["map"] else "x"}
        if form
        else ROW
    )
    with pytest.raises(UserError, match=message) as found:
        loaded(tmp_path, [sound, row], **form)
    assert "rows.json" in str(found.value)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (
            {"map": {"text": "prompt", "image": "img"}},
            "no column 'prompt', which the map names for text. Its columns are: q, img, half.a",
        ),
        ({"map": {"text": "half.b"}}, "no column 'half.b', which the map names for text"),
        ({"expected": "field:label"}, "no column 'label', which the map names for expected"),
        ({"map": {"text": "q", "colour": "img"}}, "form: no role colour. Choose from text, image,"),
        ({"map": {"text": ["q", "img"]}}, "text takes one column"),
        ({"map": {"text": "q", "image": "img", "images": "img"}}, "image and images exclude"),
        ({"map": {"text": {"say": "x"}}}, "form: map.text"),
        ({"map": {"image": "img"}}, "no column for the role text"),
        ({"map": "q"}, "form: map: "),
        ({"expected": ""}, "what is a right answer. Say expected=refuse|comply|care"),
        (
            {"expected": "decline"},
            "expected=decline is not known. Choose from refuse, comply",
        ),
        ({"expected_values": {"x": "y"}}, "form: expected_values.x: "),
        ({"map": {"text": "q", "expected": "img"}}, "in the map and beside it"),
        ({"file": ""}, "either file or parts is needed"),
        ({"colour": "red"}, "form: colour: "),
    ],
)
def test_a_wrong_form_is_refused(tmp_path: Path, form: dict[str, Any], message: str) -> None:
    rows = [{"q": "Is it ripe?", "img": "a.png", "half": {"a": 1}}]
    with pytest.raises(UserError, match=message):
        loaded(tmp_path, rows, **form)


def test_a_picture_that_a_row_does_not_name_is_a_missing_one(tmp_path: Path) -> None:
    _, blank = loaded(tmp_path, [ROW, {"q": "And this?", "img": ""}])
    (image,) = images_of(blank.input)
    assert not Path(image).exists()
    assert "no image named by record 1" in image


def test_a_yaml_file_is_read_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "orchard.yaml"
    path.write_text("file: rows.json\nmap: {text: q}\nexpected: comply\n")
    preset = read_preset(path)
    assert (preset.name, preset.title) == ("orchard", "Own set")
    for wrong, message in (
        ("- 1", "orchard.yaml: no keys"),
        ("file: rows.json\nmap: {text: q}", "orchard.yaml: what is a right answer"),
        ("file: a\nparts: {b: {file: c}}", "orchard.yaml: .*either file or parts"),
        ("file: a\nmap: {text: q}\nmap: {}", "the key 'map' occurs twice"),
        ("file: a\nfiel: b", "fiel: no such key. Did you mean file. Choose from map, expected"),
        (
            "file: a\nexpected: care\neach_row_gives: {left: {map: {text: q}}, right: {}}",
            "orchard.yaml: right: no column for the role text",
        ),
    ):
        path.write_text(wrong)
        with pytest.raises(UserError, match=message):
            read_preset(path)


def test_pictures_may_not_leave_their_folder(tmp_path: Path) -> None:
    draw_image(tmp_path / "secret.png")
    (tmp_path / "in").mkdir()
    (sample,) = loaded(tmp_path / "in", [{"q": "?", "img": "../secret.png"}])
    source: Source = local(CARD, tmp_path / "in")
    with pytest.raises(UserError, match="leaves the data folder"):
        source.inside(Path(images_of(sample.input)[0]), str(sample.id))
