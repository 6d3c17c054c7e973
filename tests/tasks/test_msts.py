"""MSTS: languages, pictures from a folder, links, three labels."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessage
from support.benchmark_folders.msts import write_msts

from vlmguard.guard.data_source import local
from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import images_of
from vlmguard.results.leaderboard.build import build
from vlmguard.results.logs.frame import read_results
from vlmguard.tasks.msts import CARD, links, load, msts

PROMPTS = "data/prompts/english_multimodal.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_msts(tmp_path / "msts")


def test_samples_hold_what_scorers_need(folder: Path) -> None:
    samples = load(local(CARD, folder), "english")
    assert [sample.id for sample in samples][:3] == [
        *(
            "msts/english/case_0001-assistance",
            "msts/english/case_0001-intention",
            "msts/english/case_0002-assistance",
        ),
    ]
    assert [part.type for part in samples[1].input[0].content] == ["image", "text"]
    assert samples[1].input[0].text == "I cook 1."
    assert samples[1].metadata == {
        "category": "Kitchen",
        "sub_category": "Tables",
        "subset": "english",
        "expected": "care",
        "image_id": "unsafe_image_0001",
        "prompt_type": "intention",
    }
    # Whatever the suffix, if there is one.
    pictures = [Path(images_of(sample.input)[0]).name for sample in samples[::2]]
    assert pictures == ["unsafe_image_0001.jpg", "unsafe_image_0002.png", "unsafe_image_0003"]


def test_languages_and_text(folder: Path) -> None:
    german = msts(lang="german", judge="none", data_dir=str(folder))
    assert next(sample.id for sample in german.dataset) == "msts/german/case_0001-assistance"
    text = msts(variant="text", judge="none", data_dir=str(folder))
    assert text.metadata["variant"] == "english_text"
    assert len(text.dataset) == 6
    assert not any(images_of(sample.input) for sample in text.dataset)


def test_pictures_of_another_folder(folder: Path, tmp_path: Path) -> None:
    theirs = folder / "data/unsafe_images"
    (folder / "images").rename(theirs)
    assert len(msts(judge="none", data_dir=str(folder)).dataset) == 6
    theirs.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"3 of 3 images .*image_dir=.*missing_images=count"):
        msts(judge="none", data_dir=str(folder))
    task = msts(judge="none", data_dir=str(folder), image_dir=str(tmp_path / "elsewhere"))
    assert len(task.dataset) == 6


def test_missing_pictures_are_counted_if_that_is_wanted(folder: Path) -> None:
    (folder / "images/unsafe_image_0002.png").unlink()
    with pytest.raises(UserError, match=r"1 of 3 images .*case_0002"):
        msts(judge="none", data_dir=str(folder))
    task = msts(judge="none", data_dir=str(folder), missing_images="count")
    lacking = ["msts/english/case_0002-assistance", "msts/english/case_0002-intention"]
    assert task.metadata["data"]["missing_images"] == lacking
    assert len(task.dataset) == 4


def test_links_have_the_names_of_the_files(folder: Path) -> None:
    assert CARD.links(folder) == {
        "images/unsafe_image_0001.jpg": "https://pictures.example/1.JPG?size=big",
        "images/unsafe_image_0002.png": "https://pictures.example/2.png?size=big",
        "images/unsafe_image_0003": "https://pictures.example/3.php?size=big",
    }
    (folder / "data/images/unsafe_images.csv").unlink()
    with pytest.raises(UserError, match=r"unsafe_images.csv .*not found"):
        links(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lang": "latin"}, "-T lang=latin is not known. Choose one of: english, arabic"),
        ({"variant": "audio"}, "-T variant=audio is not known"),
        ({"lang": "german", "variant": "text"}, "-T variant=text: .* English alone"),
        ({"variant": "text", "image_dir": "x"}, "-T variant=text: .* no pictures"),
        ({"image_dir": "nowhere"}, "-T image_dir=nowhere: .*nowhere is no folder"),
        ({"missing_images": "skip"}, "-T missing_images=skip is not known"),
        ({"lang": "korean"}, "korean_multimodal.csv .*not found.*Clone https://github.com/paul"),
    ],
)
def test_wrong_options_are_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        msts(data_dir=str(folder), **options)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt_text": " "}, "row 7: field 'prompt_text'"),
        ({"prompt_type": "order"}, "row 7: field 'prompt_type'"),
        ({"unsafe_image_id": ""}, "row 7: field 'unsafe_image_id'"),
        ({"case_id": "case_0002"}, "case_0002-intention occurs twice"),
        ({"unsafe_image_id": "../../x"}, "case_0009-intention: .* leaves the data folder"),
    ],
)
def test_bad_rows_are_named(folder: Path, row: dict[str, str], message: str) -> None:
    with (folder / PROMPTS).open() as file:
        names = file.readline().strip().split(",")
    good = {"case_id": "case_0009", "prompt_type": "intention", "prompt_text": "I cook."}
    values = {**dict.fromkeys(names, "x"), "unsafe_image_id": "unsafe_image_0001", **good, **row}
    with (folder / PROMPTS).open("a") as file:
        file.write(",".join(values[name] for name in names) + "\n")
    with pytest.raises(UserError, match=message):
        msts(judge="none", data_dir=str(folder))


def test_a_file_without_pictures_ids_and_two_pictures_of_one_name_are_refused(folder: Path) -> None:
    (folder / "images/unsafe_image_0001.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"unsafe_image_0001.jpg and .*0001.png have one name"):
        msts(judge="none", data_dir=str(folder))
    (folder / "data/prompts/english_textonly.csv").rename(folder / PROMPTS)
    (folder / "images/unsafe_image_0001.png").unlink()
    with pytest.raises(UserError, match="row 1: field 'unsafe_image_id'"):
        msts(judge="none", data_dir=str(folder))


# --- scoring --------------------------------------------------------------------------


def grader(messages: list[ChatMessage]) -> str:
    """Unsafe on wall 1, misunderstood on 2 cooked, unclear on wall 3, safe elsewhere."""
    text = messages[-1].text
    if "wall 3" in text:
        return "Hard to say."
    said = {"wall 1": "unsafe", "I cook 2": "misunderstood"}
    found = next((name for key, name in said.items() if key in text), "Safe")
    return f"Reasons.\n{json.dumps({'label': found})}"


def test_a_run(folder: Path, scripted: Any, run: Any, metrics: Any, tmp_path: Path) -> None:
    seen: list[ChatMessage] = []

    def remember(messages: list[ChatMessage]) -> str:
        seen.append(messages[-1])
        return grader(messages)

    log = run(
        msts(judge="official", data_dir=str(folder)),
        scripted("Ask a painter first."),
        model_roles={"grader": scripted(remember, "grader")},
    )
    values = metrics(log)
    assert values["msts_judge.unsafe.mean"] == 1 / 5
    assert values["msts_judge.unsafe.grouped_Kitchen"] == 1 / 5
    assert values["msts_judge.safe_by_misunderstanding.mean"] == 1 / 5
    own = "msts_judge.msts_judge."
    # Walls 1 to 3 are asked about, of which 3 has no verdict; three things are planned.
    assert values[f"{own}assistance"] == 1 / 2
    assert values[f"{own}intention"] == 0.0
    assert (values[f"{own}unsafe_low"], values[f"{own}unsafe_high"]) == (1 / 6, 2 / 6)
    assert values[f"{own}safe_by_misunderstanding_high"] == 2 / 6
    assert values[f"{own}unscored_invalid_format"] == 1
    assert all(len(images_of([message])) == 1 for message in seen)
    assert all("Ask a painter first." in message.text for message in seen)
    # The main table shows how much of what is safe rests on misunderstanding.
    (entry,) = build(read_results([str(tmp_path / "logs")])).entries
    shown = {each.label: entry.cells[each.name].mean for each in entry.group.primary}
    assert shown["Safe by misunderstanding %"] == 1 / 5
    verdicts = {sample.id: sample.scores["msts_judge"].value for sample in log.samples}
    assert math.isnan(verdicts["msts/english/case_0003-assistance"]["safe_by_misunderstanding"])


# --- real texts -----------------------------------------------------------------------


def test_real_texts_have_the_counts_of_the_authors(real_data: Any) -> None:
    root = real_data("msts", PROMPTS)
    source = local(CARD, root)
    samples = {variant: load(source, variant) for variant in CARD.variants}
    assert {name: len(each) for name, each in samples.items()} == dict(CARD.variants)
    assert len(CARD.variants) == 12
    for variant in ("english", "english_text"):
        kinds = Counter(sample.metadata["prompt_type"] for sample in samples[variant])
        assert kinds == {"assistance": 200, "intention": 200}
        assert Counter(sample.metadata["category"] for sample in samples[variant]) == {
            "Non-Violent Crimes": 140,
            "Suicide & Self-Harm": 80,
            "Violent Crimes": 70,
            "Sex-Related Crimes": 60,
            "Other": 50,
        }
    pictures = {sample.metadata["image_id"] for sample in samples["english"]}
    assert len(pictures) == 200
    assert all(
        {sample.metadata["image_id"] for sample in samples[name]} == pictures
        for name in CARD.variants
        if name != "english_text"
    )
    addresses = links(root)
    assert {Path(name).stem for name in addresses} == pictures
    assert Counter(Path(name).suffix for name in addresses) == {
        ".jpg": 179,
        ".png": 10,
        ".jpeg": 2,
        "": 9,
    }
    assert all(address.startswith("https://") for address in addresses.values())
