"""A loop of our own: several rows share a prompt, or make one answer together.

`generate` (transformers 5.23) repeats a prompt's tensors before it reads them. Here the loop starts
with one row for each distinct prompt. After the prompt is read, its scores, masks, positions and
key-value cache are repeated for the rows that need them. The loop enters `generate` by its hook for
custom loops (`custom_generate`); caches are repeated as beam search does it.

Rows that make one answer together (see `vlmguard.guard.contrast`) all get the token that their
combined scores give. A checkpoint's rules and our own choice of a token see the combined scores and
the first of these rows.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import torch
from transformers import (
    Cache,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteriaList,
)

BY_PROMPT: Final = (
    "encoder_repetition_penalty",
    "encoder_no_repeat_ngram_size",
    "guidance_scale",
)
"""Rules of a checkpoint that keep the prompts as they were before they are repeated."""


Combine = Callable[[torch.Tensor], torch.Tensor]
"""Makes scores, (answers, vocabulary), from those of all rows, (rows, vocabulary). The first row of
each answer comes first, then its second, and so on.
"""


def can_repeat(model: Any) -> bool:
    """Whether the settings allow rows to be repeated after the prompt is read, and combined."""
    changed = model.generation_config.to_diff_dict()
    return not (
        model.config.is_encoder_decoder
        or model.generation_config.prefill_chunk_size
        or any(changed.get(name) is not None for name in BY_PROMPT)
    )


def contrasted(scores: torch.Tensor, alpha: float) -> torch.Tensor:
    """`l_with + alpha (l_with - l_without)`; a token that either reading rules out stays out.

    Args:
        scores: Scores with the text, then those without it, (2 answers, vocabulary).
        alpha: Weight of the difference.

    Returns:
        The combined scores, (answers, vocabulary).
    """
    given, without = scores.chunk(2)
    ruled_out = given.isneginf() | without.isneginf()
    return (given + alpha * (given - without)).masked_fill(ruled_out, -torch.inf)


def repeating(
    which: list[int], readings: int = 1, combine: Combine | None = None
) -> Callable[..., torch.Tensor]:
    """A loop for `generate(custom_generate=...)` that starts with distinct prompts.

    Args:
        which: For each row to generate, the index of its prompt.
        readings: How many rows make an answer.
        combine: Makes scores of answers from those of rows; None if each row is an answer.

    Returns:
        The loop. It takes the best token of each answer until the stopping criteria end all
        answers, and returns prompts and new tokens, (rows, length).
    """

    def loop(
        model: Any,
        input_ids: torch.Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        prompts, answers = input_ids.shape[0], len(which) // readings
        inputs = model.prepare_inputs_for_generation(input_ids, is_first_iteration=True, **kwargs)
        outputs = model(**inputs, return_dict=True)
        kwargs = model._update_model_kwargs_for_generation(outputs, kwargs, False)
        scores = outputs.logits[:, -1]
        rows = torch.tensor(which, device=input_ids.device)
        _repeat_padding(logits_processor, rows[:answers])
        if which != list(range(prompts)):
            input_ids, scores = input_ids[rows], scores[rows.to(scores.device)]
            kwargs = _repeated(model, kwargs, rows, prompts)
        del inputs, outputs  # the prompt's scores may be large: free them before the loop
        going = torch.ones(answers, dtype=torch.bool, device=input_ids.device)
        while True:
            scores = scores.to(device=input_ids.device, dtype=torch.float32, copy=True)
            if combine is not None:
                scores = combine(scores)
            tokens = logits_processor(input_ids[:answers], scores).argmax(-1).repeat(readings)
            input_ids = torch.cat([input_ids, tokens[:, None]], dim=-1)
            going &= ~stopping_criteria(input_ids[:answers], None)
            if not going.any():
                return input_ids
            inputs = model.prepare_inputs_for_generation(
                input_ids, next_sequence_length=1, **kwargs
            )
            outputs = model(**inputs, return_dict=True)
            kwargs = model._update_model_kwargs_for_generation(outputs, kwargs, False)
            scores = outputs.logits[:, -1]

    return loop


def _repeat_padding(processors: LogitsProcessorList, rows: torch.Tensor) -> None:
    """Let a rule that keeps the padding of each prompt know that of each answer."""
    for each in processors:
        if isinstance(each, RepetitionPenaltyLogitsProcessor) and isinstance(
            each.prompt_ignore_length, torch.Tensor
        ):
            each.prompt_ignore_length = each.prompt_ignore_length.to(rows.device)[rows]


def _repeated(
    model: Any, kwargs: dict[str, Any], rows: torch.Tensor, prompts: int
) -> dict[str, Any]:
    """The inputs of further steps, repeated row by row; those read with the prompt alone stay."""
    cache = kwargs.get("past_key_values")
    if not isinstance(cache, Cache):
        raise TypeError(f"a cache of the kind {type(cache).__name__}")
    cache.reorder_cache(cast("Any", rows))  # its type asks for whole numbers, but it takes a tensor
    result = dict(kwargs)
    for name, value in kwargs.items():
        if isinstance(value, torch.Tensor) and value.dim():
            # Positions of multimodal rotary embeddings have rows as their second dimension.
            dim = 1 if name == "position_ids" and value.dim() == 3 else 0
            if value.shape[dim] == prompts:
                result[name] = value.index_select(dim, rows.to(value.device))
    # Qwen-VL models keep the offset of each prompt's positions on the model itself.
    deltas = vars(model.base_model).get("rope_deltas")
    if isinstance(deltas, torch.Tensor) and deltas.shape[0] == prompts:
        model.base_model.rope_deltas = deltas.index_select(0, rows.to(deltas.device))
    return result
