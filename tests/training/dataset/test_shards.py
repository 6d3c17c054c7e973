"""Export of shards, from a bucket too, beside the same rows in one log; and of a killed export."""

import base64
import hashlib
import json
import multiprocessing
import time
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
from inspect_ai.log import read_eval_log, write_eval_log
from support.object_store import object_store, store
from support.synthetic_logs import MadeRow, image_uri, mixed_rows, template, write_log

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.guard.shards import SHARD, Shard, shards_of
from vlmguard.training.dataset.export import export

NEWER, OLDER = "2030-01-02T00:00:00+00:00", "2030-01-01T00:00:00+00:00"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return template(tmp_path_factory.mktemp("template"))


def exported(logs: Sequence[Path | str], out: Path, **options: Any) -> tuple[dict[str, Any], str]:
    """The provenance of an export, and a digest of its rows, images and order."""
    provenance = export(logs, out, **options)
    digest = hashlib.sha256()
    for split, data in datasets.load_from_disk(str(out)).items():
        digest.update(str(split).encode())
        for row in data.cast_column("images", datasets.List(datasets.Image(decode=False))):
            digest.update(repr(sorted(row.items())).encode())
    return provenance, digest.hexdigest()


def test_an_export_gives_what_it_gave_when_all_was_held_in_memory(
    made: Path, tmp_path: Path
) -> None:
    # The figures are those of the export that compared each row with each.
    rows = mixed_rows(60, ord("a"))
    other = [replace(row, rewritten=f"{row.rewritten} carefully now") for row in mixed_rows(30, 7)]
    logs = [
        write_log(tmp_path / "one.eval", made, rows, created=NEWER),
        write_log(tmp_path / "two.eval", made, other, created=OLDER),
    ]
    held = []
    for number in range(0, 30, 4):
        image = base64.b64decode(image_uri(number).partition(",")[2])
        (tmp_path / f"t{number}.bin").write_bytes(image)
        line = {"image": f"t{number}.bin", "prompt": rows[number].original}
        named = {} if number % 8 else {"image_id": f"made/{rows[number + 1].image}.png"}
        held.append(json.dumps(line | named))
    held.append(json.dumps({"image_id": "x", "prompt": "describe it"}))
    (tmp_path / "held.jsonl").write_text("\n".join(held))
    own = {"own_sets": [tmp_path / "held.jsonl"]}
    provenance, _ = exported(logs, tmp_path / "out", **own, on_leak="drop", seed=1)
    assert provenance["rows"] == {
        "read": 86,
        "superseded": 0,
        "exported": 26,
        "train": 15,
        "validation": 11,
        "benign": 0,
        "images": 8,
    }
    assert provenance["dropped"] == {
        "leak": 39,
        "near_duplicate": 20,
        "unfinished": 4,
        "unchecked": 1,
    }
    assert [log["kept"] for log in provenance["logs"]] == [56, 29]
    assert len(provenance["leaks"]["texts"]) == 5
    data = datasets.load_from_disk(str(tmp_path / "out"))
    found = {name: hashlib.sha256(" ".join(data[name]["id"]).encode()).hexdigest() for name in data}
    assert found["train"].startswith("b4fe59406e95")
    assert found["validation"].startswith("11af00db85cf")
    message = (
        r"39 rows with 10 images are in a test set: made/0 \(made/0.png\) is in held as held/1"
    )
    with pytest.raises(UserError, match=message):
        export(logs, tmp_path / "stopped", own_sets=own["own_sets"])


def write_shards(folder: Path, made: Path, rows: list[MadeRow], count: int) -> list[Path]:
    """The logs of a run in shards, of which the last was begun first."""
    by_id = {row.id: row for row in rows}
    return [
        write_log(
            folder / f"{shard.name}.eval",
            made,
            [by_id[each] for each in by_id if shard.holds(each)],
            created=f"2030-01-01T00:00:{59 - shard.number:02}+00:00",
            metadata={SHARD: shard.noted()},
        )
        for shard in shards_of(list(by_id), count)
    ]


def test_shards_give_the_rows_of_the_whole_in_its_order(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = mixed_rows(60, 3)
    whole = write_log(tmp_path / "whole.eval", made, rows)
    expected, content = exported([whole], tmp_path / "whole", validation=0.3)
    logs = write_shards(tmp_path / "parts", made, rows, 4)
    for number, given in enumerate((logs, logs[::-1])):
        found, same = exported(given, tmp_path / f"out{number}", validation=0.3)
        assert same == content
        assert found["rows"] == expected["rows"]
        assert found["dropped"] == expected["dropped"]
        assert found["unfinished_shards"] == []
        assert [log["file"] for log in found["logs"]] == [f"{n}-of-4.eval" for n in (1, 2, 3, 4)]
    # The same from a bucket, by the name of a folder and of a log in it.
    with object_store(monkeypatch):
        for log in logs:
            store().put(str(log), f"logs/run/none/{log.name}")
        command = ["export", "s3://logs/run", "s3://logs/run/none/2-of-4.eval", "--out"]
        assert main([*command, str(tmp_path / "bucket"), "--validation", "0.3"]) == 0
    data = datasets.load_from_disk(str(tmp_path / "bucket"))
    assert data["train"]["id"] == datasets.load_from_disk(str(tmp_path / "whole"))["train"]["id"]


def test_shards_that_are_missing_or_not_finished_are_named(
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = mixed_rows(40, 4)
    logs = write_shards(tmp_path / "parts", made, rows, 4)
    logs[1].unlink()
    noted = Shard.noted_in({SHARD: shards_of([row.id for row in rows], 4)[2].noted()})
    assert noted is not None
    held = [row for row in rows if noted.holds(row.id)]
    # A retry does not make up for a shard unless it is finished.
    for name, status in (("3-of-4.eval", "error"), ("retry.eval", "cancelled")):
        write_log(
            tmp_path / "parts" / name,
            made,
            held[:5],
            status=status,
            metadata={SHARD: noted.noted()},
        )
    command = ["export", str(tmp_path / "parts"), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    # `inspect eval-retry` would synthesize the rows of all shards.
    assert "Go on with the command that made the shards." in caplog.text
    assert "eval-retry" not in caplog.text
    printed = capsys.readouterr().out
    said = "2-of-4 of rows (rows "
    (line,) = [line for line in printed.splitlines() if line.startswith("UNFINISHED")]
    assert said in line
    assert "3-of-4 of rows" in line
    assert "1-of-4" not in line
    card = (tmp_path / "out/README.md").read_text()
    assert "UNFINISHED: rows are lacking" in card
    assert said in card
    found = json.loads((tmp_path / "out/provenance.json").read_text())["unfinished_shards"]
    assert [each.partition(" ")[0] for each in found] == ["2-of-4", "3-of-4"]
    write_log(tmp_path / "parts/z.eval", made, held, metadata={SHARD: noted.noted()})
    again = export([tmp_path / "parts"], tmp_path / "again")
    assert [each.partition(" ")[0] for each in again["unfinished_shards"]] == ["2-of-4"]


def test_shards_of_two_targets_are_not_one_run(made: Path, tmp_path: Path) -> None:
    # The target answers where replies are sampled, or rejected.
    logs = write_shards(tmp_path / "parts", made, mixed_rows(40, 3), 2)
    other = read_eval_log(str(logs[1]))
    other.eval.model = "mockllm/other"
    write_eval_log(other, str(logs[1]))
    found = export(logs, tmp_path / "out")["unfinished_shards"]
    assert sorted(each.partition(" ")[0] for each in found) == ["1-of-2", "2-of-2"]


def test_rows_of_logs_begun_at_once_do_not_depend_on_their_order(
    made: Path, tmp_path: Path
) -> None:
    rows = mixed_rows(12, 5)
    other = [replace(row, rewritten=f"{row.rewritten} at home") for row in rows]
    logs = [
        write_log(tmp_path / "one.eval", made, rows),
        write_log(tmp_path / "two.eval", made, other),
    ]
    _, content = exported(logs, tmp_path / "out")
    assert exported(logs[::-1], tmp_path / "again")[1] == content


def test_a_shard_that_is_none_is_refused(made: Path, tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.eval", made, mixed_rows(3, 1), metadata={SHARD: {"number": 0}})
    with pytest.raises(
        UserError, match=r"a\.eval: shard in its metadata is no shard.*Leave it out"
    ):
        export([log], tmp_path / "out")


@pytest.mark.parametrize("part", ["header.json", "samples/"])
def test_a_damaged_log_is_named(part: str, made: Path, tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.eval", made, mixed_rows(3, 1))
    with zipfile.ZipFile(log) as archive:
        found = [each for each in archive.infolist() if each.filename.startswith(part)][-1]
    content = bytearray(log.read_bytes())
    start = found.header_offset + 30 + len(found.filename) + 20
    for place in range(start, start + 40):
        content[place] ^= 255
    log.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.eval: cannot be read as a log .* Leave it out"):
        export([log], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_killed_export_leaves_nothing_that_looks_whole(made: Path, tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.eval", made, mixed_rows(400, 2))
    at_work = multiprocessing.get_context("fork").Process(
        target=export, args=([log], tmp_path / "out")
    )
    at_work.start()
    end = time.monotonic() + 60
    while not any(tmp_path.glob(".out.*/images/*")) and time.monotonic() < end:
        time.sleep(0.01)
    at_work.kill()
    at_work.join()
    assert at_work.exitcode == -9
    assert not (tmp_path / "out").exists()
    export([log], tmp_path / "out")
    assert (tmp_path / "out/provenance.json").is_file()
