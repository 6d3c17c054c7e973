"""A leaderboard for other programs: rows by their full names, with those of tables beside them."""

from typing import Any, Final

from vlmguard.results.leaderboard.model import Leaderboard

__all__ = ["with_exact_names"]

_DEFENSES: Final = ("defense", "best", "other")


def with_exact_names(board: Leaderboard, content: dict[str, Any]) -> dict[str, Any]:
    """Plain data of a leaderboard with the full names of targets and defenses.

    Args:
        board: The leaderboard.
        content: Its data, in which rows have the short names of tables.

    Returns:
        The same with full names; each entry also has `target_label` and `defense_label`.
    """
    rows = {row: board.exact(*row) for row in board.rows()}
    targets = {target: exact for (target, _), (exact, _) in rows.items()}
    defenses = {defense: exact for (_, defense), (_, exact) in rows.items()}

    def named(value: dict[str, Any]) -> dict[str, Any]:
        found = dict(value)
        if "target" in found:
            found["target"] = targets.get(found["target"], found["target"])
        for name in _DEFENSES:
            if name in found:
                found[name] = defenses.get(found[name], found[name])
        return found

    entries = [
        {
            **{name: each for name, each in named(entry).items() if not name.startswith("exact_")},
            "target_label": entry["target"],
            "defense_label": entry["defense"],
        }
        for entry in content["entries"]
    ]
    others = {
        name: [named(each) for each in content[name]] for name in ("gains", "duels", "beside")
    }
    return content | others | {"entries": entries}
