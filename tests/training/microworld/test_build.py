"""Building: which models are built, which are kept, and that no model is lost."""

import json
import shutil
from pathlib import Path

import pytest

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.training.microworld.models import auxiliaries
from vlmguard.training.microworld.models import build as building
from vlmguard.training.microworld.models.api import WEIGHTS, checkpoint
from vlmguard.training.microworld.models.auxiliaries import Taught, train_detector
from vlmguard.training.microworld.models.build import NAMES, build, examine
from vlmguard.training.microworld.models.calibrate import (
    CLASSIFIERS,
    THRESHOLDS,
    is_calibrated,
    load_thresholds,
)
from vlmguard.training.microworld.models.cards import load_card


def files(folder: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in sorted(folder.rglob("*"))}


@pytest.fixture
def classifiers(tmp_path: Path) -> Path:
    """The shipped classifiers, without thresholds."""
    for name in CLASSIFIERS:
        shutil.copytree(checkpoint(name), tmp_path / name)
    return tmp_path


def test_the_shipped_models_are_ready(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str, *_: object) -> None:
        raise AssertionError(f"{name} would be built")

    monkeypatch.setattr(building, "_build_one", fail)
    monkeypatch.setattr(building, "calibrate", fail)
    build(list(NAMES))
    assert capsys.readouterr().out == "".join(f"{name}: ready\n" for name in NAMES)


@pytest.mark.slow
def test_a_model_can_be_built_anew_and_a_finished_one_is_left_alone(tmp_path: Path) -> None:
    (folder,) = build(["llava"], tmp_path, effort=0.01)
    card = load_card(folder)
    assert card.steps == 10
    assert card.fits
    assert (
        examine(folder, "llava", "test", count=8).keys()
        <= card.metrics["exact_match"]["test"].keys()
    )
    before = files(tmp_path)
    build(["llava"], tmp_path, effort=0.01)
    assert files(tmp_path) == before


@pytest.mark.slow
def test_a_trial_is_not_ready_for_more_steps_and_a_whole_one_is_ready_for_a_trial(
    tmp_path: Path,
) -> None:
    for effort, steps in ((0.005, 3), (0.01, 6), (0.005, 6)):
        (folder,) = build(["detoxifier"], tmp_path, effort=effort)
        card = load_card(folder)
        assert card.steps == steps
        assert {"loss", "validation", "test"} == card.metrics.keys()


@pytest.mark.slow
def test_an_unfinished_model_is_built_again(tmp_path: Path) -> None:
    unfinished = tmp_path / "detoxifier"
    shutil.copytree(checkpoint("detoxifier"), unfinished)
    (unfinished / "card.json").unlink()  # written last
    (folder,) = build(["detoxifier"], tmp_path, effort=0.01)
    assert load_card(folder).steps == 6


def test_a_build_that_fails_leaves_the_model_that_was_there(
    classifiers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auxiliaries, "ATTEMPTS", 1)
    before = files(classifiers / "detector")
    with pytest.raises(UserError, match="detector: after 1 attempts of 2 steps"):
        build(["detector"], classifiers, force=True, effort=0.002)
    assert files(classifiers / "detector") == before
    assert {each.name for each in classifiers.iterdir()} == set(CLASSIFIERS)


def test_an_interrupted_calibration_is_made_up_for(classifiers: Path) -> None:
    build(["detector"], classifiers)
    assert is_calibrated(classifiers)
    assert load_thresholds(classifiers).keys() == set(CLASSIFIERS)


def test_thresholds_of_other_weights_are_set_again(
    classifiers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (WEIGHTS / THRESHOLDS).read_text()
    stamp = json.loads(text)["clip"]["weights"]
    (classifiers / THRESHOLDS).write_text(text.replace(stamp, "0" * 12))

    assert main(["microworld", "flags", "eta", "--weights", str(classifiers)]) == 2
    assert "set with other models" in capsys.readouterr().err
    build(list(CLASSIFIERS), classifiers)

    assert main(["microworld", "flags", "eta", "--weights", str(classifiers)]) == 0
    written = (classifiers / THRESHOLDS).stat().st_mtime_ns
    build(list(CLASSIFIERS), classifiers)
    assert (classifiers / THRESHOLDS).stat().st_mtime_ns == written


@pytest.mark.parametrize("effort", ["0", "-0.5", "1.5"])
def test_an_effort_out_of_range_is_refused(
    effort: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["microworld", "build", "clip", "--out", str(tmp_path), "--effort", effort]
    assert main(words) == 2
    assert "above 0 and up to 1" in capsys.readouterr().err


def test_a_trial_does_not_replace_the_shipped_models(capsys: pytest.CaptureFixture[str]) -> None:
    before = files(WEIGHTS)
    assert main(["microworld", "build", "clip", "--force", "--effort", "0.01"]) == 2
    assert "--out DIR" in capsys.readouterr().err
    assert files(WEIGHTS) == before


def test_the_rewriter_is_not_built_without_its_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(checkpoint("rewriter"), tmp_path / "rewriter")
    words = ["microworld", "build", "rewriter", "--out", str(tmp_path), "--force"]
    assert main(words) == 2
    assert "vlmguard microworld build base" in capsys.readouterr().err
    assert load_card(tmp_path / "rewriter").name == "rewriter"


def test_the_base_is_built_before_the_rewriter_whatever_was_typed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    monkeypatch.setattr(building, "_build_one", lambda name, **_: built.append(name))
    folders = build(["rewriter", "clip", "base"], tmp_path)
    assert built == ["clip", "base", "rewriter"]
    assert [folder.name for folder in folders] == built


def test_an_unknown_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gpt: no such model"):
        build(["gpt"], tmp_path)


def test_the_attempt_that_learned_gives_its_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter((0.04, 0.04, 0.005))
    monkeypatch.setattr(auxiliaries, "_try_detector", lambda *_: next(losses))
    assert train_detector(tmp_path, 1000, seed=6) == Taught(0.005, 206)
