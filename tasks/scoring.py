"""Chooses the scorers of a task, and what it needs for them before it starts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from inspect_ai import Epochs
from inspect_ai.log import HeadlineMetric
from inspect_ai.scorer import Scorer, ScoreReducer
from inspect_ai.solver import Solver

from vlmguard.guard.errors import UserError, check_choice
from vlmguard.guard.paths import user_path
from vlmguard.guard.roles import require_roles
from vlmguard.guard.task_options import JUDGES, TaskOptions, judging_guard, kind_of_judge
from vlmguard.guard.templates import template_hash
from vlmguard.scorers.guard_judge import guard_judge
from vlmguard.scorers.judge import judge, judge_prompt
from vlmguard.scorers.official import Question
from vlmguard.scorers.prompts import files_in, general_file, prompts_folder
from vlmguard.scorers.refusal import load_keywords, refusal, refusal_with_prefix

__all__ = ["judge_questions", "repeated", "rules_alone", "scoring"]


@dataclass(frozen=True)
class Scoring:
    """Arguments for a `Task`.

    Attributes:
        setup: Resolves the roles that the scorers need and loads local models, so that a missing
            model stops the run before its first call.
        scorers: The scorers, official ones first.
        names: The headline of each, `SCORER.KEY` or `SCORER.KEY.METRIC`.
        headline: The task's headline metric.
        judging: Hashes of the judges' templates and of the refusal phrases, and names of the files
            that replace them, for `Task(metadata=...)`. A run may not continue with others.
    """

    setup: list[Solver]
    scorers: list[Scorer]
    names: tuple[str, ...]
    headline: HeadlineMetric
    judging: dict[str, str]


def scoring(
    options: TaskOptions,
    *,
    official: Mapping[str, Scorer],
    rules: Mapping[str, Scorer],
    questions: Mapping[str, Question],
    hint: str | None = None,
    legacy: bool = False,
    beside: Mapping[str, Scorer] | None = None,
) -> Scoring:
    """Choose a task's scorers.

    Args:
        options: The options that every task takes.
        official: The benchmark's own scorers with a judge, by headline, `scorer.score` or
            `scorer.score.metric`.
        rules: Its scorers without a judge, likewise.
        questions: Questions of the official judges, by the names of the files that may replace
            them.
        hint: Field of the samples' metadata with the benchmark's own hint; None if there is none.
        legacy: Whether refusals are also counted as the authors do, with words that a defense put
            before the answer.
        beside: Further scorers without a judge, likewise, that are never the headline.

    Returns:
        Arguments for `Task`; the headline is that of the first scorer.

    Raises:
        UserError: An unknown choice, a file that cannot be read, a prompt for a judge that does not
            run, or a hint that does not exist or that no judge sees.
    """
    choice, template = kind_of_judge(options.judge), options.judge_template
    check_choice("-T judge", choice, JUDGES)
    general = choice in ("all", "general")
    asked = questions if official and choice in ("all", "official") else {}
    file = general_file(template) if general else None
    files = {question.file for question in asked.values() if question.file}
    if template is not None:
        if prompts_folder(template) is not None:
            files_in(template, questions.keys())
        _check_read(template, choice, file, files)
    if options.judge_hint:
        _check_hint(hint, choice)
    chosen: dict[str, Scorer] = {}
    if choice in ("all", "official"):
        chosen |= official
    if guard := judging_guard(options.judge):
        chosen["guard_judge.guard_unsafe"] = guard_judge(*guard)
    judged = choice in ("all", "general") or bool(chosen)
    chosen |= rules
    judging = {"keywords": load_keywords(options.keywords).hash}
    if asked:
        judging["official_template"] = template_hash(*(each.template for each in asked.values()))
    if general:
        chosen["judge.safe_and_helpful"] = judge(file, hint=hint if options.judge_hint else None)
        judging["judge_template"] = template_hash(judge_prompt(file, hinted=options.judge_hint))
        files |= {user_path(file).name} if file else set()
    if files:
        judging["judge_template_files"] = ", ".join(sorted(files))
    chosen["refusal.refused"] = refusal(options.keywords)
    if legacy:
        chosen["refusal_with_prefix.refused"] = refusal_with_prefix(options.keywords)
    chosen |= beside or {}
    return Scoring(
        setup=[require_roles("grader") if judged else require_roles()],
        scorers=list(chosen.values()),
        names=tuple(chosen),
        headline=_headline(next(iter(chosen))),
        judging=judging,
    )


def judge_questions(args: Mapping[str, Any], own: int) -> int:
    """How many questions a task asks each judge about an answer.

    Args:
        args: The task's arguments.
        own: How many of them are the benchmark's own.
    """
    choice = kind_of_judge(args.get("judge", "all"))
    return own * (choice in ("all", "official")) + (choice in ("all", "general", "guard"))


def rules_alone(options: TaskOptions, what: str) -> TaskOptions:
    """The options of a task that is scored by rule, so that no judge is asked or needed.

    Args:
        options: The user's.
        what: What has nothing to judge, for the message: `the track multiple_choice`.

    Returns:
        The same with `judge="none"`.

    Raises:
        UserError: They ask for a judge.
    """
    check_choice("-T judge", kind_of_judge(options.judge), JUDGES)
    if options.judge not in ("all", "none"):
        raise UserError(f"-T judge={options.judge}: {what} has nothing to judge.")
    if options.judge_template is not None:
        raise UserError(f"-T judge_template={options.judge_template}: {what} has nothing to judge.")
    return replace(options, judge="none")


def repeated(samples: int, reducer: ScoreReducer) -> Epochs:
    """The task's epochs for several answers to each question.

    Args:
        samples: Number of answers (`-T samples=`).
        reducer: Makes one score of them.

    Raises:
        UserError: `samples` is not positive.
    """
    if samples < 1:
        raise UserError(f"-T samples={samples}: at least one answer per question is needed.")
    return Epochs(samples, reducer)


def _check_read(template: str, choice: str, file: str | None, files: set[str]) -> None:
    """Refuse prompts that no judge would use."""
    if file is not None or files:
        return
    if prompts_folder(template) is None:
        raise UserError(
            f"-T judge_template={template}: the general judge does not run with "
            f"-T judge={choice}. Drop it, or use -T judge=all or general."
        )
    raise UserError(
        f"-T judge_template={template}: no judge that runs with -T judge={choice} and the other "
        f"options reads a prompt of this folder. Drop it, or use -T judge=all."
    )


def _check_hint(hint: str | None, choice: str) -> None:
    if hint is None:
        raise UserError(
            "-T judge_hint=true: these samples come without a hint of their authors for the judge "
            "(SIUO's track generation has one, its safety warning). Drop the option."
        )
    if choice not in ("all", "general"):
        raise UserError(
            f"-T judge_hint=true: the general judge, whom it is for, does not run with "
            f"-T judge={choice}. Drop it, or use -T judge=all or general."
        )


def _headline(name: str) -> HeadlineMetric:
    scorer, score, *metric = name.split(".")
    return HeadlineMetric(scorer=scorer, score=score, metric=metric[0] if metric else None)
