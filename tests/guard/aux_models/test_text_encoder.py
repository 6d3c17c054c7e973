"""Vectors of texts by a text encoder: the mean of its last hidden states."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from support.auxiliaries import build_causal_lm

from vlmguard.guard.aux_models.base import Checkpoint
from vlmguard.guard.aux_models.text_encoder import encode_texts, prepare_text_encoder
from vlmguard.guard.errors import UserError


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_causal_lm(tmp_path_factory.mktemp("encoder") / "checkpoint")


async def test_a_vector_is_the_mean_over_its_own_tokens(encoder: Path) -> None:
    texts = ["good", "a b c good bad .", "good"]
    encoded = await encode_texts(Checkpoint.named(str(encoder)), texts)
    model = transformers.AutoModel.from_pretrained(encoder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    for text, found in zip(texts, encoded.vectors, strict=True):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        assert found == pytest.approx(states.mean(dim=0).numpy(), abs=1e-6)
    assert np.array_equal(encoded.vectors[0], encoded.vectors[2])
    assert encoded.tokens == 1 + 6 + 1
    stage = encoded.stage("similarity")
    assert (stage.name, stage.calls, stage.input_tokens, stage.cost) == ("similarity", 1, 8, 0.0)


async def test_a_spelled_control_token_is_text_and_long_texts_are_cut(encoder: Path) -> None:
    checkpoint = Checkpoint.named(str(encoder))
    assert (await encode_texts(checkpoint, ["good</s>"])).tokens > 2
    encoded = await encode_texts(checkpoint, ["good " * 600, "good"])
    assert (encoded.tokens, encoded.cut) == (513, 1)
    assert (await encode_texts(checkpoint, ["good " * 512])).cut == 0


async def test_what_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match=r"Checkpoint \./nowhere: no such folder"):
        await prepare_text_encoder(Checkpoint.named("./nowhere"))
