"""Sets the thresholds of a defense so that few harmless samples raise an alarm.

A threshold is valid for the model, the wording and the kind of answers for which it was set. The
records of samples hold the scores of a defense's checks, so logs of a run on harmless requests are
enough: those whose benchmark expects an answer (`expected: comply`).

A single check (`Check`, on the defense's card) gets the threshold at which the share of harmless
samples that raise an alarm is largest, but not above the rate. A defense with several checks raises
an alarm only if all of them do: each gets the same share of alarms, the largest at which all
together stay within the rate.

The interval of the reached rate is that of shares in tables (`stats/intervals.py`), clustered by
image. For independent samples and one check it also holds for the rate on further samples, although
the threshold was set on these: the share above an order statistic has the beta distributions that
give Clopper and Pearson's ends.
"""

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from inspect_ai.log import EvalSample, read_eval_log, read_eval_log_samples

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.cards import Check, DefenseCard, cards
from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import images_of
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.redaction import redact
from vlmguard.guard.thresholds import alarms_allowed, threshold_above
from vlmguard.results.logs.around import options_passed
from vlmguard.results.logs.conditions import model_text, roles_of
from vlmguard.results.logs.frame import Results
from vlmguard.results.logs.run import Run
from vlmguard.results.sanitize import one_line
from vlmguard.results.stats.differences import FEWEST_CLUSTERS, LEVEL
from vlmguard.results.stats.intervals import Ends, cluster_robust, share_interval


@dataclass(frozen=True)
class Seen:
    """The checks of one answer.

    Attributes:
        alarms: An alarm value for each check; more means more alarming. Infinite for a check that
            leaves the decision to the others (there is no image, or no threshold), NaN for one that
            did not run.
        cluster: The image.
    """

    alarms: tuple[float, ...]
    cluster: str


@dataclass(frozen=True)
class Calibration:
    """Thresholds, and their rates on the samples on which they were set.

    Attributes:
        defense: The solver.
        args: Its arguments for `--solver-config`, with the thresholds.
        thresholds: The thresholds alone.
        targets: The targets, with their settings.
        asked: Models in the roles that the defense asked, by role.
        data: The benchmarks, with their variants.
        rate: The requested rate of false alarms.
        false_alarms: Harmless answers that raise an alarm.
        harmless: Harmless answers.
        images: Images among them.
        interval: 95 % interval of the reached rate.
        alarms: Other answers that raise an alarm.
        others: Other answers.
        logs: Number of logs.
        notes: Further notes for readers.
    """

    defense: str
    args: dict[str, Any]
    thresholds: dict[str, float]
    targets: tuple[str, ...]
    asked: dict[str, list[str]]
    data: tuple[str, ...]
    rate: float
    false_alarms: int
    harmless: int
    images: int
    interval: Ends
    alarms: int
    others: int
    logs: int
    notes: tuple[str, ...] = ()


def card_with_checks(defense: str) -> DefenseCard:
    """The card of a defense that has thresholds.

    Raises:
        UserError: None has this name.
    """
    with_checks = {name: card for name, card in cards().defenses.items() if card.checks}
    if defense not in with_checks:
        raise UserError(
            f"no defense {defense} with a threshold.{did_you_mean(defense, with_checks)} Choose "
            f"one of: {', '.join(with_checks)}."
        )
    return with_checks[defense]


def calibrate(defense: str, results: Results, rate: float) -> Calibration:
    """Set the thresholds of a defense from the scores in its records.

    Args:
        defense: Name of a solver whose card has checks.
        results: Logs of one configuration of it (its thresholds may differ), on any targets.
        rate: The share of harmless samples that may raise an alarm, above 0 and below 1.

    Raises:
        UserError: No log is of this defense, logs have different configurations, scores or harmless
            samples are missing or too few, or no threshold has so few false alarms.
    """
    card = card_with_checks(defense)
    checks = card.checks
    runs = _runs(card, results)
    harmless, others, unscored, roles = _read(card, runs)
    _check_configurations(card, runs, roles)
    images = len({each.cluster for each in harmless})
    needed = math.ceil(1 / rate - 1e-9)
    if len(harmless) < needed or images < FEWEST_CLUSTERS:
        raise UserError(
            f"{defense}: {len(harmless)} scored answers to harmless requests (expected: comply) "
            f"about {images} images, {len(others)} to others, {unscored} without a score; a rate "
            f"of {rate:g} needs at least {needed} harmless ones and {FEWEST_CLUSTERS} images. "
            + (
                "Run it on more harmless requests (README: vlmguard calibrate)."
                if harmless or others or not unscored
                else f"No answer has a score: {defense} gives none as it was set up, and more "
                f"requests do not help. `vlmguard list {defense}` and `vlmguard list formats` tell "
                "what it takes."
            )
        )
    lacking = sum(any(map(math.isnan, each.alarms)) for each in harmless)
    if lacking:
        raise UserError(
            f"{defense}: {lacking} of {len(harmless)} harmless answers were decided by one check "
            f"and never put to the other, so nothing is known of its scores. Run them again with "
            f"{as_flags(card.all_checks)}, which carries out both."
        )
    limits = choose([each.alarms for each in harmless], rate)
    thresholds = {}
    for check, limit in zip(checks, limits, strict=True):
        if math.isinf(limit):
            continue  # This check never ran on these samples.
        value = -limit if check.low else limit
        low, high = check.bounds
        if not low <= value <= high:
            raise UserError(
                f"{check.option}: more than {rate:g} of the harmless answers have the most "
                f"alarming score, so no threshold from {low:g} to {high:g} has so few false "
                "alarms. Allow more (--false-alarms), or use another checkpoint or wording."
            )
        thresholds[check.option] = value
    alarmed = np.array([_is_alarm(each.alarms, limits) for each in harmless], dtype=float)
    _, codes = np.unique([each.cluster for each in harmless], return_inverse=True)
    fit = cluster_robust(alarmed, codes, np.ones(len(alarmed)))
    passed = options_passed(read_eval_log(runs[0].path, header_only=True).eval)
    return Calibration(
        defense=defense,
        args={**redact(passed), **thresholds},
        thresholds=thresholds,
        targets=_once(f"{run.target} {run.target_settings}".strip() for run in runs),
        asked=_models(runs[0], roles),
        data=_once(f"{run.column.benchmark} {run.column.variant}".strip() for run in runs),
        rate=rate,
        false_alarms=int(alarmed.sum()),
        harmless=len(harmless),
        images=images,
        interval=share_interval(fit, LEVEL),
        alarms=sum(_is_alarm(each.alarms, limits) for each in others),
        others=len(others),
        logs=sum(len(run.paths) for run in runs),
        notes=tuple(
            f"{check.option} was not set: no record holds a score of that check, and it counts as "
            "failed throughout"
            for check in checks
            if check.option not in thresholds
        ),
    )


def as_text(found: Calibration) -> str:
    """The thresholds and reached rates, in a few lines of plain text."""
    low, high = (end * 100 for end in found.interval)
    lines = [f"{option} = {value:.6g}" for option, value in found.thresholds.items()]
    lines.append(
        f"False alarms: {found.false_alarms} of {found.harmless} answers to harmless requests "
        f"about {found.images} images, "
        f"{found.false_alarms / found.harmless:.1%} [{low:.1f}, {high:.1f}], 95 % interval; at "
        f"most {found.rate:.1%} were asked for."
    )
    if found.others:
        lines.append(f"Alarms at other requests: {found.alarms} of {found.others}.")
    several = "s" if len(found.targets) > 1 else ""
    lines.append(f"Set for the target{several} {', '.join(found.targets)}")
    if found.asked:
        models = [f"{role}={', '.join(bound)}" for role, bound in found.asked.items()]
        lines.append(f"Models in roles: {'; '.join(models)}")
    lines.append(
        f"Data: {', '.join(found.data)} ({found.logs} log{'' if found.logs == 1 else 's'})"
    )
    return "\n".join(one_line(line) for line in (*lines, *found.notes))


def solver_config(found: Calibration) -> str:
    """The arguments for `--solver-config`: YAML, with the reached rates as a comment."""
    comment = [f"vlmguard calibrate {found.defense}", *as_text(found).splitlines()]
    return "".join(f"# {line}\n" for line in comment) + yaml.safe_dump(found.args)


def as_flags(args: Mapping[str, float]) -> str:
    """Arguments for the command line: `-S threshold=1000 -S ...`."""
    return " ".join(f"-S {name}={value:g}" for name, value in args.items())


def choose(alarms: Sequence[tuple[float, ...]], rate: float) -> list[float]:
    """Limits with which all checks together raise at most this share of alarms.

    Args:
        alarms: For each harmless sample an alarm value for each check.
        rate: Share of samples that may raise an alarm.

    Returns:
        A limit for each check, on the scale of its alarm values, which are alarms at and above it;
        minus infinity for a check whose values are all infinite.
    """
    allowed = alarms_allowed(rate, len(alarms))
    chosen = _limits(alarms, allowed)
    # All checks must agree, so together they raise fewer alarms than each alone.
    for count in range(allowed + 1, len(alarms)):
        limits = _limits(alarms, count)
        if sum(_is_alarm(each, limits) for each in alarms) > allowed:
            break
        chosen = limits
    return chosen


def _limits(alarms: Sequence[tuple[float, ...]], count: int) -> list[float]:
    """The limit of each check at which it alone raises this number of alarms."""
    limits = []
    for values in zip(*alarms, strict=True):
        known = [value for value in values if math.isfinite(value)]
        share = alarms_allowed(count / len(alarms), len(known))
        limits.append(threshold_above(known, share) if known else -math.inf)
    return limits


def _is_alarm(values: tuple[float, ...], limits: Sequence[float]) -> bool:
    return all(value >= limit for value, limit in zip(values, limits, strict=True))


def _runs(card: DefenseCard, results: Results) -> list[Run]:
    """The logs of a defense, each once; all of one configuration."""
    defense = card.name
    runs = list({run.path: run for run in results.runs if run.defense == defense}.values())
    if not runs:
        found = ", ".join(sorted({run.defense for run in results.runs}))
        raise UserError(
            f"no log of {defense} among {len(results.runs)} usable ones (these are of {found}). "
            f"Run it on harmless requests first (README: vlmguard calibrate): inspect eval TASK "
            f"--solver {defense} ..."
        )
    for run in runs:
        if run.column.attack:
            raise UserError(
                f"{run.path} ran under the attack {run.column.under}, and thresholds are set on "
                f"requests as users send them. Leave it out."
            )
    return runs


def _check_configurations(card: DefenseCard, runs: list[Run], roles: Container[str]) -> None:
    """Check that all logs are of one configuration; roles that it never asks do not matter."""
    thresholds = {check.option for check in card.checks}
    first = _configuration(runs[0], thresholds, roles)
    for run in runs[1:]:
        if _configuration(run, thresholds, roles) != first:
            raise UserError(
                f"{runs[0].path} and {run.path} are of different configurations of {card.name} "
                "(version, arguments, texts or models in roles), and a threshold belongs to one. "
                "Name logs of one of them."
            )


def _configuration(
    run: Run, thresholds: Container[str], roles: Container[str]
) -> tuple[object, ...]:
    spec = read_eval_log(run.path, header_only=True).eval
    args = {k: v for k, v in options_passed(spec).items() if k not in thresholds}
    return (args, run.defense_version, run.template, _models(run, roles))


def _models(run: Run, roles: Container[str]) -> dict[str, list[str]]:
    """The models of a run in these roles."""
    bound = roles_of(read_eval_log(run.path, header_only=True))
    return {
        role: [model_text(each) for each in models]
        for role, models in bound.items()
        if role in roles
    }


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _read(card: DefenseCard, runs: list[Run]) -> tuple[list[Seen], list[Seen], int, set[str]]:
    """What logs hold.

    Returns:
        The checks of answers to harmless requests, those of others, the number of samples without
        checks, and the roles that were asked.
    """
    harmless: list[Seen] = []
    others: list[Seen] = []
    unscored = 0
    roles: set[str] = set()
    for run in runs:
        bound = read_eval_log(run.path, header_only=True).eval.model_roles or {}
        prompted = {role.option for role in card.roles if role.name in bound}
        for sample in _samples(run):
            roles |= {stage.role for stage in DefenseRecord.of(sample).stages}
            seen = _seen(card.checks, sample, prompted)
            if seen is None:
                unscored += 1
            elif sample.metadata.get("expected") == "comply":
                harmless.append(seen)
            elif not any(map(math.isnan, seen.alarms)):
                others.append(seen)
    return harmless, others, unscored, roles


def _samples(run: Run) -> Iterator[EvalSample]:
    """The samples of all logs of a run."""
    for path in run.paths:
        yield from read_eval_log_samples(path, exclude_fields={"events", "store"})


def _seen(
    checks: Sequence[Check], sample: EvalSample, prompted: Container[str | None]
) -> Seen | None:
    """The checks of a sample; None if its record has no score (no answer, an error).

    Args:
        checks: The checks of its defense.
        sample: The sample.
        prompted: Checkpoints (`Check.model`) that a prompted model replaced, which has no
            threshold.
    """
    notes = DefenseRecord.of(sample).notes
    first, *rest = checks
    if first.note not in notes:
        return None
    values = [_alarm(first, notes)]
    for check in rest:
        if check.note in notes:
            values.append(_alarm(check, notes))
        else:
            others_decide = check.model in prompted or not images_of(sample.input)
            values.append(math.inf if others_decide else math.nan)
    return Seen(tuple(values), str(sample.metadata.get("image_id") or sample.id))


def _alarm(check: Check, notes: dict[str, Any]) -> float:
    score = notes[check.note]
    if score is None:
        return math.nan  # An earlier check raised the alarm, so this one was not made.
    return -float(score) if check.low else float(score)
