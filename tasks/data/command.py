"""`vlmguard data`: which benchmark data are on this machine, and whether they are complete."""

import json
from dataclasses import asdict

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.cards import Card, cards
from vlmguard.guard.data_source import DATA_ROOT, data_root
from vlmguard.guard.errors import UserError
from vlmguard.guard.paths import existing
from vlmguard.guard.progress import tracked
from vlmguard.tasks.data.check import check, describe

__all__ = ["known_sets", "run"]


def run(names: list[str], data_dir: str | None, as_json: bool) -> int:
    """Print a report on each benchmark. The arguments are declared in `vlmguard.cli`.

    Args:
        names: Benchmarks; empty for all.
        data_dir: Folder with a folder for each, instead of `VLMGUARD_DATA`.
        as_json: Whether to print JSON.

    Returns:
        Exit status: 0 if all data on this machine are complete (for named benchmarks: if they exist
        and are complete), else 1.

    Raises:
        UserError: No such benchmark, or no such folder.
    """
    known = known_sets()
    for name in names:
        if name not in known:
            raise UserError(
                f"no benchmark {name}.{did_you_mean(name, [*known, 'fetch'])} Choose one of: "
                f"{', '.join(known)}."
            )
    # Without a folder, the report says where to get the data.
    root = data_root(data_dir)
    if root:
        existing(root, "folder", f"Name one with --data-dir, or set {DATA_ROOT}.")
    reports = [check(known[name], root) for name in tracked(names or [*known], "checking data")]
    if as_json:
        print(json.dumps([asdict(report) for report in reports], indent=2))
    else:
        print("\n\n".join(describe(report) for report in reports))
    complete = all(report.state == "complete" if names else report.sound for report in reports)
    return 0 if complete else 1


def known_sets() -> dict[str, Card]:
    """The benchmarks that have data, by name."""
    return {name: card for name, card in cards().benchmarks.items() if card.layouts}
