"""The CLIP of ETA's image check, trained like SigLIP: each image-text pair is judged separately."""

import json
import random
from pathlib import Path
from typing import Any

from vlmguard.training.microworld.models.auxiliaries import Taught, fit
from vlmguard.training.microworld.models.tokenizer import END, START, build_tokenizer, templates
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.drawing import SIZE, draw
from vlmguard.training.microworld.world.hazards import PICTURES, Pair, pairs
from vlmguard.training.microworld.world.levels import SEEN_BY_CLIP

_SCALE, _BIAS = 10.0, -5.0
"""Scale and offset that turn a cosine into a logit."""


def train_clip(folder: Path, steps: int, seed: int) -> Taught:
    """Teach which text belongs to which picture, ETA's sentence included, into `folder`."""
    import torch
    import transformers

    tokenizer = _tokenizer(folder)
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
    harmful = templates()["image_check"]

    def loss() -> Any:
        shown = chance.choices(pictures, k=48)
        # The world's texts about pictures are captions and answers; both say what the picture
        # shows.
        texts = [
            chance.choice((language.caption, language.plain_answer))(examples[picture.name])
            for picture in pictures
        ]
        tokens = tokenizer([*texts, harmful], padding=True, return_tensors="pt")
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
            wanted[row, -1] = float(looks_harmful(examples[picture.name]))
        # A picture matches one text of many, so matches weigh more than the rest. So does the last
        # column, ETA's sentence.
        weights = torch.ones_like(wanted)
        weights[:, -1] = 10.0
        weights[wanted == 1.0] = 10.0
        return torch.nn.functional.binary_cross_entropy_with_logits(
            _SCALE * cosines + _BIAS, wanted, weight=weights
        )

    return Taught(fit(folder, model, loss, steps), seed)


def looks_harmful(pair: Pair) -> bool:
    """Whether CLIP learns that ETA's sentence belongs to the pair's picture."""
    return pair.picture.harmful and pair.kind in SEEN_BY_CLIP


def _tokenizer(folder: Path) -> Any:
    """A tokenizer that adds the end token, at which CLIP reads a text."""
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
