"""Tiny models on the CPU for the benchmarks of the model API."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inspect_ai.model import Model, get_model
from support.checkpoints import build_llava, build_qwen2_vl

from vlmguard.guard.hf_vlm.checkpoint_key import PromptSettings, weights_key
from vlmguard.guard.hf_vlm.hosts import HOST
from vlmguard.guard.hf_vlm.loading import Weights

ENDLESS = 1_000_000
"""The id of no token."""

SIZE = {"hidden": 256, "layers": 12, "vision": 128}
"""About 8 million parameters."""


def each_model(measure: Callable[[Path, str], bool]) -> int:
    """Measure a Qwen2-VL and a LLaVA with random weights; the exit status, 0 if both are good."""
    good = True
    for build in (build_qwen2_vl, build_llava):
        with tempfile.TemporaryDirectory() as folder:
            good &= measure(build(Path(folder) / "checkpoint", **SIZE), build.__name__[6:])
    return 0 if good else 1


def endless(folder: Path) -> tuple[Model, Any]:
    """A model loaded in this process whose answers end at a token limit alone, and its weights."""
    HOST.apart = False
    model = get_model(f"hf-vlm/{folder}", memoize=False, device="cpu")
    api: Any = model.api
    api.load()
    weights = api._replicas.vlms[0].engine.weights.model
    weights.generation_config.eos_token_id = ENDLESS
    return model, weights


def endless_apart(folder: Path) -> tuple[Model, Any, Any]:
    """Such a model as users have it, and beside it, in this process, its weights and processor."""
    settings = folder / "generation_config.json"
    settings.write_text(
        json.dumps({**json.loads(settings.read_text()), "eos_token_id": ENDLESS}), encoding="utf-8"
    )
    model = get_model(f"hf-vlm/{folder}", memoize=False, device="cpu")
    api: Any = model.api
    api.load()
    # Loaded in the thread that generates: with helpers of two threads, OpenMP is slower.
    raw = Weights(weights_key(str(folder), {"device": "cpu"}))
    raw.load()
    return model, raw.model, raw.prompt_maker(PromptSettings()).processor


def two_apart(folder: Path) -> Model:
    """The model of `endless_apart` once more, with two processes that have the weights."""
    model = get_model(f"hf-vlm/{folder}", memoize=False, device="cpu", replicas=2)
    api: Any = model.api
    api.load()
    return model
