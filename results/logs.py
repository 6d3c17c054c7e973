"""Reading one Inspect log: what was run, and what each answer scored and cost.

Only headers and sample summaries are read, never messages or events, so that
hundreds of logs stay cheap. Everything else in `results` starts from here.
"""

import hashlib
import json
import math
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from inspect_ai.log import (
    EvalLog,
    EvalSampleSummary,
    list_eval_logs,
    read_eval_log,
    read_eval_log_sample_summaries,
)
from inspect_ai.model import ModelConfig
from zstandard import ZstdError

from vlmguard.errors import UserError
from vlmguard.results.rows import (
    GENERAL,
    GRADER,
    Judging,
    LeftOut,
    Names,
    Row,
    column_name,
    judging_of,
    row_of,
    tally_of,
    values_by_key,
    views_of,
)

UNREADABLE: Final = (
    *(OSError, ValueError, KeyError, IndexError, EOFError, AssertionError),
    *(zipfile.BadZipFile, zlib.error, ZstdError),
)
"""What Inspect raises for a log that is damaged, cut off, or none at all."""

# Arguments that say where things lie, that show in the samples' scores by hash, or that
# choose the evaluated model (a row, not a column).
_PLACES: Final = {
    "data_dir",
    "target",
    "revision",
    "judge",
    "judge_template",
    "keywords",
    "prompt_file",
    "font",
}
# What tasks note about their data beside its digest.
_CHOICES: Final = ("split", "drawn", "prompt", "keywords")
_SAMPLING: Final = (
    "system_message",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "num_choices",
    "reasoning_effort",
    "reasoning_tokens",
)


@dataclass(frozen=True)
class Column:
    """What must agree for two results to be compared.

    Attributes:
        benchmark: Display name of the task, alike for path and installed runs.
        title: Name of the benchmark.
        variant: Split or track.
        version: Task version.
        data: Digest of the data's files, wherever they lay.
        settings: Task arguments, drawing and sampling settings that bear on scores.
        judging: For each scorer what it judged with: model, template, phrases.
    """

    benchmark: str
    title: str
    variant: str
    version: str
    data: str
    settings: str
    judging: str


@dataclass
class Run:
    """One usable log, seen with one judge.

    Attributes:
        path: Where it lies.
        view: Which of its judges: 0 the first, then those that were appended.
        column: What it can be compared with.
        target: The evaluated model.
        target_settings: Its arguments, as text.
        defense: Name of the defense without package; `none` without one.
        defense_args: Arguments that were passed to it, as text.
        guards: Models bound to roles other than the grader's, as text.
        judge: Judges' names (an exact scorer's own); empty where nothing was judged.
        note: What the task wants every table to say.
        created: When it was run.
        identity: Inspect's ids of task and evaluation.
        headline: Column of the task's headline measure.
        ranges: Highest value of each measure, where the log says it.
        reduced: Values by measure and sample where there were several epochs.
        approximations: In which respects the defense was not the faithful one.
        overhead_gap: Why there is no tally of the defense's cost; empty if there is.
        provenance: Versions and commit, for tables and baselines.
    """

    path: str
    view: int
    column: Column
    target: str
    target_settings: str
    defense: str
    defense_args: str
    guards: str
    judge: str
    note: str
    created: str
    identity: tuple[str, str]
    headline: str
    ranges: dict[str, float]
    reduced: dict[str, dict[str, float]] = field(default_factory=dict)
    approximations: tuple[str, ...] = ()
    overhead_gap: str = ""
    provenance: dict[str, str] = field(default_factory=dict)


def find_logs(paths: Iterable[str]) -> list[str]:
    """Log files below files, folders or URLs.

    Args:
        paths: Logs, or folders of logs (searched to any depth).

    Returns:
        Locations, each once, sorted within a folder.

    Raises:
        UserError: A path does not exist, or there is no log in any of them.
    """
    found: dict[str, None] = {}
    given = [str(path) for path in paths]
    for path in given:
        if "://" not in path and not Path(path).exists():
            raise UserError(f"{path}: no such file or folder. Name Inspect logs or their folder.")
        if Path(path).is_file():
            found[str(Path(path).resolve())] = None
            continue
        for info in list_eval_logs(path, descending=False):
            found[info.name.removeprefix("file://")] = None
    if not found:
        raise UserError(
            f"No Inspect logs (*.eval, *.json) in {', '.join(given)}. Run a benchmark first, "
            f"e.g. inspect eval tasks/siuo.py --log-dir logs."
        )
    return list(found)


def read_log(path: str) -> list[tuple[Run, list[Row]]]:
    """Read a log's header and sample summaries.

    Args:
        path: The log.

    Returns:
        The run, and a row for each answer; once for each judge, where
        `inspect score --action append` brought further ones.

    Raises:
        LeftOut: The log is corrupt, unfinished, of a foreign task, without
            samples, or nothing in it was scored.
    """
    try:
        log = read_eval_log(path, header_only=True)
        summaries = read_eval_log_sample_summaries(path) if log.status == "success" else []
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LeftOut(f"corrupt or truncated, or no Inspect log ({reason})") from error
    if log.status != "success":
        detail = f": {log.error.message.splitlines()[0]}" if log.error else ""
        raise LeftOut(
            f"unfinished (status {log.status}{detail}); finish it with inspect eval-retry"
        )
    if not summaries:
        raise LeftOut("it holds no samples")
    metadata = log.eval.metadata or {}
    if "benchmark" not in metadata and not any(
        set(GENERAL) & set(sample.scores or {}) for sample in summaries
    ):
        raise LeftOut(
            f"foreign: task {log.eval.task} is none of ours and none of our scorers was used"
        )
    found = []
    for view, names in enumerate(views_of(summaries)):
        rows = [row_of(sample, names) for sample in summaries]
        _check_scored(rows)
        found.append((_run(path, view, log, summaries, names), rows))
    return found


def bare(name: str) -> str:
    """A registered or path-loaded name without its package or file.

    Args:
        name: E.g. `vlmguard/ecso`, `solvers/ecso.py@ecso`, `ecso`.

    Returns:
        The last part: `ecso`.
    """
    last = name.rsplit("@", 1)[-1].rsplit("/", 1)[-1]
    return last.removesuffix(".py")


def digest(content: Any) -> str:
    """Identity of JSON-like content: 12 hex digits."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _run(
    path: str, view: int, log: EvalLog, summaries: list[EvalSampleSummary], names: Names
) -> Run:
    spec = log.eval
    metadata = spec.metadata or {}
    tallies = [tally for sample in summaries if (tally := tally_of(sample))]
    defense = _defense(log, tallies)
    judging = judging_of(summaries, names)
    roles = {
        role: bound if isinstance(bound, list) else [bound]
        for role, bound in (spec.model_roles or {}).items()
    }
    guards = {
        role: [_model_text(each) for each in bound]
        for role, bound in roles.items()
        if role != GRADER
    }
    judges = dict.fromkeys(name for facts in judging.values() for name in facts.get("judges", ()))
    exact = [facts["scorer"] for facts in judging.values() if "scorer" in facts]
    epochs = spec.config.epochs or 1
    return Run(
        path=path,
        view=view,
        column=Column(
            benchmark=spec.task_display_name or bare(spec.task),
            title=str(metadata.get("benchmark", bare(spec.task))),
            variant=str(metadata.get("variant", "")),
            version=str(spec.task_version),
            data=_data_digest(metadata.get("data")),
            settings=_text(_settings(log)),
            judging=_text(judging | _grader_settings(roles.get(GRADER, []), judging)),
        ),
        target=spec.model,
        target_settings=_text(_given(spec.model_args)),
        defense=defense,
        defense_args=_text(_given(spec.solver_args_passed or {})),
        guards=_text(guards) if defense != "none" else "",
        judge=", ".join(judges or exact),
        note=str(metadata.get("note", "")),
        created=str(spec.created),
        identity=(spec.task_id, spec.eval_id),
        headline=_headline(log, summaries, names),
        ranges=_ranges(log),
        reduced=_reduced(log, names) if epochs > 1 else {},
        approximations=tuple(
            dict.fromkeys(each for tally in tallies for each in tally["approximations"])
        ),
        overhead_gap="" if tallies else "its scores carry no tally of calls (foreign scorers)",
        provenance=_given(
            {
                **spec.packages,
                "commit": spec.revision.commit if spec.revision else None,
                "created": str(spec.created),
            }
        ),
    )


def _check_scored(rows: list[Row]) -> None:
    measures = {name for row in rows for name in row if "." in name}
    if any(not math.isnan(row.get(name, math.nan)) for row in rows for name in measures):
        return
    reasons: dict[str, int] = {}
    for row in rows:
        for reason in set(row.get("unscored", {}).values()) or {row["error"] or "no score"}:
            reasons[reason] = reasons.get(reason, 0) + 1
    listed = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    raise LeftOut(f"failed: nothing of {len(rows)} answers was scored ({listed})")


def _defense(log: EvalLog, tallies: list[dict[str, Any]]) -> str:
    """What ran: the samples' own record first, for a solver may have any name."""
    recorded = {str(tally["defense"]) for tally in tallies} - {"none"}
    if len(recorded) > 1:
        raise LeftOut(f"its samples name several defenses: {', '.join(sorted(recorded))}")
    if recorded:
        return recorded.pop()
    solver = bare(log.eval.solver) if log.eval.solver else "none"
    return "none" if solver == "generate" else solver


def _settings(log: EvalLog) -> dict[str, Any]:
    spec = log.eval
    metadata = spec.metadata or {}
    settings = {name: value for name, value in spec.task_args.items() if name not in _PLACES}
    settings |= {
        name: {key: value for key, value in noted.items() if key != "origin"}
        if isinstance(noted := metadata[name], dict)
        else noted
        for name in _CHOICES
        if name in metadata
    }
    config = log.plan.config.merge(spec.model_generate_config).model_dump()
    settings |= {name: config[name] for name in _SAMPLING}
    if (spec.config.epochs or 1) > 1:
        settings |= {"epochs": spec.config.epochs, "reducer": spec.config.epochs_reducer}
    return _given(settings)


def _data_digest(data: Any) -> str:
    """Digest of contents alone: the same files are the same data wherever they lie."""
    if not isinstance(data, dict):
        return digest(data)
    content = {name: value for name, value in data.items() if name != "origin"}
    if isinstance(content.get("files"), dict):
        content["files"] = sorted(content["files"].values())
    return digest(content)


def _headline(log: EvalLog, summaries: list[EvalSampleSummary], names: Names) -> str:
    headline = log.eval.headline_metric
    if headline is not None and headline.scorer:
        name = names.get(headline.scorer, headline.scorer)
        return f"{name}.{headline.score or 'value'}"
    first = next((sample.scores for sample in summaries if sample.scores), {})
    return next(
        (f"{names.get(n, n)}.{key}" for n, score in first.items() for key in values_by_key(score)),
        "",
    )


def _ranges(log: EvalLog) -> dict[str, float]:
    """Highest values, from the options of the scorers' `coverage` metric."""
    ranges: dict[str, float] = {}
    for scorer in log.eval.scorers or []:
        metrics = scorer.metrics if isinstance(scorer.metrics, list) else []
        for metric in metrics:
            if isinstance(metric, dict) or bare(metric.name) != "coverage":
                continue
            for key, highest in (metric.options or {}).items():
                ranges[f"{bare(scorer.name)}.{key}"] = float(highest)
    return ranges


def _reduced(log: EvalLog, names: Names) -> dict[str, dict[str, float]]:
    """Inspect's own reduction of several epochs, by measure and sample."""
    reduced: dict[str, dict[str, float]] = {}
    for reduction in log.reductions or []:
        if reduction.scorer not in names:
            continue
        for score in reduction.samples:
            for key, value in values_by_key(score).items():
                measure = column_name(names[reduction.scorer], key, names)
                reduced.setdefault(measure, {})[str(score.sample_id)] = value
    return reduced


def _model_text(model: ModelConfig) -> str:
    """A model with what was set: a base and its adapter are two guards, not one."""
    settings = _model_settings(model)
    return f"{model.model} {_text(settings)}" if settings else model.model


def _model_settings(model: ModelConfig) -> dict[str, Any]:
    config = model.config.model_dump()
    return _given({**model.args, **{name: config[name] for name in _SAMPLING}})


def _grader_settings(graders: list[ModelConfig], judging: Judging) -> Judging:
    """Arguments of the judges, where the log says them (it need not, if it was judged again)."""
    named = {name for facts in judging.values() for name in facts.get("judges", ())}
    settings = {each.model: _model_settings(each) for each in graders if each.model in named}
    known = {name: each for name, each in settings.items() if each}
    return {"graders": known} if known else {}


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, default=str) if values else ""
