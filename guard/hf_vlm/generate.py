"""Runs one batch through `model.generate`: sampling, stopping and log-probabilities row by row.

Every row has its own random numbers, its own limit and its own end. So the answer of a row does not
depend on its neighbours, and a finished row is delivered while the others go on. For that, the
usual warpers (temperature, top-k, top-p) are applied here, and the token is drawn here too.
`generate` only takes the best token of the scores that it gets.
"""

import copy
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from inspect_ai.model import GenerateConfig
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from vlmguard.guard.contrast import Contrast
from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.choices import contrasted, repeating

DEFAULT_MAX_TOKENS = 2048
"""New tokens if the request has no limit, as in Inspect's own local providers."""

OWN_GENERATE = (
    "This checkpoint brings a `generate` of its own, which does not use the logits_processor and "
    "stopping_criteria that hf-vlm/ passes. Serve it (vLLM, say) and use openai-api/."
)

Finish = Literal["eos", "stop_string", "length"]


@dataclass(frozen=True)
class Settings:
    """The settings that all rows of a batch share.

    Attributes:
        max_tokens: The most new tokens (>= 1).
        temperature: 0 for greedy decoding.
        top_p: 1 for no limit.
        top_k: 0 for no limit.
        stop: Strings that end the answer (and stay in it).
        logprobs: Whether to return log-probabilities.
        top_logprobs: How many alternatives per token.
        contrast: Weight of the difference between two readings; None if there is one.
    """

    max_tokens: int = DEFAULT_MAX_TOKENS
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    contrast: float | None = None

    @classmethod
    def from_config(cls, config: GenerateConfig) -> "Settings":
        """Read Inspect's settings; the default is greedy decoding without limits.

        A checkpoint's own sampling defaults are not used: `temperature=1` would mean something else
        for each checkpoint.

        Raises:
            UserError: A value out of range, or a malformed `contrast`.
        """
        contrast = Contrast.of(config)
        settings = cls(
            max_tokens=DEFAULT_MAX_TOKENS if config.max_tokens is None else config.max_tokens,
            temperature=config.temperature or 0.0,
            top_p=1.0 if config.top_p is None else config.top_p,
            top_k=config.top_k or 0,
            stop=tuple(config.stop_seqs or ()),
            logprobs=bool(config.logprobs),
            top_logprobs=config.top_logprobs or 0,
            contrast=None if contrast is None else contrast.alpha,
        )
        for name, good in (
            ("max_tokens", settings.max_tokens >= 1),
            ("temperature", settings.temperature >= 0),
            ("top_p", 0 < settings.top_p <= 1),
            ("top_k", settings.top_k >= 0),
            ("stop_seqs", all(settings.stop)),
        ):
            if not good:
                raise UserError(f"hf-vlm/ cannot use {name}={config.model_dump()[name]!r}.")
        return settings


@dataclass
class Generated:
    """The tokens generated for one row.

    Attributes:
        tokens: New token ids, the end-of-text token included.
        finish: Why it ended; None until then.
        logprobs: Log-probability of each token.
        alternatives: The most likely tokens and their log-probabilities at each place.
        seconds: From the start of the batch to this row's end.
    """

    tokens: list[int] = field(default_factory=list)
    finish: Finish | None = None
    logprobs: list[float] = field(default_factory=list)
    alternatives: list[list[tuple[int, float]]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class RowTask:
    """One row of a batch.

    Attributes:
        limit: The most new tokens.
        rng: Its random numbers.
        decode: Gives the text of new tokens; the flag keeps special tokens.
        abandoned: Says whether to stop, since the result is no longer needed.
        deliver: Called with the result, or an error, as soon as the row has ended.
    """

    limit: int
    rng: random.Random
    decode: Callable[[list[int], bool], str]
    abandoned: Callable[[], bool]
    deliver: Callable[[Generated | Exception], None]


def generate_batch(
    model: Any,
    tokenizer: Any,
    inputs: dict[str, Any],
    rows: list[RowTask],
    s: Settings,
    which: list[int] | None = None,
) -> None:
    """Generate a batch and deliver every row as soon as it has ended.

    Args:
        model: A model with `generate`.
        tokenizer: Its tokenizer.
        inputs: Left-padded inputs on the model's device; `input_ids` is (prompts, length).
        rows: One task for each row.
        s: Settings that all rows share.
        which: For each row, the index of its prompt, and with `s.contrast` also for the second
            reading of each row, behind all rows; None where each row has its own.

    Raises:
        UserError: The checkpoint has its own `generate`, which ignores the processors passed here.
    """
    combine = None if s.contrast is None else partial(contrasted, alpha=s.contrast)
    readings = 1 if combine is None else 2
    watch = _Watch(tokenizer, rows, s, _eos_ids(model, tokenizer), model.dtype)
    config = copy.deepcopy(model.generation_config)
    config.update(
        do_sample=False,
        num_beams=1,
        num_return_sequences=1,
        temperature=1.0,
        top_p=1.0,
        top_k=50,
        max_length=None,
        max_new_tokens=max(row.limit for row in rows),
        # With None, the checkpoint's own limit would apply and cut answers.
        max_time=config.max_time and math.inf,
        return_dict_in_generate=False,
        output_scores=False,
        output_logits=False,
        use_cache=True,
        pad_token_id=_pad_id(model, tokenizer),
    )
    with torch.inference_mode():
        model.generate(
            **inputs,
            generation_config=config,
            logits_processor=LogitsProcessorList([_Pick(watch, s)]),
            stopping_criteria=StoppingCriteriaList([watch]),
            **({} if which is None else {"custom_generate": repeating(which, readings, combine)}),
        )
    if not all(watch.done):
        raise UserError(OWN_GENERATE)


class _Watch(StoppingCriteria):  # type: ignore[misc]  # an untyped library
    """Ends each row for itself: end-of-text token, stop string, limit, or abandoned."""

    def __init__(
        self, tokenizer: Any, rows: list[RowTask], s: Settings, eos: set[int], dtype: torch.dtype
    ) -> None:
        self.rows = rows
        self.sequences = [Generated() for _ in rows]
        self.done = [False] * len(rows)
        self.finite: torch.Tensor | None = None  # whether the last scores were finite, (rows,)
        self._stop = s.stop
        special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
        self._special_stop = [stop for stop in s.stop if any(token in stop for token in special)]
        # A token has at least one byte, so this many last tokens hold the longest stop string.
        self._tail = max((len(stop.encode()) for stop in s.stop), default=0) + 4
        self._eos = eos
        self._dtype = dtype
        self._start = time.monotonic()

    def __call__(
        self, input_ids: torch.Tensor, scores: torch.Tensor | None, **kwargs: Any
    ) -> torch.Tensor:
        """Which rows have ended, (rows,)."""
        if self.finite is None:
            raise UserError(OWN_GENERATE)
        # One transfer for both: each transfer from a GPU waits until the device has caught up.
        tokens, finite = torch.stack([input_ids[:, -1], self.finite.to(input_ids)]).tolist()
        for index, token in enumerate(tokens):
            if self.done[index]:
                continue
            row, sequence = self.rows[index], self.sequences[index]
            sequence.tokens.append(token)
            result: Generated | Exception = sequence
            if not finite[index]:
                result = self._not_finite(len(sequence.tokens))
            elif token in self._eos:
                sequence.finish = "eos"
            elif self._stop and self._stopped(row, sequence.tokens):
                sequence.finish = "stop_string"
            elif len(sequence.tokens) >= row.limit:
                sequence.finish = "length"
            elif row.abandoned():
                result = RuntimeError("this request was abandoned")
            else:
                continue
            self.done[index] = True
            sequence.seconds = time.monotonic() - self._start
            row.deliver(result)
        return torch.tensor(self.done, device=input_ids.device)

    def _stopped(self, row: RowTask, tokens: list[int]) -> bool:
        tail = tokens[-self._tail :]
        text = row.decode(tail, False)
        if any(stop in text for stop in self._stop):
            return True
        if not self._special_stop:
            return False
        text = row.decode(tail, True)
        return any(stop in text for stop in self._special_stop)

    def _not_finite(self, place: int) -> UserError:
        return UserError(
            f"The model's scores for new token {place} are no numbers (NaN or infinite) in "
            f"{str(self._dtype).removeprefix('torch.')}: use -M dtype=bfloat16 or dtype=float32. "
            "If that does not help, the weights or the adapter are broken."
        )


class _Pick(LogitsProcessor):  # type: ignore[misc]  # an untyped library
    """Draws each row's next token with the row's own random numbers, and notes log-probabilities.

    It also notes which rows have finite scores.
    """

    def __init__(self, watch: _Watch, s: Settings) -> None:
        self._watch = watch
        self._settings = s
        self._warpers = LogitsProcessorList()
        if s.temperature not in (0, 1):
            self._warpers.append(TemperatureLogitsWarper(s.temperature))
        if s.top_k:
            self._warpers.append(TopKLogitsWarper(s.top_k))
        if s.top_p < 1:
            self._warpers.append(TopPLogitsWarper(s.top_p))

    def __call__(self, input_ids: torch.LongTensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores whose best token is the drawn token, (rows, vocabulary)."""
        # NaN if any score is NaN. Without the place of the best, which takes 20 times as long on a
        # CPU, and which `generate` finds itself.
        self._watch.finite = scores.amax(-1).isfinite()
        picked, result = None, scores
        if self._settings.temperature:
            picked = self._draw(self._warpers(input_ids, scores.float()))
            result = torch.full_like(scores, -torch.inf).scatter_(-1, picked[:, None], 0.0)
        if self._settings.logprobs:
            picked = scores.argmax(-1) if picked is None else picked
            self._note(scores.float().log_softmax(-1), picked)
        return result

    def _draw(self, scores: torch.Tensor) -> torch.Tensor:
        """Draw by the inverse of the cumulative distribution, at one random number a row."""
        rows, done = self._watch.rows, self._watch.done
        # One number a step for each row: what a row draws then depends on its seed alone, not on
        # its neighbours or on torch's generator.
        numbers = [0.0 if end else row.rng.random() for row, end in zip(rows, done, strict=True)]
        cumulated = scores.softmax(-1).cumsum(-1)
        total = cumulated[:, -1:]
        # The sum may differ from 1 by rounding, so scale by it. The target stays below the sum, or
        # it would be past the last possible token.
        target = torch.tensor(numbers, device=scores.device)[:, None] * total
        target = target.minimum(torch.nextafter(total, torch.zeros_like(total)))
        picked = torch.searchsorted(cumulated, target, right=True)[:, 0]
        return picked.clamp(max=scores.shape[-1] - 1)  # NaN scores give an index past the end

    def _note(self, logprobs: torch.Tensor, picked: torch.Tensor) -> None:
        chosen = logprobs.gather(-1, picked[:, None])[:, 0].tolist()
        count = min(self._settings.top_logprobs, logprobs.shape[-1])
        best = logprobs.topk(count, dim=-1)
        values, ids = best.values.tolist(), best.indices.tolist()
        for index, sequence in enumerate(self._watch.sequences):
            if not self._watch.done[index]:
                sequence.logprobs.append(chosen[index])
                sequence.alternatives.append(list(zip(ids[index], values[index], strict=True)))


def _eos_ids(model: Any, tokenizer: Any) -> set[int]:
    eos = model.generation_config.eos_token_id
    if eos is None:
        eos = tokenizer.eos_token_id
    return {eos} if isinstance(eos, int) else set(eos or ())


def _pad_id(model: Any, tokenizer: Any) -> int:
    for candidate in (tokenizer.pad_token_id, model.generation_config.pad_token_id):
        if candidate is not None:
            return int(candidate)
    return min(_eos_ids(model, tokenizer), default=0)
