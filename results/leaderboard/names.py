"""Names of rows and groups, as short as they can be told apart."""

import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL
from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.read import Run

# Of a path the folders above its last part. `owner/name` is a hub id and none; more parts are.
_FOLDERS: Final = re.compile(
    r"(?<![\w./~-])(?:(?:~|\.{1,2})?/(?:[^/,\s]{1,255}/)*|(?:[^/,=:\s]{1,255}/){2,})(?=[^/,\s])"
)
_DIGITS: Final = re.compile(r"\b\d+\.\d{5,}")


def label_rows(runs: list[Run]) -> list[tuple[str, str]]:
    """Labels of target and defense for each run, as short as they can be told apart.

    Of a path among the settings the last part is shown, and of a number four
    digits, unless two labels would become equal thereby.

    Args:
        runs: All runs of a table.

    Returns:
        Target and defense for each run.
    """
    labels, whole = _labels(runs, _briefer), _labels(runs, brief)
    return labels if len(set(labels)) == len(set(whole)) else whole


def _labels(runs: list[Run], shown: Callable[[str], str]) -> list[tuple[str, str]]:
    settings: dict[str, set[str]] = defaultdict(set)
    guards: dict[tuple[str, str], set[str]] = defaultdict(set)
    templates: dict[tuple[str, str], set[str]] = defaultdict(set)
    versions: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        settings[run.target].add(run.target_settings)
        guards[run.defense, run.defense_args].add(run.guards)
        templates[run.defense, run.defense_args].add(run.template)
        versions[run.defense].add(run.defense_version)
    labels = []
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
        labels.append((target, defense))
    return labels


def heading(column: Column) -> str:
    """A benchmark with its variant."""
    return f"{column.title} {column.variant}".strip()


def templates(column: Column) -> str:
    """E.g. `judge 1a2b3c`: two tables under one judge may still differ in these."""
    facts = json.loads(column.judging) if column.judging else {}
    named = {
        scorer: found.get("judge_template") or found.get("keywords_hash")
        for scorer, found in facts.items()
    }
    return ", ".join(f"{scorer} {digest}" for scorer, digest in named.items() if digest)


def set_apart(column: Column, columns: list[Column]) -> str:
    """What sets a group apart from its namesakes; empty where there are none."""
    rivals = [
        asdict(each) for each in columns if heading(each) == heading(column) and each != column
    ]
    own = asdict(column)
    return "; ".join(
        f"{name} {brief(unlike(own[name], [each[name] for each in rivals])) or 'none'}"
        for name in ("version", "data", "settings", "judging", "benchmark")
        if any(each[name] != own[name] for each in rivals)
    )


def unlike(text: str, others: list[str]) -> str:
    """Of JSON settings those in which others differ; other text as it is.

    Args:
        text: JSON settings, or any text.
        others: What it stands beside.

    Returns:
        The settings that at least one of the others has otherwise, or lacks.
    """
    own = _settings(text)
    if own is None:
        return text
    rivals = [_settings(each) or {} for each in others]
    kept: dict[str, object] = {}
    for name, value in own.items():
        theirs = [rival.get(name) for rival in rivals]
        inner = [each for each in theirs if isinstance(each, dict)]
        if isinstance(value, dict) and len(inner) == len(theirs):
            some = {n: v for n, v in value.items() if any(each.get(n) != v for each in inner)}
            kept |= {name: some} if some else {}
        elif any(each != value for each in theirs):
            kept[name] = value
    return json.dumps(kept) if kept else ""


def brief(text: str) -> str:
    """JSON settings as `name=value`, readable."""
    values = _settings(text)
    if values is None:
        return text
    return ", ".join(f"{name}={_plain(value)}" for name, value in values.items())


def _briefer(text: str) -> str:
    """The same with the last part of each path, and four digits of each number."""
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
