"""Tiny models on the CPU for the benchmarks of the model API."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inspect_ai.model import Model, get_model
from support.checkpoints import build_llava, build_qwen2_vl

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
    """A loaded model whose answers end at a token limit alone, and its weights."""
    model = get_model(f"hf-vlm/{folder}", memoize=False, device="cpu")
    api: Any = model.api
    api.load()
    weights = api._vlms[0].engine.weights.model
    weights.generation_config.eos_token_id = 1_000_000  # no such token
    return model, weights
