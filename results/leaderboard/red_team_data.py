"""What attacks achieve, for other programs: as plain data and as CSV."""

import math
from dataclasses import asdict
from typing import Any

from vlmguard.results.formats.spreadsheet import csv_text
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.red_team import red_team
from vlmguard.results.leaderboard.red_team_model import RedTeam, Under
from vlmguard.results.leaderboard.red_team_rates import Share
from vlmguard.results.leaderboard.red_team_twins import Compared

__all__ = ["red_team_csv", "red_team_data"]


def red_team_data(board: Leaderboard) -> list[dict[str, Any]]:
    """Static and adaptive attack success and the twin's refusals of each row, with all attacks."""
    return [
        {
            **_names(board, row),
            "benchmark": row.column.benchmark,
            "variant": row.column.variant,
            "static": row.static.attack if row.static else None,
            "adaptive": row.adaptive.attack if row.adaptive else None,
            "not_run": row.missing,
            "twin": row.twin.attack if row.twin else None,
            "attacks": [_attack(each) for each in row.attacks],
        }
        for row in red_team(board)
    ]


def red_team_csv(board: Leaderboard) -> str | None:
    """A line for each target, defense, benchmark and attack; None without attacked runs."""
    rows = red_team(board)
    if not rows:
        return None
    names: dict[str, None] = {}
    lines: list[dict[str, Any]] = []
    for row in rows:
        for under in row.attacks:
            lines.append({**_labels(board, row), **_flat(under)})
            names |= dict.fromkeys(lines[-1])
    return csv_text(list(names), [[line.get(name) for name in names] for line in lines])


def _names(board: Leaderboard, row: RedTeam) -> dict[str, str]:
    """Names with all settings, and the short ones of tables."""
    target, defense = (board.attacked or board).exact(row.target, row.defense)
    shown = {"target_label": row.target, "defense_label": row.defense}
    return {"target": target, "defense": defense, **shown}


def _labels(board: Leaderboard, row: RedTeam) -> dict[str, Any]:
    column = row.column
    return {
        **_names(board, row),
        "benchmark": column.benchmark,
        "variant": column.variant,
        "version": column.version,
        "data": column.data,
    }


def _attack(under: Under) -> dict[str, Any]:
    return {
        "attack": under.attack,
        "kind": under.kind,
        "k": under.k,
        "mean_tries": under.tries,
        "asr_at_1": asdict(under.first),
        "asr_at_k": asdict(under.last),
        "curve": {str(step): asdict(share) for step, share in under.curve.items()},
        "no_attack": _compared(under.before),
        "target_alone_refuses": asdict(under.alone) if under.alone else None,
        "twin": {
            "benchmark": under.twin.title,
            "refused": asdict(under.twin.refused) if under.twin.refused else None,
            "no_attack": _compared(under.twin.before),
            "command": under.twin.command,
        },
        "leaked": asdict(under.leaks) if under.leaks else None,
    }


def _compared(other: Compared) -> dict[str, Any]:
    return {
        "rate": asdict(other.share) if other.share else None,
        "change": asdict(other.change) if other.change else None,
        "why": other.why,
    }


def _flat(under: Under) -> dict[str, Any]:
    change, twin = under.before.change, under.twin
    return {
        "attack": under.attack,
        "kind": under.kind,
        "k": under.k,
        "mean_tries": under.tries,
        **_rate("asr_at_1", under.first),
        **_rate("asr_at_k", under.last),
        **_rate("no_attack", under.before.share),
        "no_attack_why": under.before.why,
        "change": change.mean if change else None,
        "change_low": change.low if change else None,
        "change_high": change.high if change else None,
        "pairs": change.pairs if change else None,
        **_rate("target_alone_refuses", under.alone),
        "twin": twin.title or "not run",
        **_rate("twin_refusal", twin.refused),
        "twin_change": twin.before.change.mean if twin.before.change else None,
        **_rate("leaked", under.leaks),
    }


def _rate(name: str, share: Share | None) -> dict[str, Any]:
    nan = math.nan
    found = share or Share(nan, nan, nan, 0, 0, nan, nan, 0)
    return {
        name: found.mean,
        f"{name}_low": found.low,
        f"{name}_high": found.high,
        f"{name}_scored": found.scored,
        f"{name}_of": found.of,
        f"{name}_worst_case_low": found.least,
        f"{name}_worst_case_high": found.most,
    }
