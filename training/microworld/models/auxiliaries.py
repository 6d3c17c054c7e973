"""The text models that the faithful baselines need: detector, reward model, detoxifier.

MLLM-Protector has a classifier with one logit and a causal language model. ETA has a reward model,
read by its logit, and CLIP (see `clip`). `world/levels.py` sets their abilities, the same for all
levels of the target.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vlmguard.guard.errors import UserError
from vlmguard.guard.templates import fill
from vlmguard.training.microworld.models.teach import IGNORED, one_cycle
from vlmguard.training.microworld.models.tokenizer import CHAT_TEMPLATE, build_tokenizer, templates
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.hazards import Pair, pairs
from vlmguard.training.microworld.world.levels import SEEN_BY_DETECTOR

BATCH: Final = 64
PEAK: Final = 3e-3
DECAY: Final = 0.3
ATTEMPTS: Final = 5
LEARNED: Final = 0.01
"""A classifier has learned below this squared error; guessing on joint pairs gives 0.04."""
SURE: Final = 4.0
"""The logit of a sure answer, plus or minus."""

GOOD, REFUSED, BAD = 1.0, 0.7, 0.0
"""Rewards of a good answer, of a refusal and of a harmful answer."""


@dataclass(frozen=True)
class Taught:
    """The result of a training.

    Attributes:
        loss: The last loss.
        seed: Seed of the weights that were kept.
    """

    loss: float
    seed: int


def train_detector(folder: Path, steps: int, seed: int) -> Taught:
    """Teach P(harmless) of an answer; arguments, result and errors as for `train_reward`."""
    return _attempts(_try_detector, folder, steps, seed)


def train_reward(folder: Path, steps: int, seed: int) -> Taught:
    """Teach the reward of an answer, under the prompt for checks and the one for candidates.

    Args:
        folder: The folder to write.
        steps: Optimizer steps (> 0).
        seed: Seed of the first attempt.

    Returns:
        Loss and seed of the attempt that learned it.

    Raises:
        UserError: None of `ATTEMPTS` attempts did.
    """
    return _attempts(_try_reward, folder, steps, seed)


def _attempts(
    attempt: Callable[[Path, int, int], float], folder: Path, steps: int, seed: int
) -> Taught:
    """Train with one seed after another until the model has learned.

    From some first weights so small a network never learns that scene and request decide together,
    and stays where guessing is best.
    """
    last = math.inf
    for number in range(ATTEMPTS):
        tried = seed + 100 * number
        last = attempt(folder, steps, tried)
        if last < LEARNED:
            return Taught(last, tried)
    raise UserError(
        f"{folder.name}: after {ATTEMPTS} attempts of {steps} steps the loss is still {last:.3f}, "
        f"and a model that has learned is below {LEARNED}. With --effort below 1 the steps are "
        "too few: leave it out. Otherwise raise ATTEMPTS in "
        "training/microworld/models/auxiliaries.py, or keep the shipped model."
    )


def _try_detector(folder: Path, steps: int, seed: int) -> float:
    import torch
    import transformers

    tokenizer = _tokenizer(folder)
    torch.manual_seed(seed)
    model = transformers.LlamaForSequenceClassification(_llama(tokenizer, num_labels=1))
    chance = random.Random(seed)

    def loss() -> Any:
        said = [_answer(pair, chance) for pair in _draw(chance, BATCH)]
        batch = tokenizer([text for text, _ in said], padding=True, return_tensors="pt")
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        wanted = torch.tensor([[float(harmless)] for _, harmless in said])
        # Squared error on the logit: cross-entropy alone seldom leaves the plateau of guessing.
        return torch.nn.functional.mse_loss(logits / (2 * SURE) + 0.5, wanted)

    return fit(folder, model, loss, steps)


def _try_reward(folder: Path, steps: int, seed: int) -> float:
    import torch
    import transformers

    tokenizer = _tokenizer(folder, chat=True)
    asked = (templates()["answer_check"], templates()["reward"])
    torch.manual_seed(seed)
    model = transformers.LlamaForSequenceClassification(_llama(tokenizer, num_labels=1))
    chance = random.Random(seed)

    def loss() -> Any:
        chats, wanted = [], []
        for pair in _draw(chance, BATCH):
            text, harmless = _answer(pair, chance)
            prompt = chance.choice(asked)
            chats.append(
                [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
            )
            refused = text.endswith(language.REFUSAL)
            wanted.append([REFUSED if refused else GOOD if harmless else BAD])
        batch = tokenizer.apply_chat_template(
            chats, padding=True, return_tensors="pt", return_dict=True
        )
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return torch.nn.functional.mse_loss(logits, torch.tensor(wanted))

    return fit(folder, model, loss, steps)


def train_detoxifier(folder: Path, steps: int, seed: int) -> Taught:
    """Teach a harmless answer for every careless one, into `folder`; there is one attempt."""
    import torch
    import transformers

    tokenizer = _tokenizer(folder)
    template = templates()["detoxify"]
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(_llama(tokenizer))
    chance = random.Random(seed)

    def loss() -> Any:
        rows = []
        for pair in _draw(chance, BATCH):
            prompt = fill(template, answer=language.plain_answer(pair))
            before = tokenizer.encode(prompt, add_special_tokens=False)
            after = tokenizer.encode(language.careful_answer(pair), add_special_tokens=False)
            rows.append((before, [*after, tokenizer.eos_token_id]))
        length = max(len(before) + len(after) for before, after in rows)
        pad = tokenizer.pad_token_id
        gaps = [length - len(before) - len(after) for before, after in rows]
        ids = torch.tensor([[pad] * gap + b + a for gap, (b, a) in zip(gaps, rows, strict=True)])
        labels = torch.tensor([[IGNORED] * (length - len(after)) + after for _, after in rows])
        return model(input_ids=ids, attention_mask=(ids != pad).long(), labels=labels).loss

    return Taught(fit(folder, model, loss, steps), seed)


def _draw(chance: random.Random, count: int) -> list[Pair]:
    """Random pairs of the training split: half of them `joint`, a quarter of each other slice."""
    found = pairs("train")
    slices = [
        [pair for pair in found if pair.slice == name]
        for name in ("joint", "visual", "typographic")
    ]
    return [chance.choice(chance.choice([slices[0], *slices])) for _ in range(count)]


def _answer(pair: Pair, chance: random.Random) -> tuple[str, bool]:
    """An answer as targets give it, and whether it is taught as harmless."""
    text = chance.choices(
        [language.plain_answer(pair), language.careful_answer(pair), language.REFUSAL], [6, 3, 1]
    )[0]
    harmless = is_taught_harmless(pair, text)
    if chance.random() < 0.3:
        text = f"{templates()['beginning']}, {text}"
    return text, harmless


def is_taught_harmless(pair: Pair, answer: str) -> bool:
    """Whether detector and reward model learn an answer as harmless.

    They are taught to be blind to some kinds of hazard.
    """
    careless = pair.hazardous and answer == language.plain_answer(pair)
    return not (careless and pair.kind in SEEN_BY_DETECTOR)


def _tokenizer(folder: Path, *, chat: bool = False) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    return tokenizer


def _llama(tokenizer: Any, **more: Any) -> Any:
    import transformers

    return transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
        **more,
    )


def fit(folder: Path, model: Any, loss: Callable[[], Any], steps: int) -> float:
    """Train a model and save it in half precision.

    Args:
        folder: The folder to write.
        model: The model; its weights change.
        loss: The loss on the next batch.
        steps: Optimizer steps (> 0).

    Returns:
        Mean loss of the last twentieth of the steps.
    """
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=DECAY)
    schedule = one_cycle(optimizer, PEAK, steps)
    model.train()
    losses: list[float] = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(value.item())
    model.eval().half().save_pretrained(folder)
    tail = losses[-max(1, steps // 20) :]
    return sum(tail) / len(tail)
