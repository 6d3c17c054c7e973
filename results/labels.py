"""Names of rows and groups, as short as they can be told apart."""

import json
from collections import defaultdict

from vlmguard.results.board import UNDEFENDED_LABEL
from vlmguard.results.logs import Run


def label_rows(runs: list[Run]) -> list[tuple[str, str]]:
    """Labels of target and defense for each run, as short as they can be told apart.

    Args:
        runs: All runs of a table.

    Returns:
        Target and defense for each run.
    """
    settings: dict[str, set[str]] = defaultdict(set)
    guards: dict[tuple[str, str], set[str]] = defaultdict(set)
    templates: dict[tuple[str, str], set[str]] = defaultdict(set)
    for run in runs:
        settings[run.target].add(run.target_settings)
        guards[run.defense, run.defense_args].add(run.guards)
        templates[run.defense, run.defense_args].add(run.template)
    labels = []
    for run in runs:
        target = run.target
        if len(settings[target]) > 1 and run.target_settings:
            target += f" ({brief(run.target_settings)})"
        defense = UNDEFENDED_LABEL if run.defense == "none" else run.defense
        if run.defense_args:
            defense += f" ({brief(run.defense_args)})"
        if len(guards[run.defense, run.defense_args]) > 1 and run.guards:
            defense += f" [{brief(run.guards)}]"
        if len(templates[run.defense, run.defense_args]) > 1 and run.template:
            defense += f" template {run.template}"
        labels.append((target, defense))
    return labels


def brief(text: str) -> str:
    """JSON settings as `name=value`, readable."""
    try:
        values = json.loads(text)
    except ValueError:
        return text
    if not isinstance(values, dict):
        return text
    return ", ".join(f"{name}={_plain(value)}" for name, value in values.items())


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "+".join(map(_plain, value))
    if isinstance(value, dict):
        return " ".join(f"{name}:{_plain(each)}" for name, each in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)
