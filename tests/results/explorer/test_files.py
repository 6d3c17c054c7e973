"""The files of the pages of samples: what is in them, and what is not."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from vlmguard.cli import main
from vlmguard.results.explorer.publish import write_explorer
from vlmguard.results.explorer.texts import shown_text
from vlmguard.results.leaderboard.build import build
from vlmguard.results.logs.frame import read_results

PICTURE = re.compile(r"data:image|iVBORw0KGgo|/9j/")


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_rows_of_the_board_know_their_pages(site: Path) -> None:
    board = json.loads((site / "leaderboard.json").read_text())
    entries = [*board["entries"], *board["attacked"]["entries"]]
    assert len(entries) == 6
    for entry in entries:
        place, _, chosen = entry["pages"].partition("#?")
        assert (site / place).is_file()
        assert chosen.startswith(f"defense={entry['defense']}")
        assert entry["facts"]["Log"].startswith("../logs/")
        assert entry["facts"]["Command"].startswith(("inspect eval", "none: "))
    (attacked,) = board["attacked"]["entries"]
    assert attacked["pages"].endswith("&attack=figstep")
    assert attacked["pages"].partition("#")[0] == entries[0]["pages"].partition("#")[0]


def test_a_verdict_on_all_samples_is_not_named_after_some(site: Path) -> None:
    texts = [path.read_text() for path in (site / "samples" / "data").iterdir()]
    assert any('helpful","yes"' in text for text in texts)
    assert not any("helpful, harmless" in text for text in texts)


def test_pictures_are_small_files_each_once(site: Path) -> None:
    shown = {name: Image.open(site / "samples" / "images" / name) for name in names(site)}
    small = {name: each.size for name, each in shown.items() if "-large" not in name}
    assert all(max(size) <= 320 for size in small.values())
    assert [each.size for name, each in shown.items() if "-large" in name].count((700, 400)) == 1
    # Four of SIUO, the same four in two more runs; as FigStep draws them; and one of the toy.
    assert 5 < len(small) < 14


def names(site: Path) -> list[str]:
    return sorted(path.name for path in (site / "samples" / "images").iterdir())


def test_without_images_no_file_holds_anything_of_them(logs: Path, tmp_path: Path) -> None:
    write_explorer(build(read_results([str(logs)])), tmp_path)
    assert (tmp_path / "samples" / "images").is_dir()
    (tmp_path / "samples" / "mine.txt").write_text("not ours")
    command = ["leaderboard", str(logs), "--out", str(tmp_path), "--samples", "--no-images"]
    assert main(command) == 0
    found = files(tmp_path / "samples")
    assert "mine.txt" in found
    assert not [name for name in found if name.startswith("images/")]
    for name, content in found.items():
        assert not PICTURE.search(content.decode()), name
        assert Path(name).suffix in (".html", ".js", ".json", ".txt")
    texts = b"".join(found.values())
    assert b"[picture left out: " in texts
    assert b"[data left out: " in texts
    assert b"vlmguard leaderboard" not in found["index.html"]
    assert b"and no pictures" in next(v for n, v in found.items() if n.startswith("siuo"))


def test_a_second_run_gives_the_same_files(site: Path, logs: Path, tmp_path: Path) -> None:
    board = build(read_results([str(logs)]))
    count = write_explorer(board, tmp_path)
    first = files(tmp_path / "samples")
    assert write_explorer(board, tmp_path) == count
    assert files(tmp_path / "samples") == first
    assert len(first) == count + 1
    board.entries = [entry for entry in board.entries if entry.group.column.benchmark != "toy"]
    write_explorer(board, tmp_path)
    assert len([name for name in files(tmp_path / "samples") if name.endswith(".html")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["samples"]


@pytest.mark.parametrize(
    ("options", "said"), [(["--samples"], "--out DIR"), (["--no-images"], "--samples")]
)
def test_options_that_go_together(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", "nothing", *options]) == 2
    assert said in capsys.readouterr().err


def test_texts_lose_pictures_and_say_so() -> None:
    assert shown_text("see data:image/png;base64,AAAA== end") == (
        "see [data left out: 28 characters] end"
    )
    assert shown_text("x" * 20_007).endswith(" [7 more characters are in the log]")
    assert shown_text("/9j/ is no picture") == "/9j/ is no picture"
    assert shown_text("a\u202eb") == "a\ufffdb"
