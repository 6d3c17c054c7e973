"""Takes one row through the stages: the order of questions, and the reasons to stop.

Each step writes its calls and results into the row's `SynthesisRecord`. A row whose record has a
`drop` goes no further.
"""

from dataclasses import dataclass
from typing import Any

from inspect_ai.model import Model, ModelOutput, get_model
from pydantic import BaseModel

from vlmguard.guard.text.outputs import read_output
from vlmguard.training.dataset.similarity import normalise_text
from vlmguard.training.synthesis.answers import (
    JudgedAnswer,
    hopeless,
    improves,
    judged_answer,
    sample_answers,
    sort_answers,
)
from vlmguard.training.synthesis.parsing import (
    Features,
    Report,
    Rewriting,
    is_cut_off,
    is_filtered,
    problem_of,
    read_features,
    read_report,
    read_rewriting,
)
from vlmguard.training.synthesis.prompts import Structured, SynthesisRecord, ask_stage, stage_call
from vlmguard.training.synthesis.rules import broken_rules
from vlmguard.training.synthesis.scorer import candidate


@dataclass(frozen=True)
class RowInWork:
    """A row and its results so far.

    Attributes:
        request: The request x.
        images: Its images.
        metadata: The sample's metadata.
        record: Features, report, rewriting and calls so far.
    """

    request: str
    images: list[str]
    metadata: dict[str, Any]
    record: SynthesisRecord

    @property
    def benign(self) -> bool:
        """Whether the request carries no risk."""
        return bool(self.metadata["benign"])

    @property
    def safe(self) -> str | None:
        """The answer that handles the risk, given or sampled."""
        given: str | None = self.metadata["safe"]
        return self.record.safe or given

    @property
    def unsafe(self) -> str | None:
        """The answer that does not handle the risk, given or sampled."""
        given: str | None = self.metadata["unsafe"]
        return self.record.unsafe or given


@dataclass(frozen=True)
class Reasoner:
    """The model that does the work of the stages.

    Attributes:
        model: The model.
        prompts: The question of each stage, and of `benign` rows.
        structured: Whether to use structured output, as for `ask_stage`.
    """

    model: Model
    prompts: dict[str, str]
    structured: Structured

    async def __call__(
        self,
        row: RowInWork,
        stage: str,
        schema: type[BaseModel],
        *,
        prompt: str | None = None,
        temperature: float | None = None,
        **material: str,
    ) -> ModelOutput:
        """Ask a stage's question about a row, and note the call.

        Args:
            row: The row.
            stage: Name of the stage in the log.
            schema: Form of the reply.
            prompt: Name of the question, if it is not the stage's own.
            temperature: As for `ask_stage`.
            **material: Foreign text by placeholder, without the request.
        """
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


async def complete_answers(row: RowInWork, count: int) -> None:
    """Sample `count` answers of a row that lacks one, and sort them."""
    record = row.record
    if record.drop or (row.safe and row.unsafe):
        return
    answers = await sample_answers(get_model(), row.images, row.request, count)
    record.stages += [call for answer in answers for call in answer.calls]
    safe, unsafe = sort_answers(answers)
    record.safe = None if row.safe else safe
    record.unsafe = None if row.unsafe else unsafe
    if not row.safe:
        record.drop = "no_safe_response"
    elif not row.unsafe:
        record.drop = "no_unsafe_response"


async def hindsight(row: RowInWork, ask: Reasoner) -> None:
    """Stage 1: features F from the two answers."""
    record = row.record
    if record.drop:
        return
    output = await ask(row, "hindsight", Features, safe=row.safe or "", unsafe=row.unsafe or "")
    features = read_features(read_output(output).text, cut_off=is_cut_off(output))
    if features is None:
        record.drop = f"hindsight_{problem_of(output)}"
    elif not features:
        record.drop = "no_risk_found"
    else:
        record.features = features


async def analysis(row: RowInWork, ask: Reasoner) -> None:
    """Stage 2: report A from image, request and F."""
    record = row.record
    if record.drop:
        return
    features = "\n".join(f"- {feature}" for feature in record.features) or "(none given)"
    output = await ask(row, "analysis", Report, features=features)
    report = read_report(read_output(output).text, cut_off=is_cut_off(output))
    if report is None:
        record.drop = f"analysis_{problem_of(output)}"
    elif not report.text():
        record.drop = "no_risk_found"
    else:
        record.report = report.text()


async def rewrite(row: RowInWork, ask: Reasoner, tries: int) -> None:
    """Stage 3: x' from image, request and A.

    Args:
        row: The row.
        ask: The reasoner.
        tries: Rewritings to try on the target until one is better; 0 keeps the first one untried.
    """
    record = row.record
    before: JudgedAnswer | None = None
    for attempt in range(max(1, tries)):
        # A greedy model would write the same rewriting again.
        failure = await _rewrite_once(row, ask, temperature=1.0 if attempt else None)
        record.drop = f"rewrite_{failure}" if failure else None
        if failure:
            continue
        if not tries or (row.benign and record.rewritten == row.request):
            return
        if broken_rules(candidate(record, row.request, row.metadata)):
            # The scorer names the broken rule, unless a later try is better.
            continue
        if before is None:
            before = await _try(row, row.request, "try_original")
            record.trial["original"] = before.summary()
            record.drop = hopeless(before, benign=row.benign)
            if record.drop:
                return
        after = await _try(row, record.rewritten, "try_rewritten")
        record.trial["rewritten"] = after.summary()
        if improves(before, after, benign=row.benign):
            return
        record.drop = "not_better"


async def _rewrite_once(row: RowInWork, ask: Reasoner, temperature: float | None) -> str | None:
    """Write one rewriting into the record; returns why it cannot be used, or None."""
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
    if is_filtered(output):
        return "refused"
    parsed = read_rewriting(
        output.completion, instructions=ask.prompts[prompt], cut_off=is_cut_off(output)
    )
    if parsed.failure:
        return parsed.failure
    # A request that is meant to stay unchanged must be an exact copy.
    same = normalise_text(parsed.prompt) == normalise_text(row.request)
    record.reasoning = parsed.reasoning
    record.rewritten = row.request if same else parsed.prompt
    # A trial of an earlier rewriting does not count for this one.
    record.trial.pop("rewritten", None)
    return None


async def _try(row: RowInWork, asked: str, stage: str) -> JudgedAnswer:
    answer = await judged_answer(get_model(), row.images, asked, row.request, stage=stage)
    row.record.stages += answer.calls
    return answer
