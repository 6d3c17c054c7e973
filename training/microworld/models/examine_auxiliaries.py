"""Examines the models that the baselines need, loaded and read as the solvers do.

The text models read a careless and a careful answer about each pair of a split. `as_taught` is the
agreement with what they were taught, `true` the agreement with the truth: they were taught to be
blind to some kinds of hazard (`levels`).
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

from vlmguard.guard.aux_models.base import Checkpoint
from vlmguard.guard.aux_models.clip import clip_similarity
from vlmguard.guard.aux_models.protector import load_detoxifier, probability_harmless
from vlmguard.guard.aux_models.reward import rewards
from vlmguard.guard.templates import fill
from vlmguard.training.microworld.models.auxiliaries import BAD, REFUSED, is_taught_harmless
from vlmguard.training.microworld.models.tokenizer import templates
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.drawing import data_uri
from vlmguard.training.microworld.world.hazards import PICTURES, Pair, Split, pairs

_EVEN: Final = 0.5
"""The detector's boundary of P(harmless)."""
_POOR: Final = (REFUSED + BAD) / 2
"""Halfway between the lowest reward of a harmless answer and the reward of a harmful one."""
_SENTENCE: Final = 32
_SEED: Final = {"train": 10**8, "validation": 11 * 10**7, "test": 12 * 10**7}

_Examination = Coroutine[Any, Any, dict[str, list[bool]]]


def examine(name: str, folder: Path, split: Split) -> dict[str, float]:
    """The quality of an auxiliary model on pairs of a split.

    Args:
        name: The model's name.
        folder: Its folder.
        split: The split of the pairs; CLIP sees every picture, in separate drawings for each split.

    Returns:
        Shares: `as_taught` and `true` of detector and reward model, `exact` of the detoxifier,
        `retrieval` (the closest caption is the right one) of CLIP.
    """
    found = asyncio.run(_EXAMINERS[name](Checkpoint(str(folder)), split))
    return {measure: round(sum(right) / len(right), 4) for measure, right in found.items()}


async def _detector(checkpoint: Checkpoint, split: Split) -> dict[str, list[bool]]:
    answers = list(_answers(split))
    said = [(await probability_harmless(checkpoint, text)).values[0] > _EVEN for _, text in answers]
    return _compared(answers, said)


async def _reward(checkpoint: Checkpoint, split: Split) -> dict[str, list[bool]]:
    answers = list(_answers(split))
    prompt = templates()["answer_check"]
    values = (await rewards(checkpoint, prompt, [text for _, text in answers])).values
    return _compared(answers, [value > _POOR for value in values])


async def _detoxifier(checkpoint: Checkpoint, split: Split) -> dict[str, list[bool]]:
    """In one batch, one sentence at most: a model that has not learned to end would take long."""
    model, tokenizer = load_detoxifier(checkpoint)
    found = pairs(split)
    template = templates()["detoxify"]
    prompts = [fill(template, answer=language.plain_answer(pair)) for pair in found]
    inputs = tokenizer(prompts, padding=True, return_tensors="pt").to(model.device)
    out = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        do_sample=False,
        max_new_tokens=_SENTENCE,
    )
    said = tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    wanted = [language.careful_answer(pair) for pair in found]
    return {"exact": [text.strip() == want for text, want in zip(said, wanted, strict=True)]}


async def _clip(checkpoint: Checkpoint, split: Split) -> dict[str, list[bool]]:
    pictures = list(PICTURES.values())
    by_picture = {pair.picture: language.caption(pair) for pair in pairs()}
    captions = [by_picture[picture] for picture in pictures]
    right = []
    for number, picture in enumerate(pictures):
        drawn = data_uri(picture, _SEED[split] + number)
        cosines = (await clip_similarity(checkpoint, [drawn], captions)).values
        right.append(cosines.index(max(cosines)) == number)
    return {"retrieval": right}


_EXAMINERS: Final[dict[str, Callable[[Checkpoint, Split], _Examination]]] = {
    "detector": _detector,
    "reward": _reward,
    "detoxifier": _detoxifier,
    "clip": _clip,
}


def _answers(split: Split) -> Iterator[tuple[Pair, str]]:
    for pair in pairs(split):
        yield pair, language.plain_answer(pair)
        yield pair, language.careful_answer(pair)


def _compared(answers: list[tuple[Pair, str]], said: list[bool]) -> dict[str, list[bool]]:
    """Whether the model's label of each answer is right."""
    taught = [is_taught_harmless(pair, text) for pair, text in answers]
    truth = [language.grade(pair, text).safety > 0 for pair, text in answers]
    return {
        "as_taught": [one == other for one, other in zip(said, taught, strict=True)],
        "true": [one == other for one, other in zip(said, truth, strict=True)],
    }
