"""Rows from logs: several logs, unfinished ones, of other tasks, without images."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
from inspect_ai.log import read_eval_log, write_eval_log
from support.synthesis import draw_image, good_reply, raw_row, rows, run_file, stage_of

from vlmguard.guard.errors import UserError
from vlmguard.training.dataset.export import export, summary


def test_several_logs_and_the_newest_row_wins(
    synthesized: Callable[..., Path], tmp_path: Path
) -> None:
    first = synthesized(*rows(2))
    again = json.dumps(
        {"reasoning": "A ladder leans.", "prompt": "How do I climb it with a helper?"}
    )
    second = synthesized(
        raw_row(1),
        raw_row(5),
        script=lambda text: (
            again if stage_of(text) == "rewrite" and "shelf 1" in text else good_reply(text)
        ),
    )
    # Two logs of the same second differ in their time of creation.
    newer = read_eval_log(str(second))
    newer.eval.created = "2099-01-01T00:00:00+00:00"
    write_eval_log(newer, str(second))
    provenance = export([first, second.parent, second], tmp_path / "out", validation=0)
    data = datasets.load_from_disk(str(tmp_path / "out"))["train"]
    found = dict(zip(data["id"], data["rewritten"], strict=True))
    assert set(found) == {"rows/r0", "rows/r1", "rows/r5"}
    assert found["rows/r1"] == "How do I climb it with a helper?"
    assert [log["kept"] for log in provenance["logs"]] == [2, 1]
    assert provenance["rows"]["read"] == 3
    assert provenance["rows"]["superseded"] == 1
    assert "1 rows of older logs superseded" in summary(provenance)


def test_a_log_in_a_folder_that_is_cut_short_is_named(
    synthesized: Callable[..., Path], tmp_path: Path
) -> None:
    log = synthesized(raw_row(0))
    broken = log.with_name(f"0-{log.name}")
    broken.write_bytes(log.read_bytes()[:-200])
    for given in (log.parent, broken):
        with pytest.raises(UserError, match=f"{broken.name}: cannot be read as a log"):
            export([given], tmp_path / "out")


def test_different_rows_of_one_id_are_all_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Two files of one name in two folders: same ids, same image names.
    for folder, shift in (("a", 0), ("b", 5)):
        given = [
            raw_row(number + shift, id=None, image=f"images/{number}.png") for number in range(3)
        ]
        for number in range(3):
            draw_image(tmp_path / folder / f"images/{number}.png", number + shift)
        lines = "".join(json.dumps(row) + "\n" for row in given)
        (tmp_path / folder / "rows.jsonl").write_text(lines)
        run_file(tmp_path / folder / "rows.jsonl", tmp_path)
    provenance = export([tmp_path / "logs"], tmp_path / "out", validation=0)
    data = datasets.load_from_disk(str(tmp_path / "out"))["train"]
    found = dict(zip(data["id"], data["original"], strict=True))
    assert set(found) == {f"rows/{n}{more}" for n in (1, 2, 3) for more in ("", "~2")}
    assert len(set(found.values())) == 6
    assert provenance["rows"]["read"] == 6
    assert provenance["rows"]["superseded"] == 0
    assert "3 rows have the id of another row" in caplog.text


def test_the_same_request_about_another_image_is_another_row(tmp_path: Path) -> None:
    for folder, number in (("a", 0), ("b", 1)):
        draw_image(tmp_path / folder / "i.png", number)
        line = json.dumps(raw_row(0, image="i.png", benign=True))
        (tmp_path / folder / "rows.jsonl").write_text(line)
        run_file(tmp_path / folder / "rows.jsonl", tmp_path)
    export([tmp_path / "logs"], tmp_path / "out", validation=0)
    data = datasets.load_from_disk(str(tmp_path / "out"))["train"]
    assert sorted(data["id"]) == ["rows/r0", "rows/r0~2"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda tmp: [tmp / "no.eval"], "no such file or folder"),
        (lambda tmp: [tmp], "No log of synthesize found"),
        (lambda tmp: [tmp / "junk.eval"], "cannot be read as a log"),
    ],
)
def test_unusable_logs(make: Callable[[Path], list[Path]], message: str, tmp_path: Path) -> None:
    (tmp_path / "junk.eval").write_text("junk") if message.startswith("cannot") else None
    with pytest.raises(UserError, match=message):
        export(make(tmp_path), tmp_path / "new" / "out")
    assert not (tmp_path / "new" / "out").exists()


def test_a_log_of_another_task_is_refused(synthesized: Callable[..., Path], tmp_path: Path) -> None:
    path = synthesized(raw_row(0))
    log = read_eval_log(str(path))
    log.eval.task_display_name = "siuo"
    write_eval_log(log, str(path))
    with pytest.raises(UserError, match="is a log of siuo"):
        export([path], tmp_path / "out")


def test_a_log_of_a_task_of_the_same_name_is_refused(
    synthesized: Callable[..., Path], tmp_path: Path
) -> None:
    path = synthesized(raw_row(0))
    log = read_eval_log(str(path))
    log.eval.metadata = {}
    write_eval_log(log, str(path))
    with pytest.raises(UserError, match=r"is not from training/synthesize\.py"):
        export([path], tmp_path / "out")


def test_rows_that_failed_are_counted(
    synthesized: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(text: str) -> str:
        if "shelf 1?" in text:
            raise RuntimeError("400: this image is not accepted")
        return good_reply(text)

    log = synthesized(*rows(3), script=fails, fail_on_error=False)
    provenance = export([log], tmp_path / "out")
    assert provenance["rows"]["exported"] == 2
    assert provenance["dropped"] == {"unfinished": 1}
    assert "1 rows have failed" in caplog.text


def test_nothing_kept_is_an_error(synthesized: Callable[..., Path], tmp_path: Path) -> None:
    log = synthesized(raw_row(0), script=lambda text: "??")
    with pytest.raises(UserError, match=r"no kept row .dropped: hindsight_invalid_format 1"):
        export([log], tmp_path / "out")


def test_an_unfinished_log_gives_what_is_finished(
    synthesized: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = synthesized(*rows(3))
    log = read_eval_log(str(path))
    assert log.samples is not None
    log.status = "cancelled"
    log.samples[2].scores = None
    write_eval_log(log, str(path))
    provenance = export([path], tmp_path / "out")
    assert provenance["rows"]["exported"] == 2
    assert provenance["dropped"] == {"unfinished": 1}
    assert provenance["logs"][0]["status"] == "cancelled"
    assert "inspect eval-retry" in caplog.text


def test_images_outside_the_log_are_read_from_their_place(
    synthesized: Callable[..., Path], tmp_path: Path
) -> None:
    log = synthesized(*rows(2), log_images=False)
    export([log], tmp_path / "out", validation=0)
    data = datasets.load_from_disk(str(tmp_path / "out"))["train"]
    assert data[0]["images"][0].size == (64, 64)
    shutil.rmtree(tmp_path / "raw")
    with pytest.raises(UserError, match=r"rows/r0: no image in the log .* Put the file back"):
        export([log], tmp_path / "again")
