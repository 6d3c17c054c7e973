"""Reading one Inspect log: what was run, and what each answer scored and cost.

Only headers and sample summaries are read, never messages or events, so that
hundreds of logs stay cheap. Everything else in `results` starts from here.
"""

import hashlib
import json
import math
import zipfile
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
from inspect_ai.scorer import Score, value_to_float

from vlmguard.errors import UserError

GENERAL: Final = ("judge", "refusal")
"""Scorers that every task offers; all others are a benchmark's own."""

GRADER: Final = "grader"
"""The role of the judge: the only one that is no part of the defense."""

# Arguments that say where things lie, or that show in the samples' scores by hash.
_PLACES: Final = {
    "data_dir",
    "revision",
    "judge",
    "judge_template",
    "keywords",
    "prompt_file",
    "font",
}
# What tasks note about their data beside its digest.
_CHOICES: Final = ("split", "drawn", "prompt", "keywords")
# What scorers note about how they judged.
_JUDGING: Final[tuple[str, ...]] = ("judges", "judge_template", "threshold", "keywords_hash")
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
_UNREADABLE: Final = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
_GRADE: Final = value_to_float()


class LeftOut(Exception):
    """A log that no table can use; the message is the reason."""


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
    """One usable log.

    Attributes:
        path: Where it lies.
        column: What it can be compared with.
        target: The evaluated model.
        target_settings: Its arguments, as text.
        defense: Name of the defense without package; `none` without one.
        defense_args: Arguments that were passed to it, as text.
        guards: Models bound to roles other than the grader's, as text.
        judge: Judges' names; empty where nothing was judged.
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
    column: Column
    target: str
    target_settings: str
    defense: str
    defense_args: str
    guards: str
    judge: str
    created: str
    identity: tuple[str, str]
    headline: str
    ranges: dict[str, float]
    reduced: dict[str, dict[str, float]] = field(default_factory=dict)
    approximations: tuple[str, ...] = ()
    overhead_gap: str = ""
    provenance: dict[str, str] = field(default_factory=dict)


Row = dict[str, Any]
"""One answer: sample, cluster, category, scores by `scorer.key`, tally."""


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


def read_log(path: str) -> tuple[Run, list[Row]]:
    """Read a log's header and sample summaries.

    Args:
        path: The log.

    Returns:
        The run, and a row for each answer.

    Raises:
        LeftOut: The log is corrupt, unfinished, of a foreign task, without
            samples, or nothing in it was scored.
    """
    try:
        log = read_eval_log(path, header_only=True)
        summaries = read_eval_log_sample_summaries(path) if log.status == "success" else []
        reduced = _reduced(log) if (log.eval.config.epochs or 1) > 1 else {}
    except _UNREADABLE as error:
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
    rows = [_row(sample) for sample in summaries]
    _check_scored(rows)
    return _run(path, log, summaries, reduced), rows


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
    path: str,
    log: EvalLog,
    summaries: list[EvalSampleSummary],
    reduced: dict[str, dict[str, float]],
) -> Run:
    spec = log.eval
    metadata = spec.metadata or {}
    tallies = [tally for sample in summaries if (tally := _tally(sample))]
    defense = _defense(log, tallies)
    judging = _judging(summaries)
    roles = spec.model_roles or {}
    guards = {
        role: [each.model for each in (bound if isinstance(bound, list) else [bound])]
        for role, bound in roles.items()
        if role != GRADER
    }
    judges = dict.fromkeys(name for facts in judging.values() for name in facts.get("judges", ()))
    return Run(
        path=path,
        column=Column(
            benchmark=spec.task_display_name or bare(spec.task),
            title=str(metadata.get("benchmark", bare(spec.task))),
            variant=str(metadata.get("variant", "")),
            version=str(spec.task_version),
            data=_data_digest(metadata.get("data")),
            settings=_text(_settings(log)),
            judging=_text(judging),
        ),
        target=spec.model,
        target_settings=_text(_given(spec.model_args)),
        defense=defense,
        defense_args=_text(_given(spec.solver_args_passed or {})),
        guards=_text(guards) if defense != "none" else "",
        judge=", ".join(judges),
        created=str(spec.created),
        identity=(spec.task_id, spec.eval_id),
        headline=_headline(log, summaries),
        ranges=_ranges(log),
        reduced=reduced,
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


def _row(sample: EvalSampleSummary) -> Row:
    metadata = sample.metadata
    row: Row = {
        "sample": str(sample.id),
        "epoch": sample.epoch,
        # A sample without an image is a cluster of its own.
        "cluster": str(metadata.get("image_id") or sample.id),
        "category": str(metadata.get("category") or ""),
        "expected": str(metadata.get("expected") or ""),
        "error": sample.error or "",
    }
    reasons: dict[str, str] = {}
    for scorer, score in (sample.scores or {}).items():
        for key, value in _values(score).items():
            row[f"{scorer}.{key}"] = value
        unscored = (score.metadata or {}).get("unscored", {})
        reasons |= {f"{scorer}.{key}": str(reason) for key, reason in unscored.items()}
    if reasons:
        row["unscored"] = reasons
    if (refused := row.get("refusal.refused")) is not None:
        row["over_refusal" if row["expected"] == "comply" else "dsr"] = refused
    if tally := _tally(sample):
        row |= {name: tally[name] for name in ("calls", "target_calls", "seconds", "triggered")}
        row["failure"] = tally["failure"] or ""
        row["input_tokens"] = tally["input_tokens"]
        row["output_tokens"] = tally["output_tokens"]
    row["cost"] = _cost(sample)
    return row


def _values(score: Score) -> dict[str, float]:
    """Numbers of a score by key; a scalar's key is `value`."""
    pairs = score.value if isinstance(score.value, dict) else {"value": score.value}
    return {
        key: math.nan if value is None else float(_GRADE(value))
        for key, value in pairs.items()
        if not isinstance(value, list | dict)
    }


def _tally(sample: EvalSampleSummary) -> dict[str, Any] | None:
    for score in (sample.scores or {}).values():
        tally = (score.metadata or {}).get("defense")
        if isinstance(tally, dict):
            return tally
    return None


def _cost(sample: EvalSampleSummary) -> float | None:
    """Money for target and guard together: everything less the judge's share."""
    prices = [usage.total_cost for usage in sample.model_usage.values()]
    judged = sample.role_usage.get(GRADER)
    known = [price for price in prices if price is not None]
    if not known or len(known) < len(prices):
        return None
    return sum(known) - ((judged.total_cost or 0.0) if judged else 0.0)


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


def _judging(summaries: list[EvalSampleSummary]) -> dict[str, dict[str, Any]]:
    """Per scorer: judges, templates, threshold, phrases; the same for all samples."""
    found: dict[str, dict[str, Any]] = {}
    for sample in summaries:
        for scorer, score in (sample.scores or {}).items():
            metadata = score.metadata or {}
            facts = {name: metadata[name] for name in _JUDGING if name in metadata}
            if found.setdefault(scorer, facts) != facts:
                raise LeftOut(f"its samples were scored by {scorer} in different ways")
    return dict(sorted(found.items()))


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


def _headline(log: EvalLog, summaries: list[EvalSampleSummary]) -> str:
    headline = log.eval.headline_metric
    if headline is not None and headline.scorer:
        return f"{headline.scorer}.{headline.score or 'value'}"
    first = next((sample.scores for sample in summaries if sample.scores), {})
    return next((f"{name}.{key}" for name, score in first.items() for key in _values(score)), "")


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


def _reduced(log: EvalLog) -> dict[str, dict[str, float]]:
    """Inspect's own reduction of several epochs, by measure and sample."""
    reduced: dict[str, dict[str, float]] = {}
    for reduction in log.reductions or []:
        for score in reduction.samples:
            for key, value in _values(score).items():
                measure = f"{reduction.scorer}.{key}"
                reduced.setdefault(measure, {})[str(score.sample_id)] = value
    return reduced


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, default=str) if values else ""
