r"""VLMGuard-R1: a reasoning prompt rewriter in front of an unchanged model.

VLMGuard-R1: Proactive Safety Alignment for VLMs via Reasoning-Driven Prompt Optimization
Menglan Chen, Xianghe Pang, Jingjing Dong, WenHao Wang, Yaxin Du, Siheng Chen
Findings of ACL 2026, https://arxiv.org/abs/2504.12661

    inspect eval tasks/siuo.py --solver vlmguard --model M \
        --model-role rewriter=R --model-role grader=G

The rewriter (role `rewriter`) reads image and prompt, infers their joint risk
and writes a new prompt; the target gets the original image and the new prompt.
It runs on every input. Cost: one rewriter call and one target call.

Deviations from the paper: no weights were released, so any model can be bound
to the role, prompted zero-shot or fine-tuned on the same layout; whether the
paper's rewriter writes its reasoning out is not confirmed (`reasoning=false`
asks for the prompt alone); the prompt is in our own wording. What happens when
the rewriter's reply cannot be used is not described in the paper: by default
the original prompt is passed on, and the rate is shown in every table.
"""

from typing import Final, Literal

from inspect_ai.model import get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from vlmguard.guard.errors import check_choice
from vlmguard.guard.record import recorded
from vlmguard.guard.rewriter import REWRITE_TEMPLATE, Rewriter
from vlmguard.guard.roles import load_models
from vlmguard.guard.templates import load_template
from vlmguard.solvers.fallback import ON_FAILURE, refusal
from vlmguard.solvers.turn import last_turn, with_text

VERSION: Final = "2-A"


@solver
def vlmguard(
    reasoning: bool = True,
    on_failure: Literal["original", "refuse", "raise"] = "original",
    template: str | None = None,
) -> Solver:
    """Rewrite the last user turn with the `rewriter` model, then answer.

    Args:
        reasoning: Ask the rewriter for its reasoning before the prompt.
        on_failure: What a reply that cannot be used leads to: the `original`
            prompt is passed on, the request is refused (`refuse`, no target
            call), or the sample fails (`raise`).
        template: File with a rewriting prompt that replaces ours.
    """
    check_choice("-S on_failure", on_failure, ON_FAILURE)
    load_template(REWRITE_TEMPLATE, template, ("request", "format"))

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        rewriter = Rewriter(
            get_model(role="rewriter", required=True), reasoning=reasoning, template=template
        )
        await load_models()  # the rewriter is asked first, in vain if the target cannot be had
        turn = last_turn(state)
        rewrite = await rewriter.rewrite(turn.images, turn.text, conversation=turn.earlier)

        with recorded(state, "vlmguard", turn.text, VERSION) as record:
            record.rewritten = rewrite.rewritten
            record.triggered = rewrite.rewritten != turn.text
            record.failure = rewrite.failure
            record.template = rewriter.template_hash
            record.notes = {"reasoning": rewrite.reasoning}
            record.add_call("rewrite", rewrite.output, "rewriter")

            if rewrite.failure and on_failure == "raise":
                raise RuntimeError(
                    f"Sample {state.sample_id}: the rewriter's reply cannot be used "
                    f"({rewrite.failure}): {rewrite.output.completion[:200]!r}"
                )
            if rewrite.failure and on_failure == "refuse":
                state.output = refusal(state)
                state.messages.append(state.output.message)
                return state

            if record.triggered:
                state.messages[turn.index] = with_text(
                    state.messages[turn.index], rewrite.rewritten
                )
            state = await generate(state)
            record.add_call("answer", state.output, "target")
            return state

    return solve
