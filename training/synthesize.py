r"""Synthesis of training data for the rewriter, in three stages, as an Inspect task.

After VLMGuard-R1: Proactive Safety Alignment for VLMs via Reasoning-Driven Prompt Optimization
Menglan Chen, Xianghe Pang, Jingjing Dong, WenHao Wang, Yaxin Du, Siheng Chen
Findings of ACL 2026, https://arxiv.org/abs/2504.12661

    inspect eval training/synthesize.py -T data=rows.jsonl --model-role reasoner=R
    inspect eval training/synthesize.py -T data=vlguard,spa_vl:DIR -T responses=sample \
        -T safety=8904 -T benign=977 --model TARGET --model-role grader=G --model-role reasoner=R

A row is an image, a request, a safe and an unsafe answer; `synthesis/sources.py` lists the sources.
`safety=8904` and `benign=977` are the paper's numbers. Three stages with the role `reasoner` (the
paper's is InternVL2.5-38B; any model that Inspect can call is possible):

1. hindsight: what makes the unsafe answer riskier than the safe one - features F;
2. analysis: textual, visual and joint triggers, from image, request and F - report A;
3. rewrite: the new request and its reasoning, from image, request and A.

`-T stages=analysis,rewrite` switches stages off (without hindsight no answers are needed). A benign
row takes one call, which leaves it alone or makes it clearer. `keep` then drops rows that break a
rule or that the checker rejects; its metrics are the yield and the cost of each stage. Calls: 4 for
a safety row, 2 for a benign one, one less each with `-T check=rules`. `responses=sample` adds
`samples` target and judge calls for each row that lacks an answer. `rejection=N` tries up to N
rewritings on the target (`--model`), judged by `grader`: one stays only if safety rises and
helpfulness does not fall; 2 calls for the original request and 3 at most for each try.

A row whose call fails (an endpoint may not take every image) stays unfinished. The run stops when 5
% of the rows have failed (`--fail-on-error` changes this limit).

Resume: `inspect eval-retry LOG`, or run under `inspect eval-set`. Finished rows are not paid for
again; `--log-buffer 1` writes each row at once, so that even a kill loses only unfinished rows.
Then: `vlmguard export LOG --out DIR`.

Deviations from the paper: its prompts, filters and the formula of its report are not published, so
all are ours. The reasoner sees the answers in stage 1 only; its reasons must follow from image and
request, because the rewriter will have nothing else. Whether the paper's rewriter writes reasoning
is not confirmed; `vlmguard export --targets` offers both.
"""

import logging
from collections.abc import Mapping
from typing import Any, Literal

from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.model import get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from vlmguard.guard.cards import OtherTask, cards, register
from vlmguard.guard.errors import UserError, check_choice, check_count
from vlmguard.guard.rare_collection import collect_rarely
from vlmguard.guard.roles import require_roles, role_models
from vlmguard.guard.templates import load_templates, prompt_files, template_hash
from vlmguard.scorers.asking import request_of
from vlmguard.training.synthesis.pipeline import (
    Reasoner,
    RowInWork,
    analysis,
    complete_answers,
    hindsight,
    rewrite,
)
from vlmguard.training.synthesis.prompts import (
    ANALYSIS_TEMPLATE,
    BENIGN_TEMPLATE,
    FIELDS,
    HINDSIGHT_TEMPLATE,
    OPTIMIZE_TEMPLATE,
    Structured,
    SynthesisRecord,
)
from vlmguard.training.synthesis.record import rows_hash, to_samples
from vlmguard.training.synthesis.sampling import Quota, draw_mix
from vlmguard.training.synthesis.scorer import keep
from vlmguard.training.synthesis.sources import VOIDED, read_sources

logger = logging.getLogger(__name__)

STAGES = ("hindsight", "analysis", "rewrite")

TEMPLATES = {
    "hindsight": HINDSIGHT_TEMPLATE,
    "analysis": ANALYSIS_TEMPLATE,
    "rewrite": OPTIMIZE_TEMPLATE,
    "benign": BENIGN_TEMPLATE,
}
"""Our prompts by the names of the files that replace them."""

CHECKER = "check"
"""Name of the checker's prompt, which belongs to the scorer."""


def _most_calls(args: Mapping[str, Any]) -> Mapping[str, int]:
    """The most calls for one row: a safety row that lacks both answers and is tried to the end."""
    stages, tries = _stages(args["stages"]), int(args["rejection"])
    answers = int(args["samples"]) if args["responses"] == "sample" else 0
    # With tries, the answer to the original request is compared with that to each rewriting.
    judged = answers + (1 + tries if tries else 0)
    asked = len(stages) - 1 + max(1, tries)
    return {
        "target": judged,
        "grader": judged,
        "reasoner": asked + (args["check"] == "model"),
    }


register(
    OtherTask(
        name="synthesize",
        calls=_most_calls,
        summary="training rows for the rewriter, from requests and answers",
        roles={
            "reasoner": "4 a safety row, 2 a benign one, one less each with check=rules",
            "grader": "for answers of the target, with responses=sample or rejection",
        },
    )
)

FAILED_SHARE = 0.05
"""Share of rows whose calls may fail before the run stops; `--fail-on-error` overrides it."""


@task
def synthesize(
    data: str | list[str],
    safety: Quota = None,
    benign: Quota = None,
    seed: int = 0,
    stages: str | list[str] = list(STAGES),  # noqa: B006 - never changed
    responses: Literal["given", "sample"] = "given",
    samples: int = 4,
    rejection: int = 0,
    check: Literal["model", "rules"] = "model",
    structured: Structured = "auto",
    templates: str | None = None,
) -> Task:
    """Synthesize training rows for the rewriter.

    Args:
        data: Source or sources, as `KIND:PATH` (see `training/synthesis/sources.py`).
        safety: Number of safety rows to draw, or `SOURCE:N` for each source to draw
            from (`vlguard:2000,spa_vl:6904`); all by default.
        benign: Number of benign rows to draw, likewise.
        seed: Seed of the drawing.
        stages: Stages for safety rows; `rewrite` must be among them.
        responses: `given`, or `sample`: missing answers come from `--model`, sorted by `grader`.
        samples: Answers to sample for such a row, at least 1.
        rejection: Rewritings to try on `--model` before a row is dropped; 0 keeps the first
            untried.
        check: `model` (rules, then one call) or `rules`.
        structured: Pass the form of replies to the provider as a schema; `auto`: if Inspect's
            provider takes one.
        templates: Folder with prompts that replace ours: `hindsight.txt`, `analysis.txt` and
            `rewrite.txt` (stages 1 to 3), `benign.txt` (benign rows), `check.txt` (the checker).
    """
    collect_rarely()
    check_choice("-T responses", responses, ("given", "sample"))
    check_choice("-T structured", structured, ("auto", True, False))
    check_count("-T samples", samples, 1)
    check_count("-T rejection", rejection, 0)
    chosen = _stages(stages)
    sampled = responses == "sample"
    needed = ["reasoner", *(["grader"] if sampled or rejection else [])]
    rows = draw_mix(read_sources(data), safety, benign, seed)
    voided = sorted({cards().benchmarks[row.source].title for row in rows if row.source in VOIDED})
    for name in voided:
        logger.warning("A rewriter trained on these rows has no valid score on %s any more.", name)
    return Task(
        dataset=MemoryDataset(
            to_samples(rows, contrast="hindsight" in chosen, sampled=sampled), name="synthesis"
        ),
        solver=three_stages(
            stages=list(chosen),
            samples=samples if sampled else 0,
            rejection=rejection,
            structured=structured,
            templates=templates,
        ),
        setup=require_roles(*needed),
        scorer=keep(check, _checker_file(templates), structured),
        # Epochs make no sense here: rows are counted, not averaged.
        epochs=Epochs(1, []),
        # One row that an endpoint refuses must not stop ten thousand.
        fail_on_error=FAILED_SHARE,
        version="3-B",
        metadata={
            "rows": rows_hash(rows),
            "sources": sorted({row.source for row in rows}),
            "voided_test_sets": voided,
        },
    )


@solver
def three_stages(
    stages: list[str],
    samples: int = 0,
    rejection: int = 0,
    structured: Structured = "auto",
    templates: str | None = None,
) -> Solver:
    """Make a row's rewritten request and its `SynthesisRecord`.

    Args:
        stages: Stages for safety rows.
        samples: Answers to sample if one is missing; 0 samples none.
        rejection: Rewritings to try on the target; 0 tries none.
        structured: Whether to pass a schema, as for `synthesize`.
        templates: Folder with prompts that replace ours.
    """
    prompts = load_templates(
        {name: (text, FIELDS[name]) for name, text in TEMPLATES.items()}, templates, (CHECKER,)
    )
    identity = template_hash(*prompts.values())

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        reasoner = get_model(role="reasoner", required=True)
        if samples or rejection:
            _require_target()
        request, images = request_of(state)
        record = SynthesisRecord(
            drop=state.metadata["drop"], reasoner=str(reasoner), templates=identity
        )
        row = RowInWork(request, images, state.metadata, record)
        ask = Reasoner(reasoner, prompts, structured)
        try:
            if not row.benign and samples:
                await complete_answers(row, samples)
            if not row.benign and "hindsight" in stages:
                await hindsight(row, ask)
            if not row.benign and "analysis" in stages:
                await analysis(row, ask)
            if not record.drop:
                await rewrite(row, ask, rejection)
        finally:
            # Written once at the end: a StoreModel would be checked and compared at each step.
            record.save(state.metadata)
        return state

    return solve


def _checker_file(folder: str | None) -> str | None:
    """The checker's prompt in the user's folder, if it has one."""
    if folder is None:
        return None
    file = prompt_files(folder, (*TEMPLATES, CHECKER)).get(CHECKER)
    return None if file is None else str(file)


def _stages(stages: str | list[str]) -> tuple[str, ...]:
    given = stages.split(",") if isinstance(stages, str) else stages
    for name in given:
        check_choice("-T stages", name, STAGES)
    if "rewrite" not in given:
        raise UserError("-T stages: the stage rewrite cannot be switched off. Add it.")
    return tuple(name for name in STAGES if name in given)


def _require_target() -> None:
    role_models("grader")
    if str(get_model()) == "none/none":
        raise UserError(
            "-T responses=sample and -T rejection= ask a target for answers: add --model."
        )
