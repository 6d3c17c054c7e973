r"""Synthesis of training data for the rewriter, in three stages, as an Inspect task.

After VLMGuard-R1: Proactive Safety Alignment for VLMs via Reasoning-Driven Prompt Optimization
Menglan Chen, Xianghe Pang, Jingjing Dong, WenHao Wang, Yaxin Du, Siheng Chen
Findings of ACL 2026, https://arxiv.org/abs/2504.12661

    inspect eval training/synthesize.py -T data=rows.jsonl --model-role reasoner=R
    inspect eval training/synthesize.py -T data=vlguard,spa_vl:DIR -T responses=sample \
        -T safety=8904 -T benign=977 --model TARGET --model-role grader=G --model-role reasoner=R

A row is an image, a request, a safe and an unsafe answer; `training/sources.py` lists what
can be read. `safety=8904` and `benign=977` are the paper's numbers. Three stages with the
role `reasoner` (the paper's is InternVL2.5-38B; any model that Inspect can call will do):

1. hindsight: what makes the unsafe answer riskier than the safe one - features F;
2. analysis: textual, visual and joint triggers, from image, request and F - report A;
3. rewrite: the new request and its reasoning, from image, request and A.

`-T stages=analysis,rewrite` switches stages off (without hindsight no answers are needed).
A benign row takes one call, which leaves it alone or makes it clearer. `keep` then drops
what breaks a rule or does not convince a checker; its metrics are the yield and the cost of
each stage. Calls: 4 for a safety row, 2 for a benign one, one less each with
`-T check=rules`. `responses=sample` adds `samples` target and judge calls for each row that
lacks an answer. `rejection=N` tries up to N rewritings on the target (`--model`), judged by
`grader`: one stays only if safety rises and helpfulness does not fall; 2 calls for the
original request and 3 at most for each try.

Resume: `inspect eval-retry LOG`, or run under `inspect eval-set`. Finished rows are not paid
for again; `--log-buffer 1` writes each one at once, so that even a kill loses only rows in
work. Then: `vlmguard export LOG --out DIR`.

Deviations from the paper: its prompts, filters and the formula of its report are not
published, so all are ours. The reasoner sees the answers in stage 1 alone, and what it says
must stand on image and request, because that is all the rewriter will have. Whether the
paper's rewriter writes reasoning is not confirmed; `vlmguard export --targets` offers both.
"""

import logging
from dataclasses import dataclass
from typing import Literal

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.model import Model, ModelOutput, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver
from pydantic import BaseModel

from vlmguard.errors import UserError, check_choice
from vlmguard.roles import role_models
from vlmguard.scorers._grader import request_of
from vlmguard.templates import load_template, template_hash
from vlmguard.training.answers import Judged, improves, judged_answer, sample_answers, sort_answers
from vlmguard.training.filters import broken_rules
from vlmguard.training.keep import candidate, keep
from vlmguard.training.replies import (
    Features,
    Report,
    Rewriting,
    is_cut_off,
    problem_of,
    read_features,
    read_report,
    read_rewriting,
)
from vlmguard.training.rows import draw_mix, rows_hash, to_samples
from vlmguard.training.similarity import normalise_text
from vlmguard.training.sources import VOIDED, read_sources
from vlmguard.training.stages import (
    ANALYSIS_TEMPLATE,
    BENIGN_TEMPLATE,
    FIELDS,
    HINDSIGHT_TEMPLATE,
    OPTIMIZE_TEMPLATE,
    SynthesisRecord,
    ask_stage,
    stage_call,
)

logger = logging.getLogger(__name__)

STAGES = ("hindsight", "analysis", "rewrite")

Structured = Literal["auto"] | bool


@task
def synthesize(
    data: str | list[str],
    safety: int | None = None,
    benign: int | None = None,
    seed: int = 0,
    stages: str | list[str] = list(STAGES),  # noqa: B006 - never changed
    responses: Literal["given", "sample"] = "given",
    samples: int = 4,
    rejection: int = 0,
    check: Literal["model", "rules"] = "model",
    structured: Structured = "auto",
    hindsight_template: str | None = None,
    analysis_template: str | None = None,
    rewrite_template: str | None = None,
    benign_template: str | None = None,
    check_template: str | None = None,
) -> Task:
    """Synthesize training rows for the rewriter.

    Args:
        data: Source or sources, as `KIND:PATH` (see `training/sources.py`).
        safety: Number of safety rows to draw; all by default.
        benign: Number of benign rows to draw; all by default.
        seed: Seed of the drawing.
        stages: Stages for safety rows; `rewrite` must be among them.
        responses: `given`, or `sample` those that are missing from `--model`,
            sorted by `grader`.
        samples: Answers to sample for such a row.
        rejection: Rewritings to try on `--model` before a row is given up; 0
            keeps the first without a try.
        check: `model` (rules, then one call) or `rules`.
        structured: Have the provider enforce the form of replies; `auto` does so
            where Inspect's provider supports it for all its models.
        hindsight_template: File that replaces the prompt of stage 1.
        analysis_template: File that replaces the prompt of stage 2.
        rewrite_template: File that replaces the prompt of stage 3.
        benign_template: File that replaces the prompt for benign rows.
        check_template: File that replaces the checker's prompt.
    """
    check_choice("-T responses", responses, ("given", "sample"))
    check_choice("-T structured", structured, ("auto", True, False))
    chosen = _stages(stages)
    sampled = responses == "sample"
    rows = draw_mix(read_sources(data), safety, benign, seed)
    voided = sorted({VOIDED[row.source] for row in rows if row.source in VOIDED})
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
            hindsight_template=hindsight_template,
            analysis_template=analysis_template,
            rewrite_template=rewrite_template,
            benign_template=benign_template,
        ),
        scorer=keep(check, check_template, structured),
        headline_metric="kept_share",
        version="1-A",
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
    hindsight_template: str | None = None,
    analysis_template: str | None = None,
    rewrite_template: str | None = None,
    benign_template: str | None = None,
) -> Solver:
    """Work out a row's rewritten request, leaving a `SynthesisRecord`.

    Args:
        stages: Stages for safety rows.
        samples: Answers to sample where one is missing; 0 for none.
        rejection: Rewritings to try on the target; 0 for none.
        structured: As in the task.
        hindsight_template: As in the task.
        analysis_template: As in the task.
        rewrite_template: As in the task.
        benign_template: As in the task.
    """
    prompts = {
        "hindsight": load_template(HINDSIGHT_TEMPLATE, hindsight_template, FIELDS["hindsight"]),
        "analysis": load_template(ANALYSIS_TEMPLATE, analysis_template, FIELDS["analysis"]),
        "rewrite": load_template(OPTIMIZE_TEMPLATE, rewrite_template, FIELDS["rewrite"]),
        "benign": load_template(BENIGN_TEMPLATE, benign_template, FIELDS["benign"]),
    }

    identity = template_hash(*prompts.values())

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        reasoner = get_model(role="reasoner", required=True)
        if samples or rejection:
            _require_target()
        request, images = request_of(state)
        record = SynthesisRecord(
            safe=state.metadata["safe"],
            unsafe=state.metadata["unsafe"],
            drop=state.metadata["drop"],
            reasoner=str(reasoner),
            templates=identity,
        )
        row = _Row(request, images, bool(state.metadata["benign"]), record)
        ask = _Reasoner(reasoner, prompts, structured)
        try:
            if not row.benign and samples:
                await _complete_answers(row, samples)
            if not row.benign and "hindsight" in stages:
                await _hindsight(row, ask)
            if not row.benign and "analysis" in stages:
                await _analysis(row, ask)
            if not record.drop:
                await _rewrite(row, ask, rejection)
        finally:
            # Once and whole: a StoreModel would be checked and compared at each step.
            record.save(state.store)
        return state

    return solve


@dataclass(frozen=True)
class _Row:
    request: str
    images: list[str]
    benign: bool
    record: SynthesisRecord


@dataclass(frozen=True)
class _Reasoner:
    model: Model
    prompts: dict[str, str]
    structured: Structured

    async def __call__(
        self,
        row: _Row,
        stage: str,
        schema: type[BaseModel],
        *,
        prompt: str | None = None,
        temperature: float | None = None,
        **material: str,
    ) -> ModelOutput:
        output = await ask_stage(
            self.model,
            self.prompts[prompt or stage],
            row.images,
            schema,
            structured=self.structured,
            temperature=temperature,
            request=row.request,
            **material,
        )
        row.record.stages.append(stage_call(stage, "reasoner", output))
        return output


async def _complete_answers(row: _Row, count: int) -> None:
    record = row.record
    if record.drop or (record.safe and record.unsafe):
        return
    answers = await sample_answers(get_model(), row.images, row.request, count)
    record.stages += [call for answer in answers for call in answer.calls]
    safe, unsafe = sort_answers(answers)
    record.safe, record.unsafe = record.safe or safe, record.unsafe or unsafe
    if not record.safe:
        record.drop = "no_safe_response"
    elif not record.unsafe:
        record.drop = "no_unsafe_response"


async def _hindsight(row: _Row, ask: _Reasoner) -> None:
    record = row.record
    if record.drop:
        return
    output = await ask(
        row, "hindsight", Features, safe=record.safe or "", unsafe=record.unsafe or ""
    )
    features = read_features(output.completion)
    if features is None:
        record.drop = f"hindsight_{problem_of(output)}"
    elif not features:
        record.drop = "no_risk_found"
    else:
        record.features = features


async def _analysis(row: _Row, ask: _Reasoner) -> None:
    record = row.record
    if record.drop:
        return
    features = "\n".join(f"- {feature}" for feature in record.features) or "(none given)"
    output = await ask(row, "analysis", Report, features=features)
    report = read_report(output.completion)
    if report is None:
        record.drop = f"analysis_{problem_of(output)}"
    elif not report.text():
        record.drop = "no_risk_found"
    else:
        record.report = report.text()


async def _rewrite(row: _Row, ask: _Reasoner, tries: int) -> None:
    """Stage 3; with `tries`, until a rewriting proves better on the target."""
    record = row.record
    before: Judged | None = None
    for attempt in range(max(1, tries)):
        # A second try of a greedy model would be the first one again.
        failure = await _rewrite_once(row, ask, temperature=1.0 if attempt else None)
        record.drop = f"rewrite_{failure}" if failure else None
        if failure:
            continue
        if not tries or (row.benign and record.rewritten == row.request):
            return
        if broken_rules(candidate(record, row.request, row.benign)):
            # The scorer names the rule, unless a later try does better.
            continue
        if before is None:
            before = await _try(row, row.request, "try_original")
        after = await _try(row, record.rewritten, "try_rewritten")
        record.trial = {"original": before.summary(), "rewritten": after.summary()}
        if improves(before, after, benign=row.benign):
            return
        record.drop = "not_better"


async def _rewrite_once(row: _Row, ask: _Reasoner, temperature: float | None) -> str | None:
    """One rewriting into the record; returns why it cannot be used, or None."""
    record = row.record
    prompt = "benign" if row.benign else "rewrite"
    known = record.report or "\n".join(f"- {feature}" for feature in record.features)
    output = await ask(
        row,
        "rewrite",
        Rewriting,
        prompt=prompt,
        temperature=temperature,
        report=known or "(nothing beyond image and request)",
    )
    if output.stop_reason == "content_filter":
        return "refused"
    parsed = read_rewriting(
        output.completion, instructions=ask.prompts[prompt], cut_off=is_cut_off(output)
    )
    if parsed.failure:
        return parsed.failure
    # What is meant to stay as it is must be copied to the letter.
    same = normalise_text(parsed.prompt) == normalise_text(row.request)
    record.reasoning = parsed.reasoning
    record.rewritten = row.request if same else parsed.prompt
    return None


async def _try(row: _Row, asked: str, stage: str) -> Judged:
    answer = await judged_answer(get_model(), row.images, asked, row.request, stage=stage)
    row.record.stages += answer.calls
    return answer


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
