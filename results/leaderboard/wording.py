"""Names of rows and groups in tables, and notes for their reader.

Names are as short as they can be while they stay distinct.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Final

from vlmguard.guard.cards import cards
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL
from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.measures import Measure
from vlmguard.results.logs.read import Run
from vlmguard.results.sanitize import clean

# The folders of a path, without its last part. `owner/name` is a hub id, not a path.
_FOLDERS: Final = re.compile(
    r"(?<![\w./~-])(?:(?:~|\.{1,2})?/(?:[^/,\s]{1,255}/)*|(?:[^/,=:\s]{1,255}/){2,})(?=[^/,\s])"
)
_DIGITS: Final = re.compile(r"\b\d+\.\d{5,}")
_BETTER: Final = {1: "more", -1: "less", 0: "neither more nor less"}


@dataclass(frozen=True)
class Label:
    """Names of target and defense in a row."""

    target: str
    defense: str


def label_rows(runs: list[Run]) -> dict[Run, Label]:
    """Labels of all runs of a table, as short as they can be while they stay distinct.

    Paths in settings are cut to their last part and numbers to four digits, unless that makes two
    labels equal.
    """
    labels, whole = _labels(runs, _briefer), _labels(runs, brief)
    return labels if len(set(labels.values())) == len(set(whole.values())) else whole


def _labels(runs: list[Run], shown: Callable[[str], str]) -> dict[Run, Label]:
    settings: dict[str, set[str]] = defaultdict(set)
    guards: dict[tuple[str, str], set[str]] = defaultdict(set)
    templates: dict[tuple[str, str], set[str]] = defaultdict(set)
    versions: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        settings[run.target].add(run.target_settings)
        guards[run.defense, run.defense_args].add(run.guards)
        templates[run.defense, run.defense_args].add(run.template)
        versions[run.defense].add(run.defense_version)
    labels = {}
    for run in runs:
        target = run.target
        if len(settings[target]) > 1 and run.target_settings:
            target += f" ({shown(run.target_settings)})"
        defense = UNDEFENDED_LABEL if run.defense == "none" else run.defense
        if run.defense_args:
            defense += f" ({shown(run.defense_args)})"
        if len(guards[run.defense, run.defense_args]) > 1 and run.guards:
            defense += f" [{shown(run.guards)}]"
        if len(templates[run.defense, run.defense_args]) > 1 and run.template:
            defense += f" template {run.template}"
        if len(versions[run.defense]) > 1:
            defense += f" version {run.defense_version or 'not noted'}"
        labels[run] = Label(target, defense)
    return labels


def heading(column: Column) -> str:
    """A benchmark with its variant, and the attack that it is under."""
    return column.heading


def templates(column: Column) -> str:
    """Hashes of templates and phrases, e.g. `judge 1a2b3c`; tables of one judge may differ."""
    facts = json.loads(column.judging) if column.judging else {}
    named = {
        scorer: found.get("judge_template") or found.get("keywords_hash")
        for scorer, found in facts.items()
    }
    return ", ".join(f"{scorer} {digest}" for scorer, digest in named.items() if digest)


def set_apart(column: Column, columns: Collection[Column]) -> str:
    """What distinguishes a group from others with the same heading; empty if there are none."""
    rivals = [
        asdict(each) for each in columns if heading(each) == heading(column) and each != column
    ]
    own = asdict(column)
    return "; ".join(
        f"{name} {brief(unlike(own[name], [each[name] for each in rivals])) or _all_of(own[name])}"
        for name in ("version", "data", "settings", "judging", "attack", "benchmark")
        if any(each[name] != own[name] for each in rivals)
    )


def _all_of(text: str) -> str:
    """What a group has if others have that and more: its judges are named, and not called none."""
    return f"{brief(text)} alone" if text else "none"


def unlike(text: str, others: list[str]) -> str:
    """The JSON settings that at least one other text lacks or has with another value.

    Any other text is returned unchanged.
    """
    own = _settings(text)
    if own is None:
        return text
    rivals = [_settings(each) or {} for each in others]
    kept: dict[str, object] = {}
    for name, value in own.items():
        theirs = [rival.get(name) for rival in rivals]
        if all(each == value for each in theirs):
            continue
        inner = [each for each in theirs if isinstance(each, dict)]
        if isinstance(value, dict) and len(inner) == len(theirs):
            # Nested settings are also reduced to those that differ.
            some = {n: v for n, v in value.items() if any(each.get(n) != v for each in inner)}
            kept |= {name: some} if some else {}
        else:
            kept[name] = value
    return json.dumps(kept) if kept else ""


def brief(text: str) -> str:
    """JSON settings as `name=value`."""
    values = _settings(text)
    if values is None:
        return text
    return ", ".join(f"{name}={_plain(value)}" for name, value in values.items())


def on_samples(sizes: Collection[int], shared: int, intersect: bool) -> str:
    """Note on a group whose runs hold different samples.

    Args:
        sizes: Number of samples of each run.
        shared: Number of samples that all runs have.
        intersect: Whether only these are used.
    """
    if not shared:
        return "runs share no sample: means are not comparable"
    if intersect:
        return f"only the {shared} samples that all runs share"
    return (
        f"runs hold different samples ({', '.join(map(str, sorted(set(sizes))))}; {shared} shared "
        f"by all): means are not comparable; --intersect uses the shared ones"
    )


def on_measures(measures: list[Measure]) -> list[str]:
    """Notes on how measures are read."""
    notes = []
    if any(measure.macro for measure in measures):
        notes.append("macro: the mean over categories, each counting alike")
    unbounded = [measure.column for measure in measures if measure.unbounded]
    if unbounded:
        notes.append(
            f"range not declared: {', '.join(unbounded)} (no percentages, no worst case); to "
            f'declare it: Task(metadata={{"measures": {{"NAME": {{"max": ...}}}}}})'
        )
    names = {measure.name for measure in measures}
    said = [each for of in cards().measures.values() for each in of.items()]
    notes += [measure.note for name, measure in said if measure.note and name in names]
    guessed = [measure for measure in measures if measure.guessed]
    if guessed:
        listed = ", ".join(
            f"{measure.column} ({_BETTER[measure.better]} is better)" for measure in guessed
        )
        notes.append(
            f"guessed from the name: {listed}; to declare it: "
            f'Task(metadata={{"measures": {{"NAME": {{"lower_is_better": ...}}}}}})'
        )
    return notes


def on_run(run: Run) -> list[str]:
    """Notes on a single run."""
    said = [*run.declared.remarks, *run.remarks]
    return [_approximate(run), *said] if run.approximations else said


def on_approximations(labels: Mapping[Run, Label]) -> list[str]:
    """Notes above all tables: a line for each defense that deviates from its paper, and how."""
    said = [
        clean(f"{label.defense}: {_approximate(run)}")
        for run, label in labels.items()
        if run.approximations
    ]
    return list(dict.fromkeys(said))


def _approximate(run: Run) -> str:
    return f"an approximation of the defense: {', '.join(run.approximations)}"


def _briefer(text: str) -> str:
    """The same with paths cut to their last part and numbers to four digits."""
    return _DIGITS.sub(lambda number: f"{float(number[0]):.4g}", _FOLDERS.sub("", brief(text)))


def _settings(text: str) -> dict[str, object] | None:
    """JSON settings; None for any other text."""
    try:
        values = json.loads(text)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "+".join(map(_plain, value))
    if isinstance(value, dict):
        return " ".join(f"{name}:{_plain(each)}" for name, each in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)
