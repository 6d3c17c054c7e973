"""A checkpoint's own rules of generation (`generation_config.json`), which requests cannot set.

They stay in force as under plain `generate`; what they are goes into the log.
"""

from typing import Any, Final

import torch
from pydantic import JsonValue
from transformers import LogitsProcessor, RepetitionPenaltyLogitsProcessor

NAMES: Final = (
    "repetition_penalty",
    "encoder_repetition_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "sequence_bias",
    "min_length",
    "min_new_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
    "exponential_decay_length_penalty",
    "guidance_scale",
)
"""Settings that change which token is the best one."""


def rules_of(generation_config: Any) -> dict[str, JsonValue]:
    """The rules in force, by name.

    Args:
        generation_config: The model's.

    Returns:
        Those of `NAMES` that are set to something other than their default.
    """
    changed = generation_config.to_diff_dict()
    return {name: changed[name] for name in NAMES if changed.get(name) is not None}


class RepetitionPenalty(LogitsProcessor):  # type: ignore[misc]
    """The library's repetition penalty, blind to padding.

    The library's own also counts the padding on the left. Where that is an end-of-text token
    (Qwen2.5-VL lists it as one), a short row in a batch would be less likely to end than the
    same row alone.

    Args:
        penalty: More than 1 makes repetitions less likely.
        mask: Attention mask of the prompts, (rows, length).
    """

    def __init__(self, penalty: float, mask: torch.Tensor) -> None:
        self._penalty = RepetitionPenaltyLogitsProcessor(float(penalty))
        self._padding = mask == 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (rows, vocabulary) with those of seen tokens made smaller."""
        length = self._padding.shape[1]
        if input_ids.shape[1] >= length:  # else an encoder has read the prompt
            prompt = input_ids[:, :length]
            # A token that stands in the row anyway takes the place of the padding.
            seen = torch.where(self._padding, prompt[:, -1:], prompt)
            input_ids = torch.cat([seen, input_ids[:, length:]], dim=1)
        penalized: torch.Tensor = self._penalty(input_ids, scores)
        return penalized
