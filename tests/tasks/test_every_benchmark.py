"""What all benchmarks do alike: faults in data and options are named before anything is paid for.

A benchmark that is new here needs a line in `support.benchmark_folders.every`.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from importlib import import_module
from inspect import getmodule, isclass, isfunction, signature
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pyarrow.parquet as pq
import pytest
from inspect_ai import Task
from inspect_ai._util.registry import registry_info, registry_lookup
from inspect_ai.scorer import Metric
from inspect_ai.scorer._scorer import scorer_metrics
from inspect_ai.util import registry_create
from inspect_ai.viewer import TaskSamplesView
from pydantic import BaseModel
from support.benchmark_folders.every import EVERY
from support.parquet import write_parquet

import vlmguard.tasks
from vlmguard.guard.cards import Card, cards
from vlmguard.guard.errors import UserError
from vlmguard.guard.hazards import hazard_of
from vlmguard.guard.messages import images_of

NAMES = sorted(EVERY)
WAY_OUT = re.compile(r"\b([Cc]orrect|[Dd]ownload|[Rr]emove)\b")
Row = dict[str, Any]
Content = Any


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def card_of(name: str) -> Card:
    return cards().benchmarks[name]


def made(name: str, folder: Path, **args: Any) -> Task:
    """The benchmark's task, by rules alone; no model exists that could be called."""
    card = card_of(name)
    given = {"judge": "none", **card.chosen_by, **EVERY[name][1], **args}
    task = registry_create("task", f"vlmguard/{card.task or name}", data_dir=str(folder), **given)
    assert isinstance(task, Task)
    return task


@pytest.mark.parametrize("name", [n for n, card in cards().benchmarks.items() if card.variants])
def test_each_benchmark_has_a_folder_for_these_tests(name: str, tmp_path: Path) -> None:
    assert name in EVERY, f"add {name} to tests/support/benchmark_folders/every.py"
    task = made(name, EVERY[name][0](tmp_path / name))
    assert len(task.dataset) > 0
    for sample in task.dataset:
        assert_whole(sample)


def assert_whole(sample: Any) -> None:
    """Nothing is missing from a sample that scorers, defenses and tables read."""
    assert isinstance(sample.input, str) or sample.input[-1].text.strip(), sample.id
    for key in ("category", "subset", "image_id", "expected"):
        assert str((sample.metadata or {})[key]).strip(), (sample.id, key)
    assert sample.metadata["expected"] in ("comply", "refuse", "care")


@pytest.mark.parametrize("value", ["flase", "false", 1])
@pytest.mark.parametrize("name", NAMES)
def test_no_text_counts_as_a_boolean_option(name: str, value: Any, tmp_path: Path) -> None:
    folder = EVERY[name][0](tmp_path)
    task: Any = registry_lookup("task", f"vlmguard/{card_of(name).task or name}")
    options = [each.name for each in signature(task).parameters.values() if each.annotation is bool]
    assert {"judge_hint", "fit_images"} <= {*options}
    for option in options:
        with pytest.raises(UserError, match=rf"-T {option}={value!r}: true or false is needed"):
            made(name, folder, **{option: value})


SILENT = {"hades", "mm_harmful"}
"""Sets whose files name no hazard."""


@pytest.mark.parametrize("name", NAMES)
def test_each_risky_sample_says_what_could_go_wrong(name: str, tmp_path: Path) -> None:
    told = {hazard_of(s.metadata or {}) for s in made(name, EVERY[name][0](tmp_path)).dataset}
    assert (None in told) == (name in SILENT)
    # The name of a set is no hazard.
    assert not {*filter(None, told)} & {name, card_of(name).title, name.replace("_", " ")}


def test_what_looks_harmless_does_not_name_the_hazard(tmp_path: Path) -> None:
    mossbench = made("mossbench", EVERY["mossbench"][0](tmp_path / "m"), split="both")
    hazards = {s.metadata["subset"]: hazard_of(s.metadata) for s in mossbench.dataset if s.metadata}
    assert hazards == {"oversensitivity": "", "contrast": None}
    vlguard = made("vlguard", EVERY["vlguard"][0](tmp_path / "v"), subset="safe_unsafe")
    assert {hazard_of(sample.metadata or {}) for sample in vlguard.dataset} == {None}


@pytest.mark.parametrize("name", NAMES)
def test_risky_requests_have_harmless_ones_beside_them(name: str, tmp_path: Path) -> None:
    expected = {
        (sample.metadata or {})["expected"]
        for sample in made(name, EVERY[name][0](tmp_path / name)).dataset
    }
    partner = card_of(name).partner
    if expected == {"comply"}:
        return
    assert partner is not None, f"{name} has risky requests: its card needs a partner"
    other = partner.benchmark
    beside = made(other, EVERY[other][0](tmp_path / "partner"), **partner.args)
    assert "comply" in {(sample.metadata or {})["expected"] for sample in beside.dataset}


@pytest.mark.parametrize("judge", ["all", "none"])
@pytest.mark.parametrize("name", NAMES)
def test_the_headline_is_shown_first(name: str, judge: str, tmp_path: Path) -> None:
    task = made(name, EVERY[name][0](tmp_path), judge=judge)
    headline = task.headline_metric
    assert headline is not None
    assert task.scorer is not None
    assert task.viewer is not None
    first = scorer_metrics(task.scorer[0])
    assert isinstance(first, list)
    assert isinstance(first[0], Metric)
    shown: Any = first[0]([])  # type: ignore[arg-type, call-arg]
    assert next(iter(shown)) == (headline.metric or headline.score)
    view = task.viewer.task_samples_view
    assert isinstance(view, TaskSamplesView)
    assert view.columns is not None
    visible = [column.id for column in view.columns if column.visible]
    texts = ["score__at_a_glance__category", "input", "score__at_a_glance__rewritten"]
    has_target = any(sample.target for sample in task.dataset)
    listed = ["sampleStatus", "sampleId", *texts, *(["target"] if has_target else []), "answer"]
    assert visible[: len(listed)] == listed
    assert ("target" in visible) == has_target
    assert any(column.startswith(f"score__{headline.scorer}__") for column in visible)
    judged = [f"score__judge__{key}" for key in ("safety", "helpful", "safe_and_helpful")]
    by_judge = any(registry_info(each).name.endswith("/judge") for each in task.scorer)
    assert [column for column in visible if "__judge__" in column] == judged * by_judge


# --- records --------------------------------------------------------------------------


def records_of(content: Content) -> Iterator[tuple[Any, str | int]]:
    """Each record of a JSON file as its container and key; lists of records may lie in objects."""
    if isinstance(content, list):
        yield from ((content, place) for place, each in enumerate(content) if type(each) is dict)
    elif isinstance(content, dict):
        for key, each in content.items():
            if isinstance(each, list):
                yield from records_of(each)
            elif isinstance(each, dict):
                yield content, key


def damaged(path: Path, change: Callable[[Row, str], None]) -> Iterator[str]:
    """Damage one field of a file's first record after the other; the file is whole again at last.

    Yields:
        The field, while it is damaged.
    """
    before = path.read_bytes()
    for field, write in _changes(path, change):
        write()
        yield field
        path.write_bytes(before)


def _changes(
    path: Path, change: Callable[[Row, str], None]
) -> Iterator[tuple[str, Callable[[], object]]]:
    if path.suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
        for field in (name for name, cell in rows[0].items() if not isinstance(cell, dict)):
            changed = deepcopy(rows)
            for row in changed:
                change(row, field)
            yield field, lambda changed=changed: write_parquet(path, changed)  # type: ignore[misc]
        return
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            table = list(csv.DictReader(file))
        for field in table[0]:
            lines: list[Row] = deepcopy(table)  # type: ignore[arg-type]
            for row in lines if _drops(change) else lines[:1]:
                change(row, field)
            yield field, lambda lines=lines: _write_csv(path, lines)  # type: ignore[misc]
        return
    text = path.read_text()
    # POPE's files have a record on each line, whatever their name says.
    one_a_line = path.suffix == ".jsonl" or (text.startswith("{") and "}\n{" in text)
    content = [json.loads(line) for line in text.splitlines()] if one_a_line else json.loads(text)
    container, key = next(records_of(content))
    for field in container[key]:
        changed = deepcopy(content)
        container, key = next(records_of(changed))
        change(container[key], field)
        out = "\n".join(map(json.dumps, changed)) if one_a_line else json.dumps(changed)
        yield field, lambda out=out: path.write_text(out)  # type: ignore[misc]


def _write_csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _drops(change: Callable[[Row, str], None]) -> bool:
    return change is drop


def drop(row: Row, field: str) -> None:
    del row[field]


def blank(row: Row, field: str) -> None:
    row[field] = " "


def mistype(row: Row, field: str) -> None:
    row[field] = [["unexpected"]]


@pytest.mark.parametrize("change", [drop, blank, mistype], ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_a_bad_record_is_named_with_its_file_and_field(
    name: str, change: Callable[[Row, str], None], tmp_path: Path
) -> None:
    folder = EVERY[name][0](tmp_path / name)
    read = (made(name, folder).metadata or {})["data"]["files"]
    refused = set()
    for file in read:
        if change is mistype and file.endswith(".csv"):
            continue  # every cell is a text
        for field in damaged(folder / file, change):
            try:
                task = made(name, folder)
            except UserError as error:
                refused.add(field)
                said = str(error)
                assert_style(said, name, Path(file).name)
            else:
                # A field that the task does not need.
                for sample in task.dataset:
                    assert_whole(sample)
    csv_alone = all(file.endswith(".csv") for file in read)
    assert refused or (change is mistype and csv_alone)
    for sample in made(name, folder).dataset:
        assert_whole(sample)


def assert_style(said: str, name: str, file: str) -> None:
    """File, record or column, field, and the way out; or sample and picture, and the way out."""
    card = card_of(name)
    if said.startswith(f"{card.title}: "):
        assert "cannot be used: " in said, said
        assert card.obtain in said, said
        return
    assert re.search(rf"{re.escape(file)}: (\w+ [\w/]+: |no column )", said), said
    assert re.search(r"field '[\w.\- ()]+'|column '?[\w.]+", said) or ": no " in said, said
    assert WAY_OUT.search(said), said


# Presets state their fields in their YAML.
@pytest.mark.parametrize("name", [each for each in NAMES if not card_of(each).task])
def test_the_fields_of_the_files_stand_in_the_head_of_the_task(name: str) -> None:
    head = import_module(f"vlmguard.tasks.{name}")
    (files,) = [each for each in str(head.__doc__).split("\n\n") if each.startswith("Files")]
    said = set(re.findall(r"`([^`]+)`", files.replace("\n", " ")))
    fields = {
        field.alias or key for model in models_of(head) for key, field in model.model_fields.items()
    }
    assert fields
    assert fields - said == set()


def models_of(head: ModuleType) -> Iterator[type[BaseModel]]:
    """The records that a task reads: its own, and those of the readers that it uses."""
    used = {getmodule(each) for each in vars(head).values() if isfunction(each)}
    readers = {each for each in used if each and each.__name__.startswith("vlmguard.tasks.data.")}
    for module in {head, *readers}:
        for each in vars(module).values():
            if isclass(each) and issubclass(each, BaseModel) and getmodule(each) is module:
                yield each


# --- pictures -------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["missing", "damaged"])
@pytest.mark.parametrize("name", NAMES)
def test_a_picture_that_cannot_be_used_is_named_with_its_sample(
    name: str, fault: str, tmp_path: Path
) -> None:
    folder = EVERY[name][0](tmp_path / name)
    sample = made(name, folder).dataset[0]
    picture = Path(images_of(sample.input)[-1])
    assert picture.is_file()
    packed = sorted(folder.rglob("*.parquet"))
    if packed:
        rows = pq.read_table(packed[0]).to_pylist()
        cell = rows[0]["image"]["bytes"][:40] if fault == "damaged" else None
        rows[0]["image"] = {"bytes": cell, "path": "image.png"}
        write_parquet(packed[0], rows)
    elif fault == "missing":
        picture.unlink()
    else:
        picture.write_bytes(picture.read_bytes()[:40])
    with pytest.raises(UserError) as caught:
        made(name, folder)
    said = str(caught.value)
    card = card_of(name)
    assert said.startswith(f"{card.title}: 1 of "), said
    assert "cannot be used" in said
    assert fault == "damaged" or (f"of {packed[0].name}" if packed else picture.name) in said
    assert card.obtain in said
    assert str(sample.id).rsplit("/", 1)[0] in said


# --- options --------------------------------------------------------------------------


def choices(name: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The options of a task that have a few values."""
    for option, hint in get_type_hints(getattr(vlmguard.tasks, card_of(name).task or name)).items():
        for each in (hint, *get_args(hint)):
            if get_origin(each) is Literal:
                yield option, get_args(each)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_choice_is_answered_with_the_choices(name: str, tmp_path: Path) -> None:
    folder = EVERY[name][0](tmp_path / name)
    wrong = dict(choices(name))
    assert {"judge", "colour"} <= wrong.keys()
    for option, known in wrong.items():
        with pytest.raises(UserError) as caught:
            made(name, folder, **{option: "zebra"})
        said = str(caught.value)
        assert said.startswith(f"-T {option}=zebra is not known. Choose one of: "), said
        assert all(str(each) in said for each in known), said


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_without_files_is_answered_with_where_to_get_them(
    name: str, tmp_path: Path
) -> None:
    card = card_of(name)
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError) as caught:
            made(name, folder)
        said = str(caught.value)
        assert str(folder) in said
        assert card.title in said
        assert card.obtain in said
