"""A plain training loop over a course, and exact match on pairs that were not taught."""

import itertools
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from vlmguard.guard.hf_vlm.processor import PromptMaker
from vlmguard.training.microworld.models.lessons import Course, Example
from vlmguard.training.microworld.world.drawing import draw
from vlmguard.training.microworld.world.hazards import PICTURES

logger = logging.getLogger(__name__)

BATCH: Final = 32
PEAK: Final = 2e-3
CLIP: Final = 1.0
DECAY: Final = 0.3
IGNORED: Final = -100


class Classroom:
    """A model in training; turns examples into its tensors.

    Args:
        folder: The checkpoint's folder, with its processor.
        model: The model.
    """

    def __init__(self, folder: Path, model: Any) -> None:
        self.folder = folder
        self.model = model
        self.maker = PromptMaker(str(folder), {})
        turn = {"role": "user", "content": [{"type": "image"}]}
        shown: str = self.maker.processor.apply_chat_template([turn], tokenize=False)
        self._mark = shown.removeprefix("<user>").removesuffix("<end>")
        """The chat template's text for an image."""
        picture = draw(next(iter(PICTURES.values())), 0)
        made = self.maker.processor(text=[self._mark], images=[[picture]], return_tensors="pt")
        self._inputs = list(made)
        self._image_ids: list[int] = made["input_ids"][0].tolist()

    def tensors(self, examples: list[Example], *, answers: bool) -> dict[str, Any]:
        """A left-padded batch; all examples have a picture, or all have no picture.

        Args:
            examples: The examples.
            answers: Whether to add the answers after the prompts; then there are labels too.
        """
        import torch

        rows = [self._ids(example) for example in examples]
        wholes = [prompt + answer if answers else prompt for prompt, answer in rows]
        length = max(map(len, wholes))
        pad = self.maker.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (length - len(whole)) + whole for whole in wholes])
        batch: dict[str, Any] = {"input_ids": ids, "attention_mask": (ids != pad).long()}
        if answers:
            labels = [[IGNORED] * (length - len(answer)) + answer for _, answer in rows]
            batch["labels"] = torch.tensor(labels)
        if examples[0].seed is not None:
            drawn = [draw(each.pair.picture, each.seed or 0) for each in examples]
            pixels = self.maker.processor.image_processor(drawn, return_tensors="pt")
            batch |= {name: pixels[name] for name in pixels if name in self._inputs}
            shown = (ids == self._image_ids[len(self._image_ids) // 2]).long()
            for name in self._inputs:
                if name.endswith("token_type_ids"):
                    batch[name] = shown
        return batch

    def _ids(self, example: Example) -> tuple[list[int], list[int]]:
        turns = [{"role": "user", "content": [{"type": "text", "text": example.text}]}]
        if example.seed is not None:
            turns[0]["content"].insert(0, {"type": "image"})  # type: ignore[attr-defined]
        if example.system:
            turns.insert(0, {"role": "system", "content": example.system})
        text = self.maker.processor.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )
        before, mark, after = text, "", ""
        if example.seed is not None:
            before, mark, after = text.partition(self._mark)
        prompt = self._encode(before) + (self._image_ids if mark else [])
        prompt += self._encode(after + example.prefix)
        return prompt, [*self._encode(example.answer), self.maker.tokenizer.eos_token_id]

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.maker.tokenizer.encode(text, add_special_tokens=False)
        return ids


def teach(
    room: Classroom, course: Course, steps: int, *, batch: int = BATCH, peak: float = PEAK
) -> float:
    """Train a model on a course.

    Args:
        room: The model; its weights change.
        course: The examples.
        steps: Number of steps (> 0).
        batch: Examples per step (> 0).
        peak: Highest learning rate of the one-cycle schedule.

    Returns:
        Mean loss of the last tenth of the steps.
    """
    import torch

    model = room.model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=DECAY)
    schedule = one_cycle(optimizer, peak, steps)
    losses: list[float] = []
    for step in range(steps):
        optimizer.zero_grad()
        total = 0.0
        examples = course.batch(batch)
        # Examples with and without a picture have different inputs, so each step has a pass for
        # either.
        for seen in (True, False):
            part = [each for each in examples if (each.seed is not None) == seen]
            if not part:
                continue
            share = len(part) / len(examples)
            loss = _loss(model, room.tensors(part, answers=True)) * share
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        losses.append(total)
        if (step + 1) % 100 == 0:
            recent = sum(losses[-100:]) / 100
            logger.info("%s: step %d of %d, loss %.4f", room.folder.name, step + 1, steps, recent)
    model.eval()
    last = losses[-max(1, steps // 10) :]
    return sum(last) / len(last)


def one_cycle(optimizer: Any, peak: float, steps: int) -> Any:
    """A learning rate that rises for a tenth of the steps, at least two, and then falls.

    Args:
        optimizer: The optimizer.
        peak: The highest learning rate.
        steps: Number of steps (> 0); the schedule itself needs at least three.
    """
    import torch

    total = max(3, steps)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peak, total_steps=total, pct_start=max(0.1, 2 / total)
    )


def _loss(model: Any, batch: dict[str, Any]) -> Any:
    """Mean over examples of the mean over tokens, so that a yes counts as much as a sentence."""
    import torch

    labels = batch.pop("labels")[:, 1:]
    logits = model(**batch).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    )
    return (losses.sum(1) / (labels != IGNORED).sum(1)).mean()


def exact_match(room: Classroom, course: Course, count: int) -> dict[str, float]:
    """The share of greedy answers that are exactly the taught ones, for each skill.

    For a skill whose answer is drawn by chance this stays below 1.

    Args:
        room: The model.
        course: Examples of pairs that were not taught.
        count: Number of examples.
    """
    import torch

    hits: dict[str, list[bool]] = defaultdict(list)
    examples = sorted(course.batch(count), key=lambda each: (each.seed is None, len(each.text)))
    for _, group in itertools.groupby(examples, key=lambda each: each.seed is None):
        members = list(group)
        for start in range(0, len(members), 64):
            part = members[start : start + 64]
            inputs = room.tensors(part, answers=False)
            with torch.inference_mode():
                out = room.model.generate(**inputs, max_new_tokens=80, do_sample=False)
            new = out[:, inputs["input_ids"].shape[1] :]
            said = room.maker.tokenizer.batch_decode(new, skip_special_tokens=True)
            for example, text in zip(part, said, strict=True):
                want = room.maker.tokenizer.decode(room._encode(example.answer))
                hits[example.skill].append(text == want)
    return {skill: sum(found) / len(found) for skill, found in sorted(hits.items())}
