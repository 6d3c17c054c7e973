"""The work of `vlmguard gate`: check runs against a baseline and report, or write the baseline."""

import os
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import UserError
from vlmguard.guard.redaction import redact_text
from vlmguard.guard.terminal import say_next, shown_path
from vlmguard.results.formats.writing import write_file
from vlmguard.results.gate import report
from vlmguard.results.gate.baseline import (
    Reading,
    Scores,
    read_baseline,
    scores_of,
    write_baseline,
)
from vlmguard.results.gate.comparable import Limits, helped, unfit
from vlmguard.results.gate.compare import Finding, compare, exit_status, provable
from vlmguard.results.gate.matching import Match, match
from vlmguard.results.gate.repeats import with_repeats
from vlmguard.results.leaderboard.red_team_tables import red_team_lines_of
from vlmguard.results.logs.frame import Results
from vlmguard.results.logs.shards import WITH
from vlmguard.results.sanitize import clean

# Logs that are left out for other reasons than these are missing in the comparison.
_ASIDE: Final = ("copy of", "older run", "foreign", "latency", WITH)


def check(
    read: Callable[[], Results],
    baseline: Path,
    limits: Limits,
    strict: bool,
    junit: Path | None,
    summary: Path | None,
) -> int:
    """Compare runs with their baseline, print what was found, and write the reports for CI.

    Whatever makes a comparison impossible becomes a finding too, so that the reports are always
    written.

    Args:
        read: Reads the logs.
        baseline: File of the baseline.
        limits: Tolerances.
        strict: Whether a loss that may be chance is an error.
        junit: Where to write JUnit XML.
        summary: GitHub's step summary, to which the findings are appended.
    """
    attacks: list[str] = []
    pairs: dict[str, tuple[str, str]] = {}
    try:
        before = read_baseline(baseline)
        results = read()
        attacks = red_team_lines_of(results)
        current = scores_of(results)
        _check_names(limits, [scores for scores, _ in current])
        findings = [
            Finding(log, "", "incomparable", reason) for log, reason in _missing(results).items()
        ]
        findings += compare(before, current, limits)
        pairs = _logs(before, current)
    except UserError as error:
        findings = [Finding("gate", "", "incomparable", str(error))]
    except Exception as error:  # Status 1 means a loss, which a failure of the gate itself is not.
        traceback.print_exc()
        message = redact_text(f"{type(error).__name__}: {error}")
        findings = [Finding("gate", "", "incomparable", message)]
    status = reported(findings, strict, junit, summary, attacks)
    worse = [each.run for each in findings if each.status == "worse" and each.run in pairs]
    for run in dict.fromkeys(worse):
        old, new = map(shown_path, pairs[run])
        say_next(f"vlmguard diff {old} {new} --html flips.html")
    if worse:
        say_next("if the loss is meant: the same command with --update")
    return status


def _logs(
    before: list[Scores], current: list[tuple[Scores, Reading]]
) -> dict[str, tuple[str, str]]:
    """The logs of runs then and now, by their labels; a baseline holds only the old log's name."""
    # Of the shards of a run then, nothing tells the folder.
    old = {
        scores.label: scores.provenance.get("log", "")
        for scores in before
        if "shards" not in scores.provenance
    }
    found = {}
    for scores, reading in current:
        if name := old.get(scores.label):
            beside = Path(reading.place).with_name(name)
            found[scores.label] = (str(beside) if beside.exists() else name, reading.place)
    return found


def reported(
    findings: list[Finding],
    strict: bool,
    junit: Path | None,
    summary: Path | None,
    attacks: Sequence[str] = (),
) -> int:
    """Print findings, and write the reports for CI; returns the exit status.

    Args:
        findings: What was found.
        strict: Whether a loss that may be chance is an error.
        junit: Where to write JUnit XML.
        summary: GitHub's step summary, to which the findings are appended.
        attacks: What attacks achieve, a line each.
    """
    findings = list(findings)
    if summary is not None:
        try:
            with summary.open("a", encoding="utf-8") as file:
                file.write(report.summary(findings, exit_status(findings, strict), attacks))
        except OSError as error:
            findings.append(_unwritten(f"{summary}: the step summary cannot be written ({error})"))
    if junit is not None:
        try:
            write_file(junit, report.junit(findings, strict))
        except UserError as error:
            findings.append(_unwritten(str(error)))
    status = exit_status(findings, strict)
    print(report.text(findings, status, attacks))
    return status


def update(results: Results, baseline: Path, limits: Limits) -> list[str]:
    """Put runs into a baseline and keep the others that are in it.

    Args:
        results: The runs.
        baseline: The file; made if it does not exist.
        limits: Tolerances of the gate.

    Returns:
        Lines that say what was added, replaced and kept.

    Raises:
        UserError: A run is unfinished, or the gate would refuse it; nothing was written.
    """
    read = scores_of(results)
    _refuse_unfit(results, read, limits)
    current = with_repeats(results, read)
    before = read_baseline(baseline) if baseline.exists() else []
    matches = match(before, [scores for scores, _, _ in current])
    runs = [run for each in matches if (run := each.new or each.old)]
    write_baseline(baseline, runs)
    tests = sum(len(run.measures) for run in runs if not run.deterministic)
    told = {
        scores.key: [said, *_provable(scores, reading, tests), *_edited(scores)]
        for scores, reading, said in current
    }
    lines = [f"Wrote {baseline}: {len(matches)} runs."]
    for each in matches:
        lines.append(f"  {clean(_came_to(each))}")
        lines += [f"    {clean(line)}" for line in (told[each.new.key] if each.new else [])]
    return lines


def _refuse_unfit(results: Results, read: list[tuple[Scores, Reading]], limits: Limits) -> None:
    rows = helped(read)
    reasons = [f"{log}: {reason}" for log, reason in _missing(results).items()]
    reasons += [
        f"{scores.label}: {text}"
        for scores, reading in read
        for text in unfit(scores, reading, limits, rows)
    ]
    if reasons:
        raise UserError(f"no baseline is written from unusable runs: {'; '.join(reasons)}")


def _came_to(found: Match) -> str:
    """Whether a run was added, replaced or kept."""
    if found.new is None:
        return f"kept: {found.name}"
    if found.old is None:
        return f"added: {found.name}"
    return f"replaced: {found.name}{_difference(found.old, found.new)}"


def _edited(scores: Scores) -> list[str]:
    edited = scores.provenance.get("edited")
    return [f"scores edited by people: {edited}"] if edited else []


def _provable(scores: Scores, reading: Reading, tests: int) -> list[str]:
    """The smallest losses that the gate can prove; nothing for a deterministic baseline."""
    if scores.deterministic:
        return []
    smallest = provable(scores, reading, tests)
    listed = [f"{reading.measures[name].label} {limit}" for name, limit in smallest.items()]
    return [f"smallest provable loss: {', '.join(listed)}"]


def step_summary() -> Path | None:
    """The file of GitHub's step summary, if there is one."""
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(place) if place else None


def _missing(results: Results) -> dict[str, str]:
    return {
        log: reason for log, reason in results.left_out.items() if not reason.startswith(_ASIDE)
    }


def _check_names(limits: Limits, current: list[Scores]) -> None:
    """Refuse tolerances for measures that no run has: they are probably misspelt."""
    known = dict.fromkeys(name for scores in current for name in scores.measures)
    for name in limits.tolerance:
        if name not in known:
            raise UserError(
                f"--tolerance {name}: not measured here.{did_you_mean(name, known)} Known: "
                f"{', '.join(known)}."
            )


def _unwritten(message: str) -> Finding:
    return Finding("gate", "report", "incomparable", message)


def _difference(old: Scores, new: Scores) -> str:
    """What changed from a replaced run to its successor, for the reader."""
    told = []
    if gone := [name for name in old.measures if name not in new.measures]:
        told.append(f"no longer holds {', '.join(gone)}")
    if lost := len(old.samples.keys() - new.samples.keys()):
        told.append(f"no longer holds {lost} of its {len(old.samples)} samples")
    if old.deterministic and not new.deterministic:
        told.append("no longer deterministic: give two runs that agree")
    for what, before, after in zip(
        ("target settings", "arguments", "models"), old.key[1:], new.key[1:], strict=True
    ):
        if before != after:
            told.append(f"{what} {before or 'none'} -> {after or 'none'}")
    return f" ({'; '.join(told)})" if told else ""
