"""Checks whether the library's continuous batching can take images."""

import inspect

import transformers
from support.checkpoints import checkpoint
from transformers.cli.serving.utils import GenerationState, Modality
from transformers.generation.continuous_batching import ContinuousBatchingManager


def test_continuous_batching_takes_no_images_yet():
    """Why batching.py has its own queue (issue 3, line 10).

    `ContinuousBatchingManager.add_request` takes token ids only, and `transformers serve`, which
    uses it for language models, falls back to plain `generate` for image models. If this test fails
    one day, images can be passed: then use it where it is faster.
    """
    known = {
        "self",
        "input_ids",
        "request_id",
        "max_new_tokens",
        "streaming",
        "record_timestamps",
        "eos_token_id",
        "logit_processor_kwargs",
    }
    assert set(inspect.signature(ContinuousBatchingManager.add_request).parameters) == known
    model = transformers.AutoModelForImageTextToText.from_pretrained(checkpoint("llava"))
    state = GenerationState(continuous_batching=True)
    assert state.use_continuous_batching(model, Modality.LLM)
    assert not state.use_continuous_batching(model, Modality.VLM)
