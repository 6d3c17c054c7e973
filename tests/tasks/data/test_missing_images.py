"""Samples whose images cannot be had: they stop a run, or are left out and counted."""

from pathlib import Path

import pytest
from inspect_ai.dataset import Sample
from support.folders import draw_image

from vlmguard.guard.cards import Card
from vlmguard.guard.data_source import Source, local
from vlmguard.guard.errors import MissingData, UserError
from vlmguard.tasks.data.dataset import build_dataset, user_input

CARD = Card(name="kitchen", title="Kitchen", obtain="Take pictures.")


def found(folder: Path, *there: int) -> tuple[Source, list[Sample]]:
    """Three samples, and the pictures of some of them."""
    folder.mkdir(exist_ok=True)
    for number in there:
        draw_image(folder / f"{number}.png")
    samples = [
        Sample(id=f"kitchen/{n}", input=user_input("How?", folder / f"{n}.png")) for n in (1, 2, 3)
    ]
    return local(CARD, folder), samples


def test_missing_images_stop_a_run(tmp_path: Path) -> None:
    source, samples = found(tmp_path / "kitchen", 1, 3)
    with pytest.raises(MissingData, match=r"1 of 3 images .*kitchen/2.*Take pictures"):
        build_dataset(samples, source, [])


def test_missing_images_are_counted_on_demand(tmp_path: Path) -> None:
    source, samples = found(tmp_path / "kitchen", 1, 3)
    dataset, provenance = build_dataset(samples, source, [], "count")
    assert [sample.id for sample in dataset] == ["kitchen/1", "kitchen/3"]
    assert provenance["missing_images"] == ["kitchen/2"]
    assert provenance["images"]["count"] == 2


def test_a_damaged_image_stops_a_run_that_counts_missing_ones(tmp_path: Path) -> None:
    source, samples = found(tmp_path / "kitchen", 1, 3)
    (tmp_path / "kitchen" / "3.png").write_bytes(b"no picture")
    with pytest.raises(MissingData, match="kitchen/3"):
        build_dataset(samples, source, [], "count")


def test_a_run_without_any_image_is_refused(tmp_path: Path) -> None:
    source, samples = found(tmp_path / "kitchen")
    with pytest.raises(MissingData, match=r"none of the images of its 3 samples"):
        build_dataset(samples, source, [], "count")


def test_nothing_is_noted_where_no_image_is_missing(tmp_path: Path) -> None:
    source, samples = found(tmp_path / "kitchen", 1, 2, 3)
    assert "missing_images" not in build_dataset(samples, source, [], "count")[1]


def test_other_choices_are_refused(tmp_path: Path) -> None:
    source, samples = found(tmp_path / "kitchen", 1, 2, 3)
    with pytest.raises(UserError, match="missing_images=skip"):
        build_dataset(samples, source, [], "skip")  # type: ignore[arg-type]
