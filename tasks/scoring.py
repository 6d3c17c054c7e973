"""Which scorers a task runs, and what it needs for them before it starts."""

from dataclasses import dataclass
from typing import Literal

from inspect_ai import Epochs
from inspect_ai.log import HeadlineMetric
from inspect_ai.scorer import Scorer, ScoreReducer
from inspect_ai.solver import Solver

from vlmguard.guard.errors import UserError, check_choice
from vlmguard.guard.roles import require_roles
from vlmguard.guard.templates import load_template, template_hash
from vlmguard.scorers.judge import JUDGE_FIELDS, JUDGE_TEMPLATE, judge
from vlmguard.scorers.refusal import load_keywords, refusal

__all__ = ["JudgeChoice", "repeated", "scoring"]

JudgeChoice = Literal["all", "official", "general", "none"]


@dataclass(frozen=True)
class Scoring:
    """Arguments for a `Task`.

    Attributes:
        setup: Resolves the roles that the scorers need and loads local models, so that
            a missing one stops the run before its first model call.
        scorers: The scorers, official ones first.
        headline: The task's headline metric.
        judging: Hashes of the general judge's template and of the refusal phrases, which files
            may replace, for `Task(metadata=...)`: a run may not go on under others.
    """

    setup: list[Solver]
    scorers: list[Scorer]
    headline: HeadlineMetric
    judging: dict[str, str]


def scoring(
    choice: JudgeChoice,
    *,
    official: dict[str, Scorer],
    rules: dict[str, Scorer],
    judge_template: str | None,
    keywords: str | None,
) -> Scoring:
    """Choose a task's scorers.

    Args:
        choice: `all` judges, the `official` one, the `general` one that every
            task offers, or `none`: rules only, no grader needed.
        official: The benchmark's own judged scorers, by headline, `scorer.score` or
            `scorer.score.metric`.
        rules: Its scorers that need no judge, likewise.
        judge_template: File with a prompt for the general judge.
        keywords: JSON file with refusal phrases.

    Returns:
        What to hand to `Task`; the headline is that of the first scorer.

    Raises:
        UserError: An unknown choice, a file that cannot be read, or a prompt for a judge that
            does not run.
    """
    check_choice("-T judge", choice, ("all", "official", "general", "none"))
    if judge_template is not None and choice not in ("all", "general"):
        raise UserError(
            f"-T judge_template={judge_template}: the general judge does not run with "
            f"-T judge={choice}. Drop it, or use -T judge=all or general."
        )
    chosen: dict[str, Scorer] = {}
    if choice in ("all", "official"):
        chosen |= official
    judged = choice in ("all", "general") or bool(chosen)
    chosen |= rules
    judging = {"keywords": load_keywords(keywords).hash}
    if choice in ("all", "general"):
        chosen["judge.safe_and_helpful"] = judge(judge_template)
        prompt = load_template(JUDGE_TEMPLATE, judge_template, JUDGE_FIELDS)
        judging["judge_template"] = template_hash(prompt)
    chosen["refusal.refused"] = refusal(keywords)
    return Scoring(
        setup=[require_roles("grader") if judged else require_roles()],
        scorers=list(chosen.values()),
        headline=_headline(next(iter(chosen))),
        judging=judging,
    )


def repeated(samples: int, reducer: ScoreReducer) -> Epochs:
    """Several answers to each question.

    Args:
        samples: How many (`-T samples=`).
        reducer: How to make one score of them.

    Returns:
        The task's epochs.

    Raises:
        UserError: `samples` is not positive.
    """
    if samples < 1:
        raise UserError(f"-T samples={samples}: at least one answer per question is needed.")
    return Epochs(samples, reducer)


def _headline(name: str) -> HeadlineMetric:
    scorer, score, *metric = name.split(".")
    return HeadlineMetric(scorer=scorer, score=score, metric=metric[0] if metric else None)
