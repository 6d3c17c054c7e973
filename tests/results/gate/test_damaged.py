"""Damaged baselines, by hand or by a merge: no run passes with them."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.clones import clone, template_log

from vlmguard.cli import main

Row = dict[str, Any]
Damage = Callable[[Row], object]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    template = template_log(tmp_path_factory.mktemp("template"), 8)
    for name in ("a", "b"):
        clone(template, folder / f"{name}.eval", lambda _: (9.0, 1.0, 0.0), defense="vlmguard")
    return folder


@pytest.fixture(scope="module")
def document(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("baseline") / "baseline.json"
    assert main(["gate", str(logs), "--baseline", str(path), "--update"]) == 0
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def put(value: object, place: slice = slice(1, None)) -> Damage:
    """Set every score (of the first measure, or of all) to this value."""

    def damage(run: Row) -> None:
        for row in run["samples"].values():
            row[place] = [value] * len(row[place])

    return damage


def put_in_one(value: object) -> Damage:
    def damage(run: Row) -> None:
        next(iter(run["samples"].values()))[1] = value

    return damage


def every_row(change: Callable[[list[Any]], list[Any]]) -> Damage:
    def damage(run: Row) -> None:
        run["samples"] = {name: change(row) for name, row in run["samples"].items()}

    return damage


def set_to(**values: Any) -> Damage:
    return lambda run: run.update(values)


DAMAGES: dict[str, tuple[Damage, str]] = {
    "all NaN": (put(float("nan")), "NaN is no JSON number"),
    "one NaN": (put_in_one(float("nan")), "NaN is no JSON number"),
    "infinite": (put(float("inf")), "Infinity is no JSON number"),
    "minus infinite": (put(float("-inf")), "-Infinity is no JSON number"),
    "too large for a float": (put_in_one(10**400), "baseline"),
    "true": (put(True), "broken baseline at runs.0.samples"),
    "words": (put("high"), "must have its image first and then numbers"),
    "above the range": (put(999.0), "and reaches from 0 to 10"),
    "below the range": (put(-5.0), "and reaches from 0 to 10"),
    "one above the range": (put_in_one(10.5), "and reaches from 0 to 10"),
    "all null": (put(None), "no sample has a value both now and in the baseline"),
    "one null of eight": (put_in_one(None), "1 of 8 samples have a value on one side only"),
    "rows too short": (every_row(lambda row: row[:2]), "entries instead of"),
    "rows too long": (every_row(lambda row: [*row, 1.0]), "entries instead of"),
    "rows empty": (every_row(lambda row: []), "has 0 entries instead of"),
    "no image": (every_row(lambda row: [None, *row[1:]]), "must have its image first"),
    "no samples": (set_to(samples={}), "it has no samples"),
    "no measures": (set_to(measures=[]), "it has no measures"),
    "failures NaN": (set_to(failures=float("nan")), "NaN is no JSON number"),
    "failures 5": (set_to(failures=5), "broken baseline at runs.0.failures"),
    "unscored -1": (
        lambda run: run["unscored"].update(safety=-1.0),
        "broken baseline at runs.0.unscored",
    ),
    "unscored of nothing": (set_to(unscored={}), "shares of unscored answers are not those"),
    "no conditions": (set_to(conditions={}), "its conditions lack task version"),
    "a condition lost": (lambda run: run["conditions"].pop("settings"), "lack settings"),
    "a condition renamed": (
        lambda run: run["conditions"].update(version="1-A"),
        "unknown conditions version",
    ),
    "an empty condition": (lambda run: run["conditions"].update(data=""), "data is empty"),
    "a measure renamed": (
        lambda run: run.update(measures=["zz", *run["measures"][1:]]),
        "its shares of unscored answers are not those of its measures",
    ),
    "a measure twice": (
        lambda run: run.update(measures=[run["measures"][0]] * len(run["measures"])),
        "or one of them twice",
    ),
    "a field nobody knows": (set_to(tolerance=5), "broken baseline at runs.0.tolerance"),
    "half a determinism": (
        lambda run: run["deterministic"].pop("settings"),
        "under what it is deterministic",
    ),
    "the run twice": (lambda run: None, "it holds a run twice"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_no_damaged_baseline_lets_a_run_pass(
    name: str,
    logs: Path,
    document: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage, said = DAMAGES[name]
    damaged = copy.deepcopy(document)
    for run in damaged["runs"]:
        damage(run)
    if name == "the run twice":
        damaged["runs"] *= 2
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(damaged))
    assert main(["gate", str(logs), "--baseline", str(path)]) == 2
    told = capsys.readouterr()
    assert said in told.out
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "cannot be read"),
        ('{"format": 1, "runs": ' + '{"a":' * 100_000, "cannot be read"),
        ('{"format": 1, "format": 1, "runs": []}', "occurs twice"),
        ("null", "not a baseline of format 1"),
        ('{"format": 1, "runs": 5}', "broken baseline"),
        ('{"format": 1, "runs": []}', "not in the baseline"),
    ],
)
def test_no_broken_file_does_either(
    text: str, said: str, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "baseline.json").write_text(text)
    assert main(["gate", str(logs), "--baseline", str(tmp_path / "baseline.json")]) == 2
    told = capsys.readouterr()
    assert said in told.out
    assert "Traceback" not in told.err


def test_an_undamaged_one_passes(logs: Path, document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "baseline.json").write_text(json.dumps(document))
    words = ["gate", str(logs), "--baseline", str(tmp_path / "baseline.json")]
    assert main(words) == 0
    for wrong in ("safety=nan", "safety=inf", "safety=-1"):
        assert main([*words, "--tolerance", wrong]) == 2
