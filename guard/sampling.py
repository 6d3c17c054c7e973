"""Sampling settings, stated in full: what a request leaves out is not left to a server.

vLLM and SGLang fill what a request leaves out from the checkpoint's `generation_config.json`
(Qwen2.5-VL: top_p 0.001, top_k 1, a repetition penalty), which silently makes every candidate the
same greedy answer. Calls whose temperature is ours therefore name everything:

- `vllm/`, `sglang/`, and what the user says is one of them (`server`): temperature and top_p as
  fields, top_k, min_p and repetition_penalty in the body, where Inspect has no field that it passes
  on. The user's own `extra_body` wins.
- Others: temperature and top_p, for which most APIs have fields, and nothing that only some know.
- Claude before 4.7, wherever it is served: the temperature alone, since it takes one of the two.
- Models that refuse both (OpenAI's reasoning models, Claude from 4.7): nothing. For `openai/`,
  `anthropic/` (whose API takes neither any more) and `bedrock/` it is Inspect that leaves the
  temperature out where it must, and says so.
"""

import logging
import re
from functools import cache
from typing import Any, Final, Literal

from inspect_ai.model import GenerateConfig, Model, ModelName

__all__ = ["SERVERS", "Server", "in_full", "refuses_sampling"]

logger = logging.getLogger(__name__)

Server = Literal["vllm", "sglang"]
"""What may serve a model behind another provider (`openai-api/`)."""

SERVERS: Final = ("vllm", "sglang")

UNBOUNDED: Final = -1
"""The top_k of both servers that leaves nothing out."""

# Names of Claude as Inspect's provider for Bedrock tells them apart.
_REFUSES: Final = re.compile(
    r"(?:^|[.:@])(?:o\d|gpt-[5-9]"
    r"|claude-(?:mythos|[a-z]+-(?:4[-.](?:[7-9]|1\d)|[5-9])(?!\d)))",
    re.IGNORECASE,
)
_TAKES_ONE: Final = re.compile(r"(?:^|[.:@])claude", re.IGNORECASE)
_LEFT_TO_INSPECT: Final = ("openai", "anthropic", "bedrock")


def in_full(model: Model, config: GenerateConfig, server: Server | None = None) -> GenerateConfig:
    """State every sampling setting of a call.

    Args:
        model: The model to be called; its own `extra_body` is kept.
        config: The call's settings, with a temperature.
        server: What serves the model, where its provider does not say so.

    Returns:
        The settings to hand to `generate()`. Stating them twice changes nothing.
    """
    if (server or ModelName(model).api) in SERVERS:
        body: dict[str, Any] = {
            "top_k": config.top_k or UNBOUNDED,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
        }
        # A new dictionary for each call: Inspect writes into it.
        body |= {**(model.config.extra_body or {}), **(config.extra_body or {})}
        return config.model_copy(update={"top_p": _top_p(config), "extra_body": body})
    refuses = refuses_sampling(model)
    if not refuses and not _is_called(model, _TAKES_ONE):
        return config.model_copy(update={"top_p": _top_p(config)})
    if not refuses or ModelName(model).api in _LEFT_TO_INSPECT:
        return config
    _warn(str(model))
    return config.model_copy(update={"temperature": None, "top_p": None})


def refuses_sampling(model: Model) -> bool:
    """Whether a model is known, by its name or API, to take neither temperature nor top_p.

    Args:
        model: The model.
    """
    return ModelName(model).api == "anthropic" or _is_called(model, _REFUSES)


def _is_called(model: Model, names: re.Pattern[str]) -> bool:
    # A folder of weights may be called anything.
    local = ModelName(model).api == "hf-vlm"
    return not local and names.search(model.name.rpartition("/")[2]) is not None


def _top_p(config: GenerateConfig) -> float:
    return 1.0 if config.top_p is None else config.top_p


@cache
def _warn(model: str) -> None:
    logger.warning("%s refuses sampling settings: it answers under its own.", model)
