"""States sampling settings in full, so that no server fills in its own.

vLLM and SGLang take settings that a request omits from the checkpoint's `generation_config.json`
(Qwen2.5-VL: top_p 0.001, top_k 1, a repetition penalty), which silently makes every candidate the
same greedy answer. So calls with our temperature name everything:

- `vllm/`, `sglang/`, and models that the user says they serve (`server`): temperature and top_p as
  fields; top_k, min_p and repetition_penalty in the body, since Inspect passes on no field for
  them. The user's own `extra_body` wins.
- Others: temperature and top_p, for which most APIs have fields, and no setting that only some
  know.
- Claude before 4.7, on any provider: the temperature alone, since it takes only one of the two.
- Models that refuse both (OpenAI's reasoning models, Claude from 4.7): nothing. For `openai/`,
  `anthropic/` (whose API no longer takes either) and `bedrock/`, Inspect omits the temperature
  where it must, and says so.
"""

import logging
import re
from functools import cache
from typing import Any, Final, Literal

from inspect_ai.model import GenerateConfig, Model, ModelName

__all__ = ["SERVERS", "Server", "in_full", "refuses_sampling"]

logger = logging.getLogger(__name__)

Server = Literal["vllm", "sglang"]
"""Servers that may serve a model behind another provider (`openai-api/`)."""

SERVERS: Final = ("vllm", "sglang")

UNBOUNDED: Final = -1
"""The top_k with which both servers keep all tokens."""

# Names of Claude, as Inspect's provider for Bedrock distinguishes them.
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
        server: The server of the model, if its provider does not tell.

    Returns:
        The settings to pass to `generate()`. Doing this twice changes nothing.
    """
    if (server or ModelName(model).api) in SERVERS:
        body: dict[str, Any] = {
            "top_k": config.top_k or UNBOUNDED,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
        }
        # A new dictionary for each call, since Inspect writes into it.
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
    """Whether a model is known, by its name or API, to take neither temperature nor top_p."""
    return ModelName(model).api == "anthropic" or _is_called(model, _REFUSES)


def _is_called(model: Model, names: re.Pattern[str]) -> bool:
    # The name of a folder of weights says nothing about the model.
    local = ModelName(model).api == "hf-vlm"
    return not local and names.search(model.name.rpartition("/")[2]) is not None


def _top_p(config: GenerateConfig) -> float:
    return 1.0 if config.top_p is None else config.top_p


@cache
def _warn(model: str) -> None:
    logger.warning("%s refuses sampling settings: it answers under its own.", model)
