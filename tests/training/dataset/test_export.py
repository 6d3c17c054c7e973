"""Export: the data set, its split, leaks, interrupted logs and a full disk."""

import errno
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
from inspect_ai.log import EvalLog
from inspect_ai.model import Model
from PIL import Image
from support.folders import write_vlguard
from support.synthesis import draw_image, good_reply, raw_row, rows, run_file, stage_of

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.guard.rewriter import Rewriter
from vlmguard.guard.rewriter.reply import parse_reply
from vlmguard.training.dataset.export import export, summary

Write = Callable[..., Path]
Make = Callable[..., Model]
Run = Callable[..., EvalLog]


def test_a_row_is_what_the_rewriter_meets_and_says(
    synthesized: Callable[..., Path], tmp_path: Path, model: Make
) -> None:
    log = synthesized(raw_row(0), raw_row(1, benign=True), raw_row(2))
    provenance = export([log], tmp_path / "out", validation=0.4)
    data = datasets.load_from_disk(str(tmp_path / "out"))
    assert set(data) == {"train", "validation"}
    found = {row["id"]: row for split in data.values() for row in split}
    assert set(found) == {"rows/r0", "rows/r1", "rows/r2"}
    row = found["rows/r0"]
    expected = Rewriter(model()).message(draw_image(tmp_path / "x.png", 0), raw_row(0)["prompt"])
    (turn,) = row["prompt"]
    assert turn["role"] == "user"
    assert [part["type"] for part in turn["content"]] == ["image", "text"]
    assert turn["content"][1]["text"] == expected.text
    (image,) = row["images"]
    assert image.tobytes() == Image.open(tmp_path / "x.png").convert("RGB").tobytes()
    (reply,) = row["completion"]
    assert reply["role"] == "assistant"
    parsed = parse_reply(reply["content"][0]["text"])
    assert (parsed.prompt, parsed.reasoning) == (row["rewritten"], row["reasoning"])
    assert row["reasoning"].startswith("The image shows a leaning ladder")
    assert {key: row[key] for key in ("source", "benign", "image_id", "reasoner", "original")} == {
        "source": "rows",
        "benign": False,
        "image_id": "rows/images/0.png",
        "reasoner": "mockllm/reasoner",
        "original": raw_row(0)["prompt"],
    }
    assert len(row["templates"]) == 12
    assert found["rows/r1"]["benign"] is True
    assert found["rows/r1"]["rewritten"] == found["rows/r1"]["original"]

    assert json.loads((tmp_path / "out/provenance.json").read_text()) == provenance
    assert provenance["rows"] == {
        "read": 3,
        "superseded": 0,
        "exported": 3,
        "train": 1,
        "validation": 2,
        "benign": 1,
        "images": 3,
    }
    assert provenance["targets"] == "reasoning"
    assert provenance["rewriter_prompt"] == 2
    assert provenance["rewriter_template"] == Rewriter(model()).template_hash
    assert provenance["cost"]["rewrite"]["calls"] == 3
    card = (tmp_path / "out/README.md").read_text()
    assert "3 rows (1 train, 2 validation) on 3 images, 1 of them benign" in card
    assert "| mockllm/reasoner | 3 |" in card


def test_direct_targets(synthesized: Callable[..., Path], tmp_path: Path, model: Make) -> None:
    export([synthesized(raw_row(0))], tmp_path / "out", targets="direct")
    (row,) = datasets.load_from_disk(str(tmp_path / "out"))["train"]
    assert row["completion"][0]["content"][0]["text"] == f"<prompt>{row['rewritten']}</prompt>"
    asked = Rewriter(model(), reasoning=False).instruction(row["original"], images=1)
    assert row["prompt"][0]["content"][1]["text"] == asked


def test_trl_takes_the_rows_as_they_are(synthesized: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from support.checkpoints import build_llava
    from transformers import AutoProcessor
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    export([synthesized(*rows(2))], tmp_path / "out", validation=0)
    data = datasets.load_from_disk(str(tmp_path / "out"))["train"]
    processor = AutoProcessor.from_pretrained(build_llava(tmp_path / "llava"))
    batch = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)(
        [data[0], data[1]]
    )
    taught = batch["labels"] != -100
    assert batch["pixel_values"].shape[0] == 2
    for number in (0, 1):
        text = processor.tokenizer.decode(batch["labels"][number][taught[number]])
        assert "leaning ladder" in text.replace("  ", " ")
        assert "Another assistant is about" not in text


def test_no_image_is_on_both_sides(synthesized: Callable[..., Path], tmp_path: Path) -> None:
    # Twelve requests about six images, two about each.
    given = [raw_row(number, image=f"images/{number % 6}.png") for number in range(12)]
    log = synthesized(*given)
    sides = []
    for seed in range(4):
        out = tmp_path / f"out{seed}"
        export([log], out, validation=0.3, seed=seed)
        data = datasets.load_from_disk(str(out))
        train, held = (set(data[name]["image_id"]) for name in ("train", "validation"))
        assert train.isdisjoint(held)
        assert len(held) == 2
        assert len(data["validation"]) == 4
        sides.append(frozenset(held))
    assert len(set(sides)) > 1


def test_copies_of_an_image_stay_together(
    synthesized: Callable[..., Path], tmp_path: Path, write_rows: Write
) -> None:
    folder = tmp_path / "raw" / "images"
    log_rows = [raw_row(number) for number in range(4)]
    original = draw_image(folder / "0.png", 0)
    copy = folder / "0copy.jpg"
    Image.open(original).save(copy, quality=80)
    path = write_rows(*log_rows)
    path.write_text(
        path.read_text() + json.dumps(raw_row(9, id="copy", image="images/0copy.jpg")) + "\n"
    )
    log = run_file(path, tmp_path)
    for seed in range(6):
        out = tmp_path / f"out{seed}"
        export([log], out, validation=0.4, seed=seed)
        data = datasets.load_from_disk(str(out))
        sides = [
            name
            for name in data
            for row_id in data[name]["id"]
            if row_id in ("rows/r0", "rows/copy")
        ]
        assert len(sides) == 2
        assert len(set(sides)) == 1


def test_drops_and_cost_are_told(
    synthesized: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(text: str) -> str:
        if "shelf 1" in text and stage_of(text) == "analysis":
            return "??"
        return good_reply(text)

    log = synthesized(*rows(3), script=script)
    assert main(["export", str(log.parent), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "3 rows read, 2 exported (1 train, 1 validation; 0 benign)." in printed
    assert "Dropped: analysis_invalid_format 1." in printed
    assert "Stage hindsight: 3 calls, 30 input_tokens, 15 output_tokens" in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("NOT compared with")]
    assert {"siuo,", "vlguard,"} < set(line.split())


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_bad_share(share: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose a share"):
        export([tmp_path], tmp_path / "out", validation=share)


def test_what_is_there_is_not_touched(synthesized: Callable[..., Path], tmp_path: Path) -> None:
    log = synthesized(*rows(2))
    out = tmp_path / "out"
    export([log], out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(UserError, match="exists"):
        export([log], out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def held_out(tmp_path: Path, prompt: str) -> Path:
    """A test set with the picture of row 1."""
    draw_image(tmp_path / "held" / "t.png", 1)
    path = tmp_path / "held" / "held.jsonl"
    path.write_text(json.dumps({"image": "t.png", "prompt": prompt}) + "\n")
    return path


def test_a_leak_stops_the_export(synthesized: Callable[..., Path], tmp_path: Path) -> None:
    log = synthesized(*rows(3))
    own = held_out(tmp_path, "Anything else?")
    with pytest.raises(UserError, match=r"1 rows with 1 images .* rows/r1 .* --on-leak drop"):
        export([log], tmp_path / "out", own_sets=[own])
    assert not (tmp_path / "out").exists()

    provenance = export([log], tmp_path / "dropped", own_sets=[own], on_leak="drop")
    assert provenance["dropped"] == {"leak": 1}
    assert [leak["row"] for leak in provenance["leaks"]["removed"]] == ["rows/r1"]
    assert provenance["leaks"]["images"] == []
    data = datasets.load_from_disk(str(tmp_path / "dropped"))
    assert "rows/r1" not in [*data["train"]["id"], *data["validation"]["id"]]

    kept = export([log], tmp_path / "kept", own_sets=[own], on_leak="keep")
    assert [leak["row"] for leak in kept["leaks"]["images"]] == ["rows/r1"]
    assert (
        "1 are\nstill in" in (tmp_path / "kept/README.md").read_text()
        or "1 are still in" in (tmp_path / "kept/README.md").read_text()
    )

    paired = export([log], tmp_path / "paired", own_sets=[own], leak_key="pair")
    assert paired["leaks"]["images"] == []
    assert [leak["row"] for leak in paired["leaks"]["shared_images"]] == ["rows/r1"]
    named = "1 images of test sets (rows/images/1.png in held)"
    assert named in summary(paired)
    assert named in (tmp_path / "paired/README.md").read_text()


def test_text_alone_is_reported_and_blocks_on_request(
    synthesized: Callable[..., Path], tmp_path: Path
) -> None:
    log = synthesized(raw_row(0), raw_row(2))
    own = held_out(tmp_path, raw_row(2)["prompt"].upper())
    report = export([log], tmp_path / "out", own_sets=[own])["leaks"]
    assert [leak["row"] for leak in report["texts"]] == ["rows/r2"]
    assert (report["images"], report["pairs"]) == ([], [])
    with pytest.raises(UserError, match="rows/r2"):
        export([log], tmp_path / "strict", own_sets=[own], strict_text=True)


def test_a_benchmark_in_another_layout_stops_the_export(
    synthesized: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = synthesized(raw_row(0), raw_row(1, image_id="vlguard/bad_ads/s2.png"))
    write_vlguard(tmp_path / "sets" / "vlguard" / "data")
    shutil.rmtree(tmp_path / "sets" / "vlguard" / "data" / "test")
    command = ["export", str(log), "--out", str(tmp_path / "out"), "--test-sets"]
    assert main([*command, str(tmp_path / "sets")]) == 2
    assert "rows/r1 (vlguard/bad_ads/s2.png) is in vlguard as" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "sets"), "--on-leak", "drop"]) == 0
    printed = capsys.readouterr().out
    assert "Compared with vlguard (10 items, 0 images)." in printed
    assert "vlguard/unsafe (438 of 442 samples)" in printed


def test_nothing_is_left_when_every_row_leaks(
    synthesized: Callable[..., Path], tmp_path: Path
) -> None:
    log = synthesized(raw_row(1))
    with pytest.raises(UserError, match="nothing is left"):
        export([log], tmp_path / "out", own_sets=[held_out(tmp_path, "?")], on_leak="drop")


@pytest.mark.parametrize("where", ["save_to_disk", "from_generator"])
def test_a_full_disk_leaves_nothing_half_done(
    where: str,
    synthesized: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = synthesized(*rows(2))
    export([log], tmp_path / "before")

    def full(*_: Any, **__: Any) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("An error occurred while generating the dataset") from error

    owner = datasets.DatasetDict if where == "save_to_disk" else datasets.Dataset
    monkeypatch.setattr(owner, where, full)
    with pytest.raises(UserError, match="No room left on the disk"):
        export([log], tmp_path / "after")
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir() if "after" in path.name) == []
    assert len(datasets.load_from_disk(str(tmp_path / "before"))["train"]) == 1
    export([log], tmp_path / "after")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB; needs the right to mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("cannot mount a small file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="no mount command")
@pytest.mark.parametrize("room", [0, 2_000, 20_000, 60_000])
def test_a_disk_that_is_really_full(
    room: int, synthesized: Callable[..., Path], small_disk: Path
) -> None:
    log = synthesized(*rows(40))
    export([log], small_disk / "before")
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(b"x" * (free - room))
    with pytest.raises(UserError, match="No room left on the disk"):
        export([log], small_disk / "after")
    assert sorted(path.name for path in small_disk.iterdir()) == ["before", "filler"]
    assert len(datasets.load_from_disk(str(small_disk / "before"))["train"]) == 38
    (small_disk / "filler").unlink()
    export([log], small_disk / "after")


def test_other_errors_are_not_called_a_full_disk(
    synthesized: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = synthesized(*rows(2))
    monkeypatch.setattr(
        datasets.DatasetDict, "save_to_disk", lambda *_: (_ for _ in ()).throw(ValueError("odd"))
    )
    with pytest.raises(ValueError, match="odd"):
        export([log], tmp_path / "out")
    assert [path for path in tmp_path.iterdir() if "out" in path.name] == []
