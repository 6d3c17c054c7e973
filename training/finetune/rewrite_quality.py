"""Validation by rewrites, not only by the loss.

At each evaluation some validation rows are rewritten greedily, and three rates are logged beside
the loss. They cost no judge:

- `format_rate`: replies from which a request can be read (`read_reply`).
- `intent_kept`: rewrites that keep the request's words: at least half of them, or as many as the
  reference rewrite keeps, if that is fewer. A rough check against rewriting into another request.
- `benign_unchanged`: for benign rows, rewrites equal to the request or to the reference, ignoring
  case, punctuation and white space.

A reply that cannot be used counts against all three.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import datasets
import torch
import transformers
import trl
from torch.distributed.fsdp import FSDPModule
from trl.models import unwrap_model_for_generation

from vlmguard.guard.hf_vlm.messages import Conversation
from vlmguard.guard.hf_vlm.prepared import Prepared
from vlmguard.guard.hf_vlm.processor import PromptMaker
from vlmguard.guard.images.prepare import to_data_uri
from vlmguard.guard.rewriter import read_reply
from vlmguard.training.dataset.similarity import normalise_text, words
from vlmguard.training.finetune.checkpoints import CarefulSaving
from vlmguard.training.finetune.traindata import Transform

KEPT_SHARE: Final = 0.5
"""Share of a request's words that a rewrite must keep."""


@dataclass(frozen=True)
class Judged:
    """What is known of one rewrite.

    Attributes:
        usable: Whether a request could be read from the reply.
        intent_kept: Whether it keeps the request's words.
        unchanged: Whether it is the request itself, or the reference.
    """

    usable: bool
    intent_kept: bool
    unchanged: bool


def judge_rewrite(reply: str, original: str, reference: str, *, cut_off: bool = False) -> Judged:
    """Compare a reply with the request and with the reference rewrite.

    Args:
        reply: The rewriter's reply.
        original: The request.
        reference: The rewrite that the row teaches.
        cut_off: Whether the reply ended at the token limit.

    Returns:
        The three properties; all false if the reply cannot be used.
    """
    parsed = read_reply(reply, request=original, cut_off=cut_off)
    if parsed.failure:
        return Judged(False, False, False)
    enough = min(KEPT_SHARE, _kept(original, reference))
    same = normalise_text(parsed.prompt)
    return Judged(
        usable=True,
        intent_kept=_kept(original, parsed.prompt) >= enough,
        unchanged=same in (normalise_text(original), normalise_text(reference)),
    )


def rates(judged: list[Judged], benign: list[bool]) -> dict[str, float]:
    """The three rates.

    Args:
        judged: The result for each rewrite.
        benign: Whether the row is benign.

    Returns:
        `format_rate`, `intent_kept` and, if there are benign rows, `benign_unchanged`; each from 0
        to 1. Empty without rewrites.
    """
    if not judged:
        return {}
    found = {
        "format_rate": sum(each.usable for each in judged) / len(judged),
        "intent_kept": sum(each.intent_kept for each in judged) / len(judged),
    }
    left_alone = [
        each.unchanged for each, is_benign in zip(judged, benign, strict=True) if is_benign
    ]
    if left_alone:
        found["benign_unchanged"] = sum(left_alone) / len(left_alone)
    return found


def pick_rows(split: datasets.Dataset, count: int, processes: int) -> datasets.Dataset:
    """Rows to rewrite: benign and others in equal parts, if there are enough.

    Args:
        split: The validation rows as exported; a transform would decode every image.
        count: Number of rows.
        processes: Number of processes that share them; the count is made a multiple of it.

    Returns:
        At most `count` rows, the same at each evaluation.
    """
    benign = list(split["benign"])
    kinds = [[i for i, each in enumerate(benign) if each is kind] for kind in (True, False)]
    turns = sorted(
        (place, kind, i) for kind, rows in enumerate(kinds) for place, i in enumerate(rows)
    )
    chosen = [i for _, _, i in turns[:count]]
    if len(chosen) >= processes:
        chosen = chosen[: len(chosen) // processes * processes]
    return split.select(chosen)


class RewriterTrainer(CarefulSaving, trl.SFTTrainer):  # type: ignore[misc]
    """TRL's trainer; its evaluation also rewrites.

    Args:
        maker: The prompt maker.
        quality: Validation rows to rewrite, as exported, or None.
        shown: Presents rows as inference does (`as_inference_shows`).
        quality_batch_size: Rows per batch.
        quality_max_tokens: Most new tokens.
        **rest: As for `SFTTrainer`.
    """

    def __init__(
        self,
        *,
        maker: PromptMaker,
        quality: datasets.Dataset | None,
        shown: Transform,
        quality_batch_size: int,
        quality_max_tokens: int,
        **rest: Any,
    ) -> None:
        super().__init__(processing_class=maker.processor, **rest)
        self._maker = maker
        self._quality = quality
        self._shown = shown
        self._quality_batch_size = quality_batch_size
        self._quality_max_tokens = quality_max_tokens

    def evaluate(
        self, *args: Any, metric_key_prefix: str = "eval", **rest: Any
    ) -> dict[str, float]:
        """Validation loss, then the rates of rewrites."""
        metrics: dict[str, float] = super().evaluate(
            *args, metric_key_prefix=metric_key_prefix, **rest
        )
        if self._quality is not None:
            found = {f"{metric_key_prefix}_{k}": v for k, v in self._rewrite(self._quality).items()}
            self.log(dict(found))
            metrics |= found
        return metrics

    def _rewrite(self, rows: datasets.Dataset) -> dict[str, float]:
        processes, index = self.accelerator.num_processes, self.accelerator.process_index
        if len(rows) >= processes:
            rows = rows.select(range(index, len(rows), processes))
        # Images stay encoded, since the prompt maker decodes them, as at inference.
        stored: Any = rows.with_format("arrow")
        judged: list[Judged] = []
        benign: list[bool] = []
        with unwrap_model_for_generation(
            self.model_wrapped,
            self.accelerator,
            gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
        ) as model:
            model.eval()
            for start in range(0, len(stored), self._quality_batch_size):
                batch: dict[str, Any] = stored[start : start + self._quality_batch_size].to_pydict()
                pictures = [[image["bytes"] for image in each] for each in batch.pop("images")]
                batch = self._shown(batch) | {"images": pictures}
                replies = rewrite_batch(model, self._maker, batch, self._quality_max_tokens)
                for (reply, cut_off), original, reference in zip(
                    replies, batch["original"], batch["rewritten"], strict=True
                ):
                    judged.append(judge_rewrite(reply, original, reference, cut_off=cut_off))
                benign += batch["benign"]
        return self._over_processes(judged, benign)

    def _over_processes(self, judged: list[Judged], benign: list[bool]) -> dict[str, float]:
        flags = [
            [each.usable, each.intent_kept, each.unchanged, is_benign]
            for each, is_benign in zip(judged, benign, strict=True)
        ]
        gathered: Any = self.accelerator.gather(
            torch.tensor(flags, dtype=torch.long, device=self.accelerator.device)
        )
        lists = gathered.bool().tolist()
        return rates([Judged(*flags[:3]) for flags in lists], [flags[3] for flags in lists])


def rewrite_batch(
    model: Any, maker: PromptMaker, batch: dict[str, Any], max_tokens: int
) -> list[tuple[str, bool]]:
    """Rewrite rows greedily.

    Args:
        model: The present model, in evaluation mode. If it is sharded (FSDP 2), every process must
            call this equally often.
        maker: Its prompt maker.
        batch: Columns `prompt` and `images` (pictures, or the bytes of image files).
        max_tokens: Most new tokens.

    Returns:
        For each row the reply and whether it was cut off.
    """
    prepared: list[Prepared] = [
        maker.prepare(Conversation(turns=turns, images=[to_data_uri(image) for image in images]))
        for turns, images in zip(batch["prompt"], batch["images"], strict=True)
    ]
    inputs = {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        for name, value in maker.collate(prepared).items()
    }
    eos = _eos_ids(model, maker.tokenizer)
    settings = transformers.GenerationConfig(
        do_sample=False,
        max_new_tokens=max_tokens,
        eos_token_id=sorted(eos),
        pad_token_id=maker.tokenizer.pad_token_id,
    )
    sharded = isinstance(model, FSDPModule)
    if sharded:
        # The vision encoder runs before `forward`, but only `forward` would gather its sharded
        # weights.
        model.unshard()
    # Not inference mode: with FSDP, training would use its tensors later.
    with torch.no_grad():
        # `generate` keeps processes that are done early running until the last one is done.
        output = model.generate(**inputs, generation_config=settings)
    if sharded:
        model.reshard()
    replies = []
    for each, row in zip(prepared, output[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
        end = next((place for place, token in enumerate(row) if token in eos), None)
        replies.append((maker.decode(each, row[:end]), end is None))
    return replies


def _eos_ids(model: Any, tokenizer: Any) -> set[int]:
    eos = model.generation_config.eos_token_id
    ids = [eos] if isinstance(eos, int) else list(eos or ())
    return {*ids, tokenizer.eos_token_id}


def _kept(original: str, rewrite: str) -> float:
    """Share of the request's words that the rewrite keeps."""
    wanted, there = Counter(words(original)), Counter(words(rewrite))
    return (wanted & there).total() / wanted.total() if wanted else 1.0
