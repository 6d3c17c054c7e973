"""The presets of the suite: real counts, fixtures of the same schema, and their cards."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.benchmark_folders.presets import write_preset

from vlmguard.guard.cards import cards
from vlmguard.guard.data_source import local
from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import images_of
from vlmguard.results.run.config import Defense, Matrix, ModelChoice, Step, Target
from vlmguard.results.run.making import make_task
from vlmguard.results.run.partners import partner_missing
from vlmguard.results.run.plan import plan
from vlmguard.tasks import vlm_safety
from vlmguard.tasks.any_set.cards import PRESETS
from vlmguard.tasks.data.check import check
from vlmguard.training.dataset.testsets import read_benchmark

NAMES = list(PRESETS)
FIXTURES = {
    "lvlm_safer": 8,
    "salad": 2,
    "mm_harmful": 1,
    "hades": 5,
    "harmbench_mm": 1,
    "omnisafebench": 1,
    "visual_leak": 2,
}
"""Samples of a folder with one row in each file."""


def test_all_presets_are_there() -> None:
    assert {*NAMES} == {*FIXTURES}


@pytest.mark.parametrize(
    ("name", "folder", "count", "expected", "subsets"),
    [
        (
            "lvlm_safer",
            "lvlm_safer",
            1000,
            {"comply": 500, "refuse": 500},
            dict.fromkeys(PRESETS["lvlm_safer"].parts, 250),
        ),
        ("mm_harmful", "mm_harmful", 100, {"refuse": 100}, {"mm_harmful": 100}),
        (
            "hades",
            "hades_instructions",
            750,
            {"refuse": 750},
            dict.fromkeys(PRESETS["hades"].parts, 150),
        ),
        ("salad", "salad_sample", 20, {"care": 10, "comply": 10}, {"salad": 20}),
    ],
)  # fmt: skip
def test_real_files_have_the_published_counts(
    name: str,
    folder: str,
    count: int,
    expected: dict[str, int],
    subsets: dict[str, int],
    real_data: Any,
) -> None:
    card = cards().benchmarks[name]
    samples = card.load(local(card, real_data(folder)), "all")
    assert len(samples) == len({sample.id for sample in samples}) == count
    told = [sample.metadata or {} for sample in samples]
    assert Counter(each["expected"] for each in told) == expected
    assert Counter(each["subset"] for each in told) == subsets
    # Of SaLAD the authors' repository has a sample of 20.
    assert card.variants == {"all": 2013 if name == "salad" else count}
    assert all(len(images_of(sample.input)) == 1 for sample in samples)


def test_halves_of_lvlm_safer_share_their_request_or_their_picture(real_data: Any) -> None:
    card = cards().benchmarks["lvlm_safer"]
    samples = card.load(local(card, real_data("lvlm_safer")), "all")
    halves = list(zip(samples[::2], samples[1::2], strict=True))
    assert all(one.metadata["pair_id"] == two.metadata["pair_id"] for one, two in halves)  # type: ignore[index]
    same_text = [one.input[0].text == two.input[0].text for one, two in halves]  # type: ignore[union-attr]
    same_picture = [images_of(one.input) == images_of(two.input) for one, two in halves]
    assert same_text == [True] * 250 + [False] * 250
    assert same_picture == [False] * 250 + [True] * 250


def test_warnings_of_salad_are_for_the_judge_alone(real_data: Any) -> None:
    card = cards().benchmarks["salad"]
    samples = card.load(local(card, real_data("salad_sample")), "all")
    for sample in samples:
        assert sample.metadata is not None
        assert ("hint" in sample.metadata) == (sample.metadata["expected"] == "care")
        assert sample.metadata.get("hint", "\0") not in sample.input[0].text  # type: ignore[union-attr]


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_runs_on_a_folder_of_its_schema(name: str, tmp_path: Path) -> None:
    folder = write_preset(name, tmp_path / name, 3)
    task = vlm_safety(preset=name, data_dir=str(folder), judge="none")
    assert len(task.dataset) == 3 * FIXTURES[name]
    assert task.metadata is not None
    assert task.metadata["benchmark"] == cards().benchmarks[name].title
    assert task.metadata["data"]["images"]["count"] >= 3


@pytest.mark.parametrize("name", NAMES)
def test_data_and_leak_checks_know_a_preset_by_its_card(name: str, tmp_path: Path) -> None:
    card = cards().benchmarks[name]
    assert card.license
    assert card.layouts
    assert card.obtain
    folder = write_preset(name, tmp_path / name)
    (variant,) = check(card, tmp_path).variants
    assert (variant.samples, variant.problems) == (FIXTURES[name], [])
    assert variant.state == ("complete" if name == "omnisafebench" else "incomplete")
    items, missing = read_benchmark(card, folder)
    assert len(items) == FIXTURES[name]
    assert bool(missing) == (name != "omnisafebench")
    assert all(item.image is not None and item.image.is_file() for item in items)
    assert {item.image_id.partition("/")[0] for item in items} == {name}
    assert check(card, tmp_path / "elsewhere").variants[0].state == "absent"


def test_a_matrix_takes_a_preset_by_its_name(tmp_path: Path) -> None:
    folder = write_preset("hades", tmp_path / "hades", 2)
    args = {"data_dir": str(folder), "judge": "none"}
    task = make_task(Step(name="hades", args=args))
    assert len(task.dataset) == 10
    assert task.metadata is not None
    assert task.metadata["benchmark"] == "HADES"
    matrix = Matrix(
        targets=[Target(model="mockllm/m")],
        benchmarks=[Step(name="hades", args=args)],
        defenses=[Defense(name="none")],
        log_dir="logs",
    )
    (line,) = plan(matrix)
    assert (line.benchmark, line.samples, line.missing) == ("hades", 10, ())


def test_a_presets_partner_is_looked_for_by_its_card() -> None:
    chosen = Step(name="vlm_safety", args={"preset": "hades"})
    for step in (chosen, Step(name="hades")):
        assert partner_missing(step, None, [step]) == "mossbench"
        assert partner_missing(step, None, [step, Step(name="mossbench")]) == ""
    # Both kinds of request are in it.
    assert partner_missing(Step(name="salad"), None, [Step(name="salad")]) == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_counts_a_run_by_the_presets_card(name: str, monkeypatch: Any) -> None:
    monkeypatch.delenv("VLMGUARD_DATA", raising=False)
    matrix = Matrix(
        targets=[Target(model="mockllm/m")],
        benchmarks=[Step(name="vlm_safety", args={"preset": name, "judge": "official"})],
        defenses=[Defense(name="none")],
        roles={"grader": ModelChoice(model="mockllm/g")},
        log_dir="logs",
    )
    (line,) = plan(matrix)
    count = PRESETS[name].count
    assert (line.samples, line.target_calls, line.judge_calls) == (count, count, count)


def test_addresses_of_pictures_are_read(tmp_path: Path, real_data: Any) -> None:
    card = cards().benchmarks["lvlm_safer"]
    folder = write_preset("lvlm_safer", tmp_path / "lvlm_safer", 2)
    links = card.links(folder)
    assert links["data/imgs/same_2_0.jpg"] == "https://example.org/2_0"
    assert "data/imgs/same_2_1.jpg" not in links
    # Of 250 + 250 pictures of the first two files 59 are COCO's, of 125 + 125 of the others 100
    # belong to Hateful Memes; some pictures are named twice.
    addresses = card.links(real_data("lvlm_safer"))
    assert len(addresses) > 500
    assert all(address.startswith("http") for address in addresses.values())


def test_an_unknown_preset_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(UserError, match=r"no such preset, and no YAML.* Presets are hades, h"):
        vlm_safety(preset="salat")
