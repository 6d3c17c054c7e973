"""AdaShield: a prompt between the user's words and their repetition tells the target to look first.

AdaShield (authors: see the paper), ECCV 2024, https://arxiv.org/abs/2403.09513

    inspect eval tasks/figstep.py --solver adashield
    inspect eval tasks/figstep.py --solver adashield -S pool=out/pool/pool.jsonl

The last user turn becomes: the image, the user's words, a prompt, and the user's words again. The
turn's own parts keep their places (images come first in all our tasks), and prompt and repetition
follow behind them. Of several texts between images, the repetition is the texts alone, one on each
line. A turn of images alone gets the prompt, and there is nothing to repeat.

*Static form* (AdaShield-S, the default). The prompt is always the same: look in the image for text
or things that hint at something harmful, keep away from them, think about image and words together,
apologise in three fixed words where that would be unethical, unlawful or dangerous, and else do
what was asked. Cost: one target call, and the tokens of prompt and repetition.

*Adaptive form* (AdaShield-A, with `pool`). A pool holds prompts that were made for requests of
several kinds; `vlmguard pool` builds one (training/adashield_pool.py). CLIP's features of image and
words, one behind the other, are compared with those of each of the pool's requests: the nearest
one's prompt is taken if its cosine reaches `gate`, for harmful and harmless requests alike.
Otherwise nothing is added (`on_miss=none`), or the static prompt. Of several images the nearest
counts; a request without an image passes (`no_image`). Cost: one call of CLIP and one target call;
the pool's own features are computed once a process and are in no record. `vlmguard calibrate
adashield` sets the gate at which few harmless requests get a prompt. `similarity`, `item`,
`scenario`, `branch` (`pool`, `static` or `none`) and the digest of the `pool` are in the record's
notes, the branch is the record's `outcome`, which tables count; another pool is another row. A
request that the pool was built from is an approximation of its row (`pool: built from this
request`): leave those out (see the builder).

Deviations: the repository states no license, so the prompt is in our own words, with the authors'
parts in their order; the apology ("I am sorry") is theirs, since answers are recognised by it. The
layout is that of their LLaVA and MiniGPT-v2; a second code base has the same. Their CogVLM differs:
its training puts the repetition in quotes, its inference leaves it out (which is
`--solver safety_prompt -S place=suffix` with this prompt as template). The answer has the task's
settings; theirs differ by target (LLaVA: temperature 0.2, top_p 0.7, 3,000 tokens). Of the adaptive
form: the authors' scripts for attacks always take the nearest prompt (`gate=-1`), those for
harmless requests ask for more than 0.7 (with two of three targets for more than 7.1, which no
cosine reaches); here one gate holds for all requests, which a value at the gate itself passes.
Where several items are equally near they draw one; we take the first. Texts beyond CLIP's 77 tokens
are cut (theirs stop there). The gate belongs to CLIP ViT-B/32 and the authors' pool, which was not
published. All of this is from the authors' code; the paper's own account is not confirmed.
"""

from dataclasses import replace
from typing import Any, Final, Literal

from inspect_ai.solver import Solver, solver

from vlmguard.guard.adashield.layout import STATIC_PROMPT, shielded
from vlmguard.guard.adashield.pool import Nearest, Pool, read_pool, request_digest
from vlmguard.guard.aux_models.base import Checkpoint
from vlmguard.guard.cards import Calls, Check, DefenseCard, Part
from vlmguard.guard.decision import Decision, Verdict
from vlmguard.guard.defense import Conversation, Defense, Target, register_defense
from vlmguard.guard.errors import UserError, check_choice, check_number
from vlmguard.guard.paths import user_path
from vlmguard.guard.record import DefenseRecord, Stage
from vlmguard.guard.templates import load_template, template_hash
from vlmguard.solvers.defended import defended, options_of
from vlmguard.solvers.fixed_text import warned

CLIP: Final = "openai/clip-vit-base-patch32"
GATE: Final = 0.7
SIMILARITY: Final = "similarity"

CARD: Final = DefenseCard(
    name="adashield",
    title="AdaShield",
    version="2-A",
    paper="https://arxiv.org/abs/2403.09513",
    summary=(
        "a prompt to look first, between the user's words and their repetition: always the same, "
        "or that of the nearest request of a pool"
    ),
    target_calls=Calls(1, 1),
    images={"answer": "all", SIMILARITY: "each"},
    options=("pool", "clip", "gate", "on_miss", "template"),
    notes={"pool": "adaptive: the prompt of the nearest request"},
    fidelity="the authors' layout and retrieval; prompts are in our words, and so is any pool",
    blind_to=(
        "what the target itself does not see; with a pool, also what is unlike all of its requests"
    ),
    published_as="AdaShield-S",
    checks=(Check("gate", SIMILARITY, low=False, model="clip", bounds=(-1.0, 1.0)),),
    parts=(
        Part(
            name="AdaShield: gate",
            reads="request",
            positive="like a request of the pool",
            acted=lambda record: (
                record.notes["branch"] == "pool" if SIMILARITY in record.notes else None
            ),
            stages=(SIMILARITY,),
            option="pool",
        ),
    ),
)


@register_defense
class AdaShield(Defense):
    """Tell the target to look first, between the user's words and their repetition.

    Args:
        pool: Pool of prompts (`vlmguard pool`); without one the prompt is always the same.
        clip: CLIP model for the pool: folder, hub id, or `HUB_ID@REVISION`.
        gate: The similarity (-1 to 1) from which on the nearest prompt is taken.
        on_miss: What is added below it: `none`, or the `static` prompt.
        template: File with a static prompt that replaces ours.
        device: Device of CLIP (`cpu`, `cuda:1`, ...); by default a GPU if there is one.
    """

    card = CARD

    def __init__(
        self,
        pool: str | None = None,
        clip: str = CLIP,
        gate: float = GATE,
        on_miss: Literal["none", "static"] = "none",
        template: str | None = None,
        device: str | None = None,
    ) -> None:
        check_number("-S gate", gate, -1, 1)
        check_choice("-S on_miss", on_miss, ("none", "static"))
        if pool is None and (clip, gate, on_miss, device) != (CLIP, GATE, "none", None):
            raise UserError(
                "-S clip, gate, on_miss and device belong to the adaptive form: name a pool "
                "(-S pool=FILE), or leave them out."
            )
        self.gate = gate
        self.on_miss: Literal["none", "static"] = on_miss
        self.prompt = load_template(STATIC_PROMPT, template, ())
        self.pool = None if pool is None else read_pool(user_path(pool))
        if self.pool is not None:
            self.content = template_hash(self.pool.digest, *sorted(self.pool.requests))
        self.clip = Checkpoint.named(clip, device)

    async def ready(self, target: Target | None) -> None:
        """Load CLIP and compute the pool's features, if there is a pool."""
        if self.pool is not None:
            await self.pool.prepare(self.clip)

    def describe(self, record: DefenseRecord, target: Target | None) -> None:
        """Note the texts: the static prompt, and which pool."""
        record.template = template_hash(*self._texts())

    async def before(
        self, conversation: Conversation, record: DefenseRecord, target: Target | None
    ) -> Decision:
        """Add the static prompt, or that of the nearest request."""
        if self.pool is None:
            messages = shielded(conversation, self.prompt)
            return warned(conversation, messages, record, *self._texts())
        if not conversation.images:
            record.skipped = "no_image"
            return self.passed(conversation, "no_image")
        return await self._adapted(conversation, record, self.pool)

    async def _adapted(
        self, conversation: Conversation, record: DefenseRecord, pool: Pool
    ) -> Decision:
        images, text = conversation.images, conversation.text
        near = await pool.nearest(self.clip, images, text)
        record.add_stage(_stage(near))
        if near.features.cut:
            record.approximate("request cut at CLIP's 77 tokens")
        if pool.requests and request_digest(images, text) in pool.requests:
            remark = "pool: built from this request"
            record.approximations = [*record.approximations, remark]
        like = near.similarity >= self.gate
        record.outcome = "pool" if like else self.on_miss
        notes = {
            "branch": record.outcome,
            SIMILARITY: near.similarity,
            "item": near.item.id,
            "scenario": near.item.scenario,
            "pool": pool.digest,
        }
        # With on_miss=static every request changes: this says which the gate held for harmful.
        verdict = Verdict(raw=record.stages[-1].output, label="unsafe" if like else "safe")
        if not like and self.on_miss == "none":
            record.notes = notes
            return replace(self.passed(conversation, "unlike"), verdict=verdict)
        prompt = near.item.prompt if like else self.prompt
        messages = shielded(conversation, prompt)
        decision = warned(conversation, messages, record, *self._texts(), **notes)
        return replace(decision, verdict=verdict)

    def _texts(self) -> list[str]:
        return [self.prompt, *([self.pool.digest] if self.pool else [])]


def _stage(near: Nearest) -> Stage:
    return Stage(
        name=SIMILARITY,
        role="clip",
        output=f"{near.similarity:.4f} {near.item.id}",
        calls=near.features.calls,
        input_tokens=near.features.input_tokens,
        output_tokens=0,
        seconds=near.features.seconds,
        cost=0.0,
    )


@solver
@options_of(AdaShield)
def adashield(**options: Any) -> Solver:
    return defended(AdaShield(**options))
