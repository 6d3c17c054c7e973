"""The shipped models: small enough, made for this code, as good as their cards say."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from vlmguard.guard.cards import cards as defense_cards
from vlmguard.guard.rewriter.prompts import REASONING_FORMAT
from vlmguard.guard.templates import fill
from vlmguard.training.microworld.models import (
    auxiliaries,
    cards,
    examine_auxiliaries,
    examine_rewriter,
    lessons,
    tokenizer,
)
from vlmguard.training.microworld.models.api import (
    AUXILIARIES,
    REWRITERS,
    TARGETS,
    WEIGHTS,
    checkpoint,
)
from vlmguard.training.microworld.models.architectures import ARCHITECTURES
from vlmguard.training.microworld.models.build import examine
from vlmguard.training.microworld.models.calibrate import (
    CLASSIFIERS,
    FALSE_ALARMS,
    calibrate,
    choose,
    load_thresholds,
)
from vlmguard.training.microworld.models.cards import load_card
from vlmguard.training.microworld.models.lessons import Course
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.hazards import SPLITS, Pair, pairs

SHIPPED = (*TARGETS, *REWRITERS, *AUXILIARIES)


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


Patch = Callable[[pytest.MonkeyPatch], None]


def other_template(patch: pytest.MonkeyPatch) -> None:
    taught: Any = defense_cards().defenses["figstep_defense"].taught
    patch.setitem(taught, "warning", "Look out for writing in the image.")


def other_table(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cards, "HAZARDOUS", cards.HAZARDOUS.replace("x", "-", 1))


def other_splits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pair, "split", property(lambda pair: SPLITS[pair.picture.index % 3]))


def other_refusal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(language, "REFUSAL", "no.")


def other_caution(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(language, "GENERAL_CAUTION", "take care.")


def other_question(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tokenizer, "COULD", "what is dangerous there?")


def other_chat_template(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tokenizer, "CHAT_TEMPLATE", tokenizer.CHAT_TEMPLATE.replace("<end>", "<eos>"))


@pytest.mark.parametrize(
    "change",
    [
        other_template,
        other_table,
        other_splits,
        other_refusal,
        other_caution,
        other_question,
        other_chat_template,
    ],
)
def test_what_models_were_taught_has_changed_and_they_no_longer_fit(
    change: Patch, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = load_card(checkpoint(TARGETS[0]))
    assert card.fits
    change(monkeypatch)
    assert not card.fits


def test_two_texts_for_one_purpose_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    taught: Any = defense_cards().defenses["figstep_defense"].taught
    monkeypatch.setitem(taught, "self_check", "Is it harmful?")
    with pytest.raises(RuntimeError, match="another defense has a text for 'self_check'"):
        tokenizer.templates()


@pytest.fixture(scope="module")
def everything_sent() -> list[str]:
    """All texts to and from models: filled templates, lessons, the world."""
    material = {
        "request": pairs()[0].request.text,
        "answer": language.plain_answer(pairs()[0]),
        "caption": language.caption(pairs()[0]),
        "conversation": "",
        "format": REASONING_FORMAT,
    }
    texts = {language.REFUSAL, language.GENERAL_CAUTION, *tokenizer.world_texts()}
    for template in tokenizer.templates().values():
        fields = {name: text for name, text in material.items() if f"{{{name}}}" in template}
        texts.add(fill(template, **fields))
    course = Course(dict.fromkeys(lessons.SKILLS, 1.0), seed=0)
    for example in course.batch(1000):
        texts |= {example.system, example.prefix, example.text, example.answer}
    return sorted(texts)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_is_sent_no_word_that_it_does_not_know(
    name: str, everything_sent: list[str]
) -> None:
    words = tokenizer_of(name)
    for text, ids in zip(everything_sent, words(everything_sent)["input_ids"], strict=True):
        assert words.unk_token_id not in ids, text


@pytest.mark.parametrize("name", SHIPPED)
def test_a_template_in_other_words_is_not_known(name: str) -> None:
    """This shows that the test above can fail."""
    words = tokenizer_of(name)
    assert words.unk_token_id in words.encode("Is that reply dangerous? Yes or no.")


@pytest.mark.parametrize("name", [*TARGETS, *REWRITERS])
def test_a_shipped_chat_template_is_the_one_in_the_code(name: str) -> None:
    mark = ARCHITECTURES[load_card(checkpoint(name)).kind]().mark
    shipped = (checkpoint(name) / "chat_template.jinja").read_text()
    assert shipped == tokenizer.CHAT_TEMPLATE.replace("IMAGE", mark)


def tokenizer_of(name: str) -> Any:
    return transformers.PreTrainedTokenizerFast.from_pretrained(checkpoint(name))


def test_sentences_survive_the_tokenizer() -> None:
    words = tokenizer_of("base")
    for text in (*tokenizer.world_texts(), language.REFUSAL):
        ids = words.encode(text, add_special_tokens=False)
        assert words.decode(ids) == text.replace(" :", ":").replace(" ?", "?")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TARGETS, "base"])
def test_a_shipped_model_has_every_skill_as_its_card_says(name: str) -> None:
    stated = load_card(checkpoint(name)).metrics["exact_match"]["test"]
    assert examine(checkpoint(name), name, "test") == pytest.approx(stated, abs=0.1)


@pytest.mark.slow
def test_the_shipped_rewriter_is_as_good_as_its_card_says() -> None:
    stated = load_card(checkpoint("rewriter")).metrics["validation"]
    found = examine_rewriter.examine(checkpoint("rewriter"), "validation")
    assert found == pytest.approx(stated, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("name", AUXILIARIES)
def test_a_shipped_auxiliary_model_is_as_good_as_its_card_says(name: str, split: Any) -> None:
    stated = load_card(checkpoint(name)).metrics[split]
    assert examine_auxiliaries.examine(name, checkpoint(name), split) == pytest.approx(
        stated, abs=0.03
    )
    assert min(stated.values()) > 0.85


@pytest.mark.parametrize("name", ["detector", "reward"])
def test_a_cards_seed_is_the_one_of_the_weights(name: str, tmp_path: Path) -> None:
    """Words that training never met still point where the seed put them."""
    from safetensors.torch import load_file

    words = auxiliaries._tokenizer(tmp_path, chat=name == "reward")
    torch.manual_seed(load_card(checkpoint(name)).seed)
    model = transformers.LlamaForSequenceClassification(auxiliaries._llama(words, num_labels=1))
    first = model.model.embed_tokens.weight.detach()
    trained = load_file(checkpoint(name) / "model.safetensors")["model.embed_tokens.weight"]
    assert torch.nn.functional.cosine_similarity(first, trained.float(), dim=1).max() > 0.999


@pytest.mark.slow
def test_calibrating_the_shipped_models_gives_the_shipped_thresholds(tmp_path: Path) -> None:
    for name in CLASSIFIERS:
        shutil.copytree(checkpoint(name), tmp_path / name)
    found = calibrate(tmp_path)
    for name, shipped in load_thresholds().items():
        assert found[name].value == pytest.approx(shipped.value, abs=1e-3)
        assert found[name].hits == pytest.approx(shipped.hits, abs=0.03)
        assert found[name].weights == shipped.weights


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
