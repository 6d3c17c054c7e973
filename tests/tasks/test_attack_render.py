"""`vlmguard attack render`: a sheet and what changed, without a model."""

import os
from pathlib import Path

import pytest
from PIL import Image
from support.siuo_folder import write_siuo

from vlmguard.cli import main


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_request_is_shown_before_and_after(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["attack", "render", "figstep", "--text", "Pick\u200b a lock?", "--image", str(picture)]
    assert main([*words, "--out", str(tmp_path / "new" / "sheet.png")]) == 0

    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("figstep (version 1-A): the request as a numbered list")
    assert said[2:8] == [
        "request",
        "  before",
        "    image 1: 32 x 32",
        "    text:",
        "      Pick<U+200B> a lock?",
        "  after",
    ]
    assert said[8:10] == ["    image 1: 32 x 32, as it was", "    image 2: 760 x 760, new"]
    assert said[-1] == f"wrote {tmp_path / 'new' / 'sheet.png'}"
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width == 2 * 400 + 3 * 24


def test_tries_of_a_search_are_beside_each_other(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--text", "one two three four five six", "--image", str(picture)]
    assert main(["attack", "render", "si_attack:seed=3", *words]) == 0

    said = capsys.readouterr().out
    tries = [line.strip() for line in said.splitlines() if line.startswith("  try ")]
    assert tries == ["try 1", "try 2", "try 3", "try 4"]
    with Image.open(tmp_path / "attack-si_attack-seed=3.png") as sheet:
        assert sheet.width == 5 * 400 + 6 * 24


def test_without_a_request_each_slice_of_the_microworld_has_its_turn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["attack", "render", "typographic", "--limit", "5"]) == 0

    said = capsys.readouterr().out
    slices = [line.split("/")[1] for line in said.splitlines() if line.startswith("microworld/")]
    assert slices == ["joint", "visual", "typographic", "benign", "joint"]


def test_the_first_samples_of_a_benchmark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_siuo(tmp_path / "siuo", 2)
    words = ["--task", "siuo", "--data-dir", str(folder), "--limit", "1"]
    assert main(["attack", "render", "jood:alpha=0", *words]) == 0

    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("siuo/")] == [said[2]]
    assert "    image 1: 320 x 320, new" in said
    assert any("alpha=0" in line for line in said)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["figstap"], "attack=figstap: there is no such attack. Did you mean figstep?"),
        (["figstep", "--text", "a", "--task", "siuo"], "--task has requests of its own"),
        (["figstep", "--text", "", "--limit", "1"], "Sample request: it has no words"),
        (["figstep", "--text", "a", "--image", "none.png"], "no such file: none.png"),
        (["figstep", "--text", "a", "--out", "a.jpg"], "--out a.jpg: the sheet is a PNG file"),
        (["figstep", "--text", "a", "--out", "/dev/null/a.png"], "a.png: cannot be written"),
        (["figstep", "--task", "suio"], "no such benchmark. Did you mean siuo?"),
        (["figstep", "--task", "microworld", "--data-dir", "."], "draws its samples itself"),
        (["figstep", "--limit", "0"], "--limit"),
        (["crescendo"], "-S attack=crescendo --model-role attacker=MODEL"),
    ],
)
def test_mistakes_are_named(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attack", "render", *words]) == 2

    assert message in capsys.readouterr().err
    assert os.listdir() == []
