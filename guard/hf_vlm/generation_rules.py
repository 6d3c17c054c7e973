"""A checkpoint's own rules of generation (`generation_config.json`), which requests cannot set.

They apply as under plain `generate`, and the log names them.
"""

from typing import Any, Final

from pydantic import JsonValue

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
    """The rules among `NAMES` that differ from their default."""
    changed = generation_config.to_diff_dict()
    return {name: changed[name] for name in NAMES if changed.get(name) is not None}
