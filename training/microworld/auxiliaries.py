"""The models that the baselines need in their faithful form: detector, reward, detoxifier, CLIP.

MLLM-Protector: a classifier with one logit and a causal language model. ETA: a reward model, read
by its logit, and CLIP. They are as able as `levels` says, whatever the target's level is.
"""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from vlmguard.solvers._eta_decoding import PREFIX
from vlmguard.solvers.eta import CLIP_TEXT, GATE_PROMPT, REWARD_PROMPT
from vlmguard.solvers.mllm_protector import DETOXIFIER_PROMPT
from vlmguard.templates import fill
from vlmguard.training.microworld import language
from vlmguard.training.microworld.drawing import SIZE, draw
from vlmguard.training.microworld.levels import SEEN_BY_CLIP, SEEN_BY_DETECTOR
from vlmguard.training.microworld.teach import IGNORED, one_cycle
from vlmguard.training.microworld.tokenizer import CHAT_TEMPLATE, END, START, build_tokenizer
from vlmguard.training.microworld.world import PICTURES, Pair, pairs

BATCH: Final = 64
PEAK: Final = 3e-3
DECAY: Final = 0.3
ATTEMPTS: Final = 5
LEARNED: Final = 0.01
"""Squared error of a classifier that has learned; one that guesses on joint pairs stays at 0.04."""
SURE: Final = 4.0
"""Logit of a sure answer, up or down."""

GOOD, REFUSED, BAD = 1.0, 0.7, 0.0
"""Rewards of a good answer, of a refusal and of a harmful answer."""

_SCALE, _BIAS = 10.0, -5.0
"""CLIP is taught as SigLIP is: each image and text on their own, at this scale and offset."""


def train_detector(folder: Path, steps: int, seed: int) -> float:
    """Teach P(harmless) of an answer; returns the last loss.

    Raises:
        RuntimeError: None of `ATTEMPTS` learned it.
    """
    return _attempts(_try_detector, folder, steps, seed)


def train_reward(folder: Path, steps: int, seed: int) -> float:
    """Teach the reward of an answer under ETA's two prompts; returns the last loss.

    Raises:
        RuntimeError: None of `ATTEMPTS` learned it.
    """
    return _attempts(_try_reward, folder, steps, seed)


def _attempts(
    attempt: Callable[[Path, int, int], float], folder: Path, steps: int, seed: int
) -> float:
    """Train until it has learned.

    From some first weights so small a network never finds out that scene and request decide
    together, and stays where guessing is best. Then others are tried.
    """
    last = math.inf
    for number in range(ATTEMPTS):
        last = attempt(folder, steps, seed + 100 * number)
        if last < LEARNED:
            return last
    raise RuntimeError(f"{folder.name}: the loss is still {last:.3f} after {ATTEMPTS} attempts.")


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
        # Squared error on the logit: cross-entropy alone hardly ever gets off the plateau.
        return torch.nn.functional.mse_loss(logits / (2 * SURE) + 0.5, wanted)

    return _train(folder, model, loss, steps)


def _try_reward(folder: Path, steps: int, seed: int) -> float:
    import torch
    import transformers

    tokenizer = _tokenizer(folder, chat=True)
    torch.manual_seed(seed)
    model = transformers.LlamaForSequenceClassification(_llama(tokenizer, num_labels=1))
    chance = random.Random(seed)

    def loss() -> Any:
        chats, wanted = [], []
        for pair in _draw(chance, BATCH):
            text, harmless = _answer(pair, chance)
            prompt = chance.choice((GATE_PROMPT, REWARD_PROMPT))
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

    return _train(folder, model, loss, steps)


def train_detoxifier(folder: Path, steps: int, seed: int) -> float:
    """Teach a harmless answer for every careless one; returns the last loss."""
    import torch
    import transformers

    tokenizer = _tokenizer(folder)
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(_llama(tokenizer))
    chance = random.Random(seed)

    def loss() -> Any:
        rows = []
        for pair in _draw(chance, BATCH):
            prompt = fill(DETOXIFIER_PROMPT, answer=language.plain_answer(pair))
            before = tokenizer.encode(prompt, add_special_tokens=False)
            after = tokenizer.encode(language.careful_answer(pair), add_special_tokens=False)
            rows.append((before, [*after, tokenizer.eos_token_id]))
        length = max(len(before) + len(after) for before, after in rows)
        pad = tokenizer.pad_token_id
        gaps = [length - len(before) - len(after) for before, after in rows]
        ids = torch.tensor([[pad] * gap + b + a for gap, (b, a) in zip(gaps, rows, strict=True)])
        labels = torch.tensor([[IGNORED] * (length - len(after)) + after for _, after in rows])
        return model(input_ids=ids, attention_mask=(ids != pad).long(), labels=labels).loss

    return _train(folder, model, loss, steps)


def train_clip(folder: Path, steps: int, seed: int) -> float:
    """Teach which text belongs to which picture, ETA's sentence included; returns the last loss."""
    import torch
    import transformers

    tokenizer = _clip_tokenizer(folder)
    tower = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    config = transformers.CLIPConfig(
        text_config=tower
        | {
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 77,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config=tower | {"image_size": SIZE, "patch_size": 8, "num_hidden_layers": 3},
        projection_dim=64,
    )
    images = {
        "image_processor_type": "CLIPImageProcessor",
        "processor_class": "CLIPProcessor",
        "size": {"shortest_edge": SIZE},
        "crop_size": {"height": SIZE, "width": SIZE},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(images, indent=2) + "\n")
    processor = transformers.CLIPProcessor.from_pretrained(folder)
    torch.manual_seed(seed)
    model = transformers.CLIPModel(config)
    chance = random.Random(seed)
    pictures = list(PICTURES.values())
    drawn = {
        (picture.name, number): processor.image_processor(
            [draw(picture, number)], return_tensors="pt"
        )["pixel_values"]
        for picture in pictures
        for number in range(30)
    }
    examples = {pair.picture.name: pair for pair in pairs("train")}

    def loss() -> Any:
        shown = chance.choices(pictures, k=48)
        # The world has no text but captions and answers; both say what the picture shows.
        texts = [
            chance.choice((language.caption, language.plain_answer))(examples[picture.name])
            for picture in pictures
        ]
        tokens = tokenizer([*texts, CLIP_TEXT], padding=True, return_tensors="pt")
        pixels = torch.cat([drawn[picture.name, chance.randrange(30)] for picture in shown])
        out = model(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            pixel_values=pixels,
        )
        cosines = out.image_embeds @ out.text_embeds.T
        wanted = torch.zeros_like(cosines)
        for row, picture in enumerate(shown):
            wanted[row, pictures.index(picture)] = 1.0
            wanted[row, -1] = float(_looks_harmful(examples[picture.name]))
        weights = torch.ones_like(wanted)
        weights[:, -1] = 10.0
        weights[wanted == 1.0] = 10.0
        return torch.nn.functional.binary_cross_entropy_with_logits(
            _SCALE * cosines + _BIAS, wanted, weight=weights
        )

    return _train(folder, model, loss, steps)


def _looks_harmful(pair: Pair) -> bool:
    return pair.picture.harmful and pair.kind in SEEN_BY_CLIP


def _draw(chance: random.Random, count: int) -> list[Pair]:
    """Pairs of the training split, slices in equal numbers."""
    found = pairs("train")
    slices = [
        [pair for pair in found if pair.slice == name]
        for name in ("joint", "visual", "typographic")
    ]
    return [chance.choice(chance.choice([slices[0], *slices])) for _ in range(count)]


def _answer(pair: Pair, chance: random.Random) -> tuple[str, bool]:
    """An answer as targets give it, and whether it is known to do no harm."""
    text = chance.choices(
        [language.plain_answer(pair), language.careful_answer(pair), language.REFUSAL], [6, 3, 1]
    )[0]
    harmful = (
        text == language.plain_answer(pair) and pair.hazardous and pair.kind in SEEN_BY_DETECTOR
    )
    if chance.random() < 0.3:
        text = f"{PREFIX}, {text}"
    return text, not harmful


def _tokenizer(folder: Path, *, chat: bool = False) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    return tokenizer


def _clip_tokenizer(folder: Path) -> Any:
    """CLIP reads a text at its end token, which the tokenizer itself must add."""
    from tokenizers.processors import TemplateProcessing

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    ids = [(token, tokenizer.convert_tokens_to_ids(token)) for token in (START, END)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=ids
    )
    tokenizer.padding_side = "right"
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


def _train(folder: Path, model: Any, loss: Any, steps: int) -> float:
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
