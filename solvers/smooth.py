"""Smooth: noisy copies of the image, an answer to each, and a vote on whether to refuse.

Like SmoothVLM (`noise=mask`), and with the noise of SmoothGuard (`noise=gaussian`):

Safeguarding Vision-Language Models Against Patched Visual Prompt Injectors
Jiachen Sun, Changsheng Wang, Jiongxiao Wang, Yiwei Zhang, Chaowei Xiao
https://arxiv.org/abs/2405.10529
SmoothGuard: Defending Multimodal Large Language Models with Noise Perturbation and Clustering
Aggregation
Authors: see the paper; https://arxiv.org/abs/2510.26830

    inspect eval tasks/mossbench.py --solver smooth --model M --model-role grader=G
    inspect eval tasks/siuo.py --solver smooth -S noise=gaussian -S sigma=0.2 ...

1. Of `k` copies of the request, each has other random noise on its images. The target answers each,
   with the run's own settings: the first, and if that is an answer the others at once.
2. Each answer is read as refused or not (`guard/refusals/`, or the provider's mark). The majority
   wins; a tie counts as refused.
3. The user gets an answer of the majority, drawn at random. The record's `outcome`, which tables
   count, is `refusal won` or `answer won`.

Noise and draw depend on the sample and its epoch alone, so that a rerun is the same.

It is the negative control for over-refusal: a comparison (https://arxiv.org/abs/2606.10904, by its
page) reports that SmoothVLM alone refuses nearly all harmless requests. A benchmark of harms alone
does not show that.

Cost: `k` target calls (one without an image); no other model.

Deviations, and what is not confirmed: neither code was read. The share of masked pixels (0.2),
their colour (black) and `k` are ours, whatever their values, and every row notes it (`k, share: not
confirmed by the authors`, `k: ...` with `noise=gaussian`); SmoothGuard's sigma is known as 0.1 to
0.2. SmoothGuard clusters answers by embeddings and takes one of the largest cluster; here it votes
on refusals as SmoothVLM does, which rows with `noise=gaussian` note as `vote: refused or not`. Only
images of the last user turn get noise; those of earlier turns are shown as they are, and that is
noted (`earlier images: without noise`). Where the first copy brings no answer, a tool call or a
refusal that the provider marked, that stands without a vote. A later copy without an answer, or
with a tool call, has no vote.
"""

import random
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from inspect_ai.model import ChatMessage, ModelOutput
from inspect_ai.solver import Solver, solver

from vlmguard.guard.cards import Calls, DefenseCard, Part
from vlmguard.guard.decision import Decision
from vlmguard.guard.defense import (
    Answered,
    Conversation,
    Defense,
    Target,
    call_each,
    register_defense,
)
from vlmguard.guard.errors import UserError, check_choice, check_count, check_number
from vlmguard.guard.images.altering import altered
from vlmguard.guard.images.noise import NOISES, Noise, noise
from vlmguard.guard.messages import images_of
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.refusals import is_refusal
from vlmguard.guard.text.outputs import read_output
from vlmguard.solvers.defended import defended, options_of

K: Final = 5
SHARE: Final = 0.2
SIGMA: Final = 0.1

REFUSED: Final = "refused"
"""The key, in a record's notes, of the number of refusals among `voted` answers."""


def _calls(args: Mapping[str, Any], bound: Collection[str]) -> Mapping[str, Calls]:
    return {"target": Calls(1, int(args.get("k", K)), "with an image")}


def _majority_refuses(record: DefenseRecord) -> bool | None:
    """Whether the majority refused; None without a vote."""
    refused = record.notes.get(REFUSED)
    return None if refused is None else 2 * refused >= record.notes["voted"]


CARD: Final = DefenseCard(
    name="smooth",
    title="Smooth",
    version="1-A",
    paper="https://arxiv.org/abs/2405.10529",
    summary="answers noisy copies of the image; the majority decides whether to refuse",
    target_calls=Calls(1, K, "with an image"),
    images={"answer": "altered", "copy": "altered"},
    options=("k", "noise", "share", "sigma"),
    fidelity=(
        "the steps of SmoothVLM as others describe them; share and number of copies are not "
        "confirmed, and SmoothGuard's clusters are left out"
    ),
    blind_to="a harmful request that the target answers through the noise too; it knows no policy",
    published_as="SmoothVLM",
    parts=(
        Part(
            name="Smooth: vote",
            reads="request",
            positive="is refused in most copies",
            acted=_majority_refuses,
            stages=("copy",),
        ),
    ),
    calls=_calls,
)


@register_defense
class Smooth(Defense):
    """Let the target answer noisy copies of the request, and give an answer of the majority.

    Args:
        k: Number of copies (>= 1).
        noise: `mask` blackens random pixels, `gaussian` shifts all of them.
        share: Share of pixels that `mask` blackens (0 to 1; default 0.2).
        sigma: Standard deviation of `gaussian`, where a colour goes from 0 to 1 (0 to 1; default
            0.1).
    """

    card = CARD
    needs_output = True

    def __init__(
        self,
        k: int = K,
        noise: Noise = "mask",
        share: float | None = None,
        sigma: float | None = None,
    ) -> None:
        check_count("-S k", k, 1)
        check_choice("-S noise", noise, NOISES)
        name, value, other = ("share", share, sigma) if noise == "mask" else ("sigma", sigma, share)
        if other is not None:
            unused = "sigma" if noise == "mask" else "share"
            raise UserError(f"-S {unused} has no effect with -S noise={noise}: give {name}.")
        self.strength = value if value is not None else SHARE if noise == "mask" else SIGMA
        check_number(f"-S {name}", self.strength, 0, 1)
        self.k = k
        self.noise: Noise = noise
        self.settings = {"k": k, "noise": noise, name: self.strength}

    def describe(self, record: DefenseRecord, target: Target | None) -> None:
        """Note the noise, what is ours in it, and that SmoothGuard does not vote."""
        record.notes = {**self.settings}
        if self.noise == "gaussian":
            record.approximations = ["k: not confirmed by the authors", "vote: refused or not"]
        else:
            record.approximations = ["k, share: not confirmed by the authors"]

    async def before(
        self, conversation: Conversation, record: DefenseRecord, target: Target | None
    ) -> Decision:
        """Make the first copy."""
        if images_of(conversation.earlier):
            record.approximations = [*record.approximations, "earlier images: without noise"]
        if not conversation.images:
            record.skipped = "no_image"
            return self.passed(conversation, "no_image")
        first = await self._copy(conversation, 1)
        return Decision("rewrite", conversation.text, "noise", messages=first)

    async def after(
        self, answered: Answered, record: DefenseRecord
    ) -> tuple[Decision, ModelOutput]:
        """Get the answers to the other copies, and vote."""
        conversation = answered.conversation
        if answered.decision.action != "rewrite":
            # There was no first copy: no image, or a turn that is not looked at.
            record.skipped = conversation.skipped or "no_image"
            return answered.decision, answered.output
        copies = [await self._copy(conversation, number) for number in range(2, self.k + 1)]
        others = await call_each(answered.target, copies, record, "copy", "target")
        outputs = [answered.output, *others]
        votes = {
            place: vote
            for place, output in enumerate(outputs)
            if (vote := refuses(output, conversation.prefill)) is not None
        }
        refused = sum(votes.values())
        majority = 2 * refused >= len(votes)
        members = [place for place, vote in votes.items() if vote is majority]
        chosen = random.Random(f"{_seed(conversation)}/vote").choice(members)
        record.notes |= {REFUSED: refused, "voted": len(votes), "chosen": chosen + 1}
        record.outcome = "refusal won" if majority else "answer won"
        reason = "majority_refused" if majority else "majority_answered"
        return replace(answered.decision, reason=reason), outputs[chosen]

    async def _copy(self, conversation: Conversation, number: int) -> list[ChatMessage]:
        """The messages with noise on the images of the last user turn."""
        change = noise(self.noise, self.strength, f"{_seed(conversation)}/{number}")
        return conversation.with_images(await altered(conversation.images, change))


@solver
@options_of(Smooth)
def smooth(**options: Any) -> Solver:
    return defended(Smooth(**options))


def refuses(output: ModelOutput, prefill: str = "") -> bool | None:
    """The vote of an output: whether it refuses.

    Args:
        output: The output.
        prefill: The beginning of the answer, which the output continues.

    Returns:
        None for a tool call, and where there is no answer.
    """
    if output.choices and output.message.tool_calls:
        return None
    said = read_output(output)
    if said.kind == "no_answer":
        return None
    return said.kind == "refusal" or is_refusal(prefill + said.text)


def _seed(conversation: Conversation) -> str:
    return f"{conversation.name}/{conversation.epoch}"
