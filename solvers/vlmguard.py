r"""VLMGuard-R1: a reasoning prompt rewriter in front of an unchanged model.

VLMGuard-R1: Proactive Safety Alignment for VLMs via Reasoning-Driven Prompt Optimization
Menglan Chen, Xianghe Pang, Jingjing Dong, WenHao Wang, Yaxin Du, Siheng Chen
Findings of ACL 2026, https://arxiv.org/abs/2504.12661

    inspect eval tasks/siuo.py --solver vlmguard --model M \
        --model-role rewriter=R --model-role grader=G
    inspect eval tasks/siuo.py --solver vlmguard -S gate=role --model-role gate=SMALL ...

The rewriter (role `rewriter`) reads image and prompt, infers their joint risk
and writes a new prompt; the target gets the original image and the new prompt.
It runs on every input. Cost: one rewriter call (two if its first reply cannot be used) and one
target call.

With a gate (`gate`, see `guard/rewriter/gate.py`) it does not: what the gate finds safe passes
unchanged and is counted (outcome `gated`). Cost then: one call of the gate (none for a file of
rules), and no rewriter call for what passes. If the gate cannot tell, the request is rewritten as
without one, and the failure (`gate_no_verdict`, ...) is counted; `on_failure=refuse` and `raise`
hold for it too. The gate is ours: the paper has none.

Ablations: `apply=append` asks the same model, in the same form, for guidance that is added behind
the user's words, which stay; "none" counts as `copied`, and a refusal follows `on_refusal` as
ever. `hazard=oracle` tells the rewriter what the benchmark says could go wrong; harmless samples
are told that nothing can. That is the upper bound of the reasoning of an untrained (prompted)
rewriter. A trained one never saw a named hazard and may do worse with one, so its record notes
that. It needs a benchmark that says so (`guard/hazards.py`), so neither `guarded/` nor a server has
it.

Other options (`-S`): what to do if a reply cannot be used even after one retry that names the fault
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

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal

from inspect_ai.model import ChatMessage
from inspect_ai.solver import Solver, solver

from vlmguard.guard.cards import Calls, DefenseCard, Part, Role
from vlmguard.guard.decision import ON_FAILURE, Decision, OnFailure
from vlmguard.guard.defense import (
    Conversation,
    Defense,
    Target,
    UnusableReply,
    register_defense,
)
from vlmguard.guard.errors import UserError, check_choice
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.rewriter import Rewriter, UnusableRewrite
from vlmguard.guard.rewriter.ablations import HAZARD_TEMPLATE, NO_HAZARD
from vlmguard.guard.rewriter.decision import (
    APPLY,
    CAUTION,
    ON_REFUSAL,
    Apply,
    OnRefusal,
    Rewrite,
)
from vlmguard.guard.rewriter.gate import ALARM, ROLE, Gate, Opinion, gate_of
from vlmguard.guard.rewriter.prompts import (
    DIRECT_FORMAT,
    PROMPTS,
    REASONING_FORMAT,
    REWRITE_TEMPLATE,
)
from vlmguard.guard.roles import one_model
from vlmguard.guard.templates import fill, load_template, template_hash
from vlmguard.solvers.defended import defended, options_of

GATED: Final = "gated"
"""The outcome of a request that the gate let pass."""

HAZARD: Final = ("inferred", "oracle")


def _gate_of(args: Mapping[str, Any]) -> Gate | None:
    try:
        return gate_of(args.get("gate"), args.get("gate_adapter"))
    except UserError:
        return None  # whoever makes the solver says so


def _calls(args: Mapping[str, Any], bound: Collection[str]) -> Mapping[str, Calls]:
    """The calls of each model for one sample, under these arguments."""
    if (gate := _gate_of(args)) is None:
        return {ROLE: Calls(0, 0)}
    return {ROLE: gate.calls, "rewriter": Calls(0, 2)}


def _lacks(args: Mapping[str, Any], bound: Collection[str], target: str) -> list[str]:
    """The roles that its gate needs and that have no model."""
    roles = gate.roles if (gate := _gate_of(args)) else ()
    return [f"no model for the role {role}" for role in roles if role not in bound]


def _rewrote(record: DefenseRecord) -> bool | None:
    """Whether a request of its own went to the target; None if it wrote none that could be used."""
    return record.outcome == "rewritten" if record.outcome in ("copied", "rewritten") else None


CARD: Final = DefenseCard(
    name="vlmguard",
    title="VLMGuard-R1",
    version="4-A",
    paper="https://arxiv.org/abs/2504.12661",
    summary="rewrites the prompt after reasoning about image and prompt",
    target_calls=Calls(1, 1),
    roles=(
        Role("rewriter", Calls(1, 2, "if its first reply cannot be used")),
        Role(ROLE, Calls(0, 1, "with gate=role", further_images=1), needed=False),
    ),
    images={"gate": "format", "rewrite": "all", "answer": "all"},
    options=(
        *("reasoning", "prompt", "gate", "gate_adapter", "apply", "hazard"),
        *("on_failure", "on_refusal", "template"),
    ),
    notes={
        "prompt": "1 or 2",
        "gate": "the word role, or a file of rules",
        "gate_adapter": "a format of guard models",
    },
    fidelity="built from the paper: no weights and no prompts were released",
    blind_to="harm that the rewriter, or its gate, does not foresee: nobody checks the answer",
    ours=True,
    parts=(
        Part(
            name="VLMGuard: gate",
            reads="request",
            positive="has the request rewritten",
            acted=lambda record: record.notes.get(ALARM),
            wrote=None,
            stages=(ROLE,),
            option="gate",
        ),
        Part(
            name="VLMGuard: rewriter",
            reads="request",
            positive="changes the request",
            acted=_rewrote,
            stages=("rewrite",),
        ),
    ),
    lacks=_lacks,
    calls=_calls,
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
        on_failure: What to do if a reply cannot be used: pass on the `original` prompt (of a gate's
            reply: rewrite the request all the same), `refuse` the request (no target call), or let
            the sample fail (`raise`).
        on_refusal: What to do if the rewriter refuses: pass on the prompt with a fixed `caution`,
            or as for `on_failure`.
        prompt: Version of the rewriting prompt, 1 or 2. Default: the version that the rewriter was
            trained with, if its folder states it, else 2.
        template: File with a rewriting prompt that replaces ours.
        gate: Check that decides whether to rewrite at all: `role` (the model in the role `gate`),
            or a YAML file of rules. Default: every request is rewritten.
        gate_adapter: Format of guard models for `gate=role`, or `{adapter: FORMAT, OPTION: VALUE}`.
            Default: `custom`, any chat model with a written policy.
        apply: `rewrite` the request, or `append` guidance to it.
        hazard: Whether the rewriter has to find what could go wrong (`inferred`), or is told what
            the benchmark says (`oracle`).
    """

    card = CARD

    def __init__(
        self,
        reasoning: bool = True,
        on_failure: OnFailure = "original",
        on_refusal: OnRefusal = "caution",
        prompt: int | None = None,
        template: str | None = None,
        gate: str | None = None,
        gate_adapter: str | dict[str, Any] | None = None,
        apply: Apply = "rewrite",
        hazard: Literal["inferred", "oracle"] = "inferred",
    ) -> None:
        check_choice("-S on_failure", on_failure, ON_FAILURE)
        check_choice("-S on_refusal", on_refusal, ON_REFUSAL)
        check_choice("-S apply", apply, APPLY)
        check_choice("-S hazard", hazard, HAZARD)
        if prompt is not None:
            check_choice("-S prompt", prompt, tuple(PROMPTS))
            if template is not None or apply == "append":
                other = "-S template" if template is not None else "-S apply=append"
                raise UserError(f"-S prompt and {other} exclude each other: leave one of them out.")
        self.oracle = hazard == "oracle"
        fields = ("request", "format", *(["conversation"] if self.oracle else []))
        load_template(REWRITE_TEMPLATE, template, fields)
        self.on_failure = on_failure
        self.gate = gate_of(gate, gate_adapter)
        self.rewriter = partial(
            Rewriter,
            reasoning=reasoning,
            template=template,
            prompt=prompt,
            on_failure=on_failure,
            on_refusal=on_refusal,
            apply=apply,
        )
        self.appends = apply == "append"

    async def ready(self, target: Target | None) -> None:
        """Find the rewriter, and the gate's model."""
        one_model("rewriter")
        if self.gate is not None:
            await self.gate.ready()

    def describe(self, record: DefenseRecord, target: Target | None) -> None:
        """Note what the paper's rewriter does not do."""
        record.approximations = [
            *(["a gate lets requests pass unread by the rewriter"] if self.gate else []),
            *(["guidance is appended to the request"] if self.appends else []),
            *(["the rewriter is told the benchmark's hazard"] if self.oracle else []),
        ]

    async def before(
        self, conversation: Conversation, record: DefenseRecord, target: Target | None
    ) -> Decision:
        """Rewrite the request, or append to it, unless a gate finds it safe."""
        rewriter = self.rewriter(one_model("rewriter"))
        record.template = rewriter.template_hash
        if self.oracle:
            record.template = template_hash(record.template, HAZARD_TEMPLATE, NO_HAZARD)
        if self.gate is not None and self.gate.files:
            record.template = template_hash(record.template, self.gate.files)
        hazard = conversation.hazard() if self.oracle else None
        if self.oracle and hazard is None:
            raise UserError(
                f"{conversation.name}: -S hazard=oracle tells the rewriter what a benchmark says "
                "could go wrong, and nobody says it here. It is for evaluations with --solver "
                "vlmguard on benchmarks whose samples have a category, or `hazard` in their "
                "metadata. Leave it out for others, for guarded/ and for servers."
            )
        opinion = None if self.gate is None else await self.gate.check(conversation, record)
        if opinion is not None:
            record.notes = _told(opinion)
            record.verdict = opinion.verdict
            if opinion.failure and self.on_failure != "original":
                record.outcome = "unusable"
                raise UnusableReply(opinion.failure, opinion.verdict.raw if opinion.verdict else "")
            if not opinion.rewrite:
                record.outcome = GATED
                return replace(self.passed(conversation, GATED), verdict=opinion.verdict)
        decision = await self._rewritten(conversation, record, rewriter, hazard)
        if opinion is None:
            return decision
        record.failure = record.failure or opinion.failure or None
        failure = decision.failure or opinion.failure
        return replace(decision, failure=failure, verdict=opinion.verdict)

    async def _rewritten(
        self,
        conversation: Conversation,
        record: DefenseRecord,
        rewriter: Rewriter,
        hazard: str | None,
    ) -> Decision:
        rewrite = await rewriter.rewrite(
            conversation.images,
            conversation.text,
            conversation=conversation.earlier,
            hazard=hazard,
        )
        _note(record, rewriter, rewrite, named=self.oracle)
        try:
            decision = rewriter.judge(rewrite)
        except UnusableRewrite as error:
            raise RuntimeError(f"{conversation.name}: {error}") from error
        if decision.action == "block":
            return decision
        if decision.action == "pass":
            record.rewritten = decision.request
            return replace(decision, messages=conversation.messages)
        if self.appends:
            messages = _appended(conversation, rewrite)
        else:
            messages = conversation.with_request(decision.request)
        record.rewritten = Conversation(messages).text
        return replace(decision, request=record.rewritten, messages=messages)


@solver
@options_of(VLMGuard)
def vlmguard(**options: Any) -> Solver:
    return defended(VLMGuard(**options))


def _note(record: DefenseRecord, rewriter: Rewriter, rewrite: Rewrite, *, named: bool) -> None:
    """Note the rewrite; `named` if the rewriter was told the hazard."""
    record.outcome = rewrite.outcome
    record.failure = rewrite.failure
    record.notes |= {"reasoning": rewrite.reasoning, "prompt": rewriter.prompt}
    if rewriter.taught is not None and (named or rewriter.taught != rewriter.prompt):
        remark = f"the rewriter was trained with version {rewriter.taught} of its prompt"
        record.approximations.append(f"{remark}, which names no hazard" if named else remark)
    for output in rewrite.outputs:
        record.add_call("rewrite", output, "rewriter")


def _appended(conversation: Conversation, rewrite: Rewrite) -> list[ChatMessage]:
    """The guidance, or the caution after a refusal, behind the user's words."""
    added = rewrite.addition or fill(CAUTION, request="").strip()
    return conversation.with_addition(added, "suffix")


def _told(opinion: Opinion) -> dict[str, Any]:
    """What the record notes of a gate."""
    alarm = {} if opinion.failure else {ALARM: opinion.rewrite}
    return {**alarm, **({"gate_reason": opinion.why} if opinion.why else {})}
