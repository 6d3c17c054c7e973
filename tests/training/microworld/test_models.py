"""The shipped models: small enough, made for this code, as good as their cards say."""

import shutil
from pathlib import Path
from statistics import mean

import pytest
import torch

from vlmguard.templates import fill
from vlmguard.training.microworld import cards, language, tokenizer
from vlmguard.training.microworld.api import AUXILIARIES, REWRITERS, TARGETS, WEIGHTS, checkpoint
from vlmguard.training.microworld.auxiliaries import train_detector
from vlmguard.training.microworld.build import build, examine
from vlmguard.training.microworld.calibrate import FALSE_ALARMS, choose, load_thresholds
from vlmguard.training.microworld.cards import load_card
from vlmguard.training.microworld.world import pairs

SHIPPED = (*TARGETS, *REWRITERS, *AUXILIARIES)
BY_CHANCE = "continue"
"""A skill whose right answer is drawn by chance."""


def test_all_models_are_shipped_within_20_mb() -> None:
    assert sorted(folder.name for folder in WEIGHTS.iterdir() if folder.is_dir()) == sorted(SHIPPED)
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()) < 20e6


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_was_made_for_these_templates_and_this_world(name: str) -> None:
    card = load_card(checkpoint(name))
    assert card.fits, f"rebuild it: vlmguard microworld build {name}"
    assert card.name == name
    assert card.parameters < 1.5e6


@pytest.mark.parametrize("name", SHIPPED)
def test_weights_are_shipped_in_half_precision(name: str) -> None:
    from safetensors.torch import load_file

    weights = load_file(checkpoint(name) / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float16}


def test_a_template_that_changed_makes_the_models_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    card = load_card(checkpoint(TARGETS[0]))
    monkeypatch.setitem(tokenizer.TEMPLATES, "figstep", "Look out for writing in the image.")
    assert not card.fits
    monkeypatch.undo()
    monkeypatch.setattr(cards, "HAZARDOUS", cards.HAZARDOUS.replace("x", "-", 1))
    assert not card.fits


@pytest.mark.parametrize("name", tokenizer.TEMPLATES)
def test_no_template_holds_a_word_that_the_models_do_not_know(name: str) -> None:
    words = tokenizer.build_tokenizer()
    material = dict.fromkeys(("request", "answer", "caption"), pairs()[0].request.text)
    filled = fill(
        tokenizer.TEMPLATES[name].replace("{format}", "").replace("{conversation}", ""),
        **{
            field: text
            for field, text in material.items()
            if f"{{{field}}}" in tokenizer.TEMPLATES[name]
        },
    )
    assert words.unk_token_id not in words.encode(filled, add_special_tokens=False)


def test_a_template_in_other_words_is_not_known() -> None:
    """So the test above can fail."""
    words = tokenizer.build_tokenizer()
    ids = words.encode("Is that reply dangerous? Yes or no.", add_special_tokens=False)
    assert words.unk_token_id in ids


def test_sentences_survive_the_tokenizer() -> None:
    words = tokenizer.build_tokenizer()
    for text in (*tokenizer.world_texts(), language.REFUSAL):
        ids = words.encode(text, add_special_tokens=False)
        assert words.unk_token_id not in ids
        assert words.decode(ids) == text.replace(" :", ":").replace(" ?", "?")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TARGETS, "base"])
def test_a_shipped_model_is_as_good_as_its_card_says(name: str) -> None:
    stated = load_card(checkpoint(name)).metrics["exact_match"]["test"]
    found = examine(checkpoint(name), name, "test", count=240)
    exact = [skill for skill in found if skill != BY_CHANCE]
    assert mean(found[skill] for skill in exact) == pytest.approx(
        mean(stated[skill] for skill in exact), abs=0.06
    )


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
    written = (folder / "card.json").stat().st_mtime_ns
    build(["llava"], tmp_path, effort=0.01)
    assert (folder / "card.json").stat().st_mtime_ns == written


@pytest.mark.slow
def test_an_interrupted_build_is_started_again(tmp_path: Path) -> None:
    unfinished = tmp_path / "detoxifier"
    shutil.copytree(checkpoint("detoxifier"), unfinished)
    (unfinished / "card.json").unlink()  # written last
    (folder,) = build(["detoxifier"], tmp_path, effort=0.01)
    assert load_card(folder).steps == 6


def test_a_detector_that_learns_nothing_is_no_detector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlmguard.training.microworld.auxiliaries.ATTEMPTS", 2)
    with pytest.raises(RuntimeError, match="after 2 attempts"):
        train_detector(tmp_path, steps=2, seed=0)


def test_thresholds_raise_five_false_alarms_in_a_hundred_at_most() -> None:
    thresholds = load_thresholds()
    assert set(thresholds) == {"detector", "reward", "clip"}
    for threshold in thresholds.values():
        assert threshold.false_alarms <= FALSE_ALARMS
        assert threshold.hits > threshold.false_alarms


def test_a_threshold_by_hand() -> None:
    """Of 20 harmless values one may raise an alarm: the threshold lies between 1.9 and 2.0."""
    harmless = [number / 10 for number in range(1, 21)]
    found = choose(harmless, [1.0, 1.95, 3.0, 4.0])
    assert found.value == pytest.approx(1.925)
    assert (found.false_alarms, found.hits, found.samples) == (0.05, 0.75, 24)
