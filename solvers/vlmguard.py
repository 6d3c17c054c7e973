r"""VLMGuard-R1: a reasoning prompt rewriter in front of an unchanged model.

VLMGuard-R1: Proactive Safety Alignment for VLMs via Reasoning-Driven Prompt Optimization
Menglan Chen, Xianghe Pang, Jingjing Dong, WenHao Wang, Yaxin Du, Siheng Chen
Findings of ACL 2026, https://arxiv.org/abs/2504.12661

    inspect eval tasks/siuo.py --solver vlmguard --model M \
        --model-role rewriter=R --model-role grader=G

The rewriter (role `rewriter`) reads image and prompt, infers their joint risk
and writes a new prompt; the target gets the original image and the new prompt.
It runs on every input. Cost: one rewriter call and one target call.

Options (`-S`): what to do if a reply cannot be used even after one retry that names the fault
(`on_failure`), what to do if the rewriter refuses (`on_refusal`), and the version of the prompt
(`prompt`). A trained rewriter states the version of its rows beside its weights, and is asked with
this version unless `prompt` says otherwise. Any other is asked with version 2, whose gain over
version 1 on real models is not measured. The record distinguishes copied, rewritten, refused and
unusable replies, and holds version and hash of the prompt. Of several images the rewriter sees all;
one that takes fewer fails with `unsupported_images`, which follows `on_failure`.

Deviations from the paper: no weights were released, so any model can be bound to the role, prompted
zero-shot or fine-tuned on the same layout. Whether the paper's rewriter writes its reasoning is not
confirmed (`reasoning=false` asks for the prompt alone). The prompt is in our own wording. The paper
does not say what happens if the rewriter's reply is unusable or a refusal: by default the original
prompt is passed on, after a refusal with a fixed caution (`decision.CAUTION`), and every table
shows the rates.
"""

from dataclasses import replace
from functools import partial
from typing import Any, Final

from inspect_ai.model import get_model
from inspect_ai.solver import Solver, solver

from vlmguard.guard.cards import Calls, DefenseCard, Part, Role
from vlmguard.guard.decision import ON_FAILURE, Decision, OnFailure
from vlmguard.guard.defense import Conversation, Defense, Target, register_defense
from vlmguard.guard.errors import UserError, check_choice
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.rewriter import Rewriter, UnusableRewrite
from vlmguard.guard.rewriter.decision import ON_REFUSAL, OnRefusal, Rewrite
from vlmguard.guard.rewriter.prompts import (
    DIRECT_FORMAT,
    PROMPTS,
    REASONING_FORMAT,
    REWRITE_TEMPLATE,
)
from vlmguard.guard.templates import load_template
from vlmguard.solvers.defended import defended, options_of

CARD: Final = DefenseCard(
    name="vlmguard",
    title="VLMGuard-R1",
    version="3-B",
    paper="https://arxiv.org/abs/2504.12661",
    summary="rewrites the prompt after reasoning about image and prompt",
    target_calls=Calls(1, 1),
    roles=(Role("rewriter", Calls(1, 2, "if its first reply cannot be used")),),
    images={"rewrite": "all", "answer": "all"},
    options=("reasoning", "prompt", "on_failure", "on_refusal", "template"),
    notes={"prompt": "1 or 2"},
    fidelity="built from the paper: no weights and no prompts were released",
    blind_to="harm that the rewriter does not foresee: nobody checks the answer",
    ours=True,
    parts=(
        Part(
            name="VLMGuard: rewriter",
            reads="request",
            positive="changes the request",
            acted=lambda record: record.triggered,
        ),
    ),
    taught={
        "rewrite": REWRITE_TEMPLATE,
        "reasoning": REASONING_FORMAT,
        "direct": DIRECT_FORMAT,
    },
)


@register_defense
class VLMGuard(Defense):
    """Rewrite the last user turn with the `rewriter` model, then answer.

    Args:
        reasoning: Ask the rewriter for its reasoning before the prompt.
        on_failure: What to do if a reply cannot be used: pass on the `original` prompt, `refuse`
            the request (no target call), or let the sample fail (`raise`).
        on_refusal: What to do if the rewriter refuses: pass on the prompt with a fixed `caution`,
            or as for `on_failure`.
        prompt: Version of the rewriting prompt, 1 or 2. Default: the version that the rewriter was
            trained with, if its folder states it, else 2.
        template: File with a rewriting prompt that replaces ours.
    """

    card = CARD

    def __init__(
        self,
        reasoning: bool = True,
        on_failure: OnFailure = "original",
        on_refusal: OnRefusal = "caution",
        prompt: int | None = None,
        template: str | None = None,
    ) -> None:
        check_choice("-S on_failure", on_failure, ON_FAILURE)
        check_choice("-S on_refusal", on_refusal, ON_REFUSAL)
        if prompt is not None:
            check_choice("-S prompt", prompt, tuple(PROMPTS))
            if template is not None:
                raise UserError(
                    "-S prompt and -S template exclude each other: leave one of them out."
                )
        load_template(REWRITE_TEMPLATE, template, ("request", "format"))
        self.on_failure = on_failure
        self.rewriter = partial(
            Rewriter,
            reasoning=reasoning,
            template=template,
            prompt=prompt,
            on_failure=on_failure,
            on_refusal=on_refusal,
        )

    async def ready(self, target: Target | None) -> None:
        """Find the rewriter."""
        get_model(role="rewriter", required=True)

    async def before(
        self, conversation: Conversation, record: DefenseRecord, target: Target | None
    ) -> Decision:
        """Rewrite the request."""
        rewriter = self.rewriter(get_model(role="rewriter", required=True))
        rewrite = await rewriter.rewrite(
            conversation.images, conversation.text, conversation=conversation.earlier
        )
        _note(record, rewriter, rewrite)
        try:
            decision = rewriter.judge(rewrite)
        except UnusableRewrite as error:
            raise RuntimeError(f"{conversation.name}: {error}") from error
        if decision.action == "pass":
            record.rewritten = decision.request
            return replace(decision, messages=conversation.messages)
        if decision.action == "block":
            return decision
        record.rewritten = decision.request
        return replace(decision, messages=conversation.with_request(decision.request))


@solver
@options_of(VLMGuard)
def vlmguard(**options: Any) -> Solver:
    return defended(VLMGuard(**options))


def _note(record: DefenseRecord, rewriter: Rewriter, rewrite: Rewrite) -> None:
    record.outcome = rewrite.outcome
    record.failure = rewrite.failure
    record.template = rewriter.template_hash
    record.notes = {"reasoning": rewrite.reasoning, "prompt": rewriter.prompt}
    if rewriter.taught not in (None, rewriter.prompt):
        record.approximations.append(
            f"the rewriter was trained with version {rewriter.taught} of its prompt"
        )
    for output in rewrite.outputs:
        record.add_call("rewrite", output, "rewriter")
