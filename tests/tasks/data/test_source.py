"""Bad input: images, paths and records, each refused by name and with a way out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log
from PIL import Image
from support.folders import draw_image, write_vlguard
from support.icc import SRGB, rgb_profile
from support.openai_server import openai_server
from support.siuo_folder import write_siuo

from vlmguard.guard.data_source import local
from vlmguard.guard.downloads import without_downloads
from vlmguard.guard.errors import MissingData, UserError
from vlmguard.tasks.data.dataset import draw
from vlmguard.tasks.data.source import locate
from vlmguard.tasks.mossbench import CARD as MOSSBENCH
from vlmguard.tasks.siuo import CARD, siuo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_siuo(tmp_path / "siuo", 3)


def build(folder: Path, **options: Any) -> Any:
    return siuo(judge="none", data_dir=str(folder), **options)


def edit(folder: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    path = folder / "data/siuo_gen.json"
    records = json.loads(path.read_text())
    change(records)
    path.write_text(json.dumps(records))


# --- images ---------------------------------------------------------------------------


def test_missing_image_is_no_text_only_run(folder: Path) -> None:
    (folder / "data/images/S-01.png").unlink()
    with pytest.raises(UserError, match=r"1 of 3 images cannot be used: siuo/1001: .*S-01\.png"):
        build(folder)


def test_missing_image_folder_names_the_way_out(folder: Path) -> None:
    (folder / "data/images").rename(folder / "pictures")
    with pytest.raises(UserError, match=r"3 of 3 images.*no such file.*SIUO-images\.zip"):
        build(folder)


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_broken_images_are_named(folder: Path, content: bytes | None) -> None:
    path = folder / "data/images/S-02.png"
    if content is None:  # truncated
        Image.effect_noise((200, 200), 90).save(path)
        content = path.read_bytes()[:-2000]
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"siuo/1002: .*S-02\.png: not a readable image"):
        build(folder)


def test_only_the_first_few_of_many_are_listed(tmp_path: Path) -> None:
    folder = write_siuo(tmp_path / "siuo", 9)
    for path in (folder / "data/images").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"9 of 9 images.*and 6 more"):
        build(folder)


def save_cmyk(path: Path) -> None:
    Image.new("CMYK", (9, 9), (0, 200, 200, 0)).save(path, format="JPEG")


def save_palette(path: Path) -> None:
    Image.new("P", (9, 9), 3).save(path)


def save_alpha(path: Path) -> None:
    Image.new("RGBA", (9, 9), (9, 9, 9, 0)).save(path)


def save_16_bit(path: Path) -> None:
    Image.new("I;16", (9, 9), 30000).save(path)


def save_animation(path: Path) -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:])


def save_webp(path: Path) -> None:
    Image.new("RGB", (9, 9), "red").save(path, format="WEBP")


def save_huge(path: Path) -> None:
    Image.new("L", (10_000, 5_000), 120).save(path)


@pytest.mark.parametrize(
    ("save", "note"),
    [
        (save_cmyk, "CMYK"),
        (save_palette, "P to RGB"),
        (save_alpha, "transparency"),
        (save_16_bit, "16 bit"),
        (save_animation, "first frame"),
        (save_webp, "WEBP named .png"),
        (save_huge, "10000x5000 scaled"),
    ],
)
def test_odd_images_are_converted_and_noted(
    folder: Path, save: Callable[[Path], None], note: str
) -> None:
    save(folder / "data/images/S-01.png")
    task = build(folder)
    plain, odd, _ = task.dataset
    assert plain.input[0].content[0].image.endswith("S-00.png")
    assert "image_notes" not in plain.metadata
    assert odd.input[0].content[0].image.startswith("data:image/")
    assert any(note in each for each in odd.metadata["image_notes"])
    assert task.metadata["data"]["images"]["converted"] == 1


def test_colours_are_those_that_people_see_or_those_of_the_authors(folder: Path) -> None:
    path = folder / "data/images/S-01.png"
    Image.new("RGB", (20, 20), (20, 40, 220)).save(path, icc_profile=rgb_profile("S", SRGB[::-1]))
    task = build(folder)
    assert task.dataset[1].metadata["image_notes"] == ["colour profile S to sRGB"]
    assert task.metadata["data"]["images"]["colour"] == "srgb"
    task = build(folder, colour="as_is")
    assert task.dataset[1].input[0].content[0].image == str(path)
    assert task.metadata["data"]["images"]["colour"] == "as_is"
    with pytest.raises(UserError, match="-T colour=rgb is not known"):
        build(folder, colour="rgb")


def test_images_beyond_the_limits_of_apis_are_scaled_on_demand(folder: Path) -> None:
    Image.new("L", (9_000, 90), 120).save(folder / "data/images/S-01.png")
    assert "image_notes" not in build(folder).dataset[1].metadata
    task = build(folder, fit_images=True)
    assert task.dataset[1].metadata["image_notes"] == ["9000x90 scaled to 8000x80"]
    assert task.metadata["data"]["images"] | {"sha256": ""} == {
        "count": 3,
        "sha256": "",
        "converted": 1,
        "colour": "srgb",
        "fit": True,
        "extreme": {"siuo/1001": [8000, 80], "siuo/1000": [24, 24]},
    }


# --- paths ----------------------------------------------------------------------------


@pytest.mark.parametrize("climb", ["../../../outside.png", "{absolute}"])
def test_paths_may_not_leave_the_folder(folder: Path, climb: str) -> None:
    outside = folder.parent / "outside.png"
    draw_image(outside)
    name = climb.format(absolute=outside)
    edit(folder, lambda records: records[1].update(image=name))
    with pytest.raises(UserError, match=r"siuo/1001: .* leaves the data folder"):
        build(folder)


def test_symlinks_may_not_leave_the_folder(folder: Path) -> None:
    outside = folder.parent / "outside.png"
    draw_image(outside)
    link = folder / "data/images/S-01.png"
    link.unlink()
    link.symlink_to(outside)
    with pytest.raises(UserError, match=r"siuo/1001: .* leaves the data folder.*-T data_dir="):
        build(folder)
    link.unlink()
    link.symlink_to(folder / "data/images/S-00.png")
    assert len(build(folder).dataset) == 3


# --- records --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r[1].pop("safety_warning"), "record 1: field 'safety_warning': Field required"),
        (lambda r: r[2].update(question_id="7"), "record 2: field 'question_id'"),
        (lambda r: r[0].update(question=""), "record 0: field 'question'"),
        (lambda r: r[0].update(question=" \n"), "record 0: field 'question'"),
        (lambda r: r[2].update(question_id=1000), "the id siuo/1000 occurs twice"),
        (lambda r: r.append("text"), "record 3: field 'record'"),
    ],
)
def test_broken_records_are_named(
    folder: Path, change: Callable[[list[dict[str, Any]]], Any], message: str
) -> None:
    edit(folder, change)
    with pytest.raises(UserError, match=message):
        build(folder)


# --- places ---------------------------------------------------------------------------


def test_named_folder_beats_the_root(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLMGUARD_DATA", str(tmp_path))
    assert locate(CARD).root == folder
    other = write_siuo(tmp_path / "other", 1)
    assert locate(CARD, str(other)).root == other


@pytest.mark.parametrize("name", ["", "vlmguard-fetched.json", "data/images"])
def test_a_folder_without_files_does_not_stand_before_the_hub(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLMGUARD_DATA", str(tmp_path))
    folder = tmp_path / "siuo"
    (folder / Path(name).parent).mkdir(parents=True)
    if name.endswith(".json"):
        (folder / name).write_text("{}")
    with without_downloads(), pytest.raises(MissingData, match="the hub cannot be reached"):
        locate(CARD)
    (tmp_path / "mossbench").mkdir()
    with pytest.raises(MissingData, match="no folder mossbench with files below"):
        locate(MOSSBENCH)
    (folder / "other.json").write_text("{}")
    assert locate(CARD).root == folder


def test_conditions_of_what_the_hub_gives_are_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("VLMGUARD_DATA", raising=False)
    with pytest.raises(MissingData):
        locate(CARD)
    assert f"SIUO comes from the hub and is non-commercial: {CARD.license}" in caplog.text
    caplog.clear()
    with without_downloads(), pytest.raises(MissingData):
        locate(CARD)
    assert caplog.text == ""


def test_wrong_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exclude each other"):
        locate(CARD, str(tmp_path), "main")
    with pytest.raises(UserError, match=r"no such folder: .* `vlmguard data fetch siuo` .* Clone"):
        locate(CARD, str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"siuo_gen\.json not found in .* Clone"):
        build(tmp_path)


def test_missing_image_folder_is_the_first_candidate(tmp_path: Path) -> None:
    source = local(CARD, tmp_path)
    assert source.folder("a", "b") == tmp_path / "a"
    (tmp_path / "b").mkdir()
    assert source.folder("a", "b") == tmp_path / "b"


def test_drawing() -> None:
    items = list(range(100))
    drawn = draw(items, 10, 0, "-T n")
    assert drawn == sorted(drawn) == draw(items, 10, 0, "-T n")
    assert len(set(drawn)) == 10
    assert draw(items, 100, 0, "-T n") == items


@pytest.mark.slow
def test_relative_paths_are_those_of_the_user(repo: Path, tmp_path: Path, cli: Any) -> None:
    """Inspect calls a task in the folder of its file; the user typed the path in another folder."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/vlguard.py").write_text((repo / "tasks/vlguard.py").read_text())
    write_vlguard(tmp_path / "mine")
    (tmp_path / "mine/refusal_keywords.json").rename(tmp_path / "phrases.json")
    with openai_server(lambda text, messages: "I'm sorry, no.") as server:
        result = cli(
            *("inspect", "eval", "tasks/vlguard.py", "--model", "openai-api/scripted/target"),
            *("-T", "judge=none", "-T", "data_dir=mine", "-T", "keywords=phrases.json"),
            *("--display", "plain", "--log-dir", str(tmp_path / "logs")),
            cwd=tmp_path,
            env=server.environment(),
        )
    assert result.returncode == 0, result.stdout + result.stderr
    (found,) = list_eval_logs(str(tmp_path / "logs"))
    log = read_eval_log(found)
    assert log.status == "success"
    assert log.eval.metadata is not None
    assert log.eval.metadata["keywords"]["origin"] == "phrases.json"


@pytest.mark.slow
def test_users_see_a_message_and_no_traceback(repo: Path, tmp_path: Path, cli: Any) -> None:
    result = cli(
        *("inspect", "eval", "vlmguard/siuo", "--model", "mockllm/model"),
        *("-T", f"data_dir={tmp_path / 'nowhere'}"),
        cwd=tmp_path,
    )
    shown = " ".join((result.stdout + result.stderr).split())
    assert result.returncode == 1
    assert "By hand: Clone https://github.com/sinwang20/SIUO" in shown
    assert "Traceback" not in shown
