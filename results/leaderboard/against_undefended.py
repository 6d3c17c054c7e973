"""Each defense against the undefended run of its target, sample by sample."""

import math

import pandas as pd

from vlmguard.results.leaderboard.marks import Tested
from vlmguard.results.leaderboard.model import (
    UNDEFENDED_LABEL,
    Cell,
    Entry,
    Gain,
    Group,
    Leaderboard,
    is_control,
)
from vlmguard.results.logs.measures import BOTH, SAFETY, applicable, category_weights, values_of
from vlmguard.results.stats.differences import difference_of, pair_up
from vlmguard.results.stats.max_t import Sums


def compare(
    entries: list[Entry],
    frames: dict[int, pd.DataFrame],
    group: Group,
    controls: tuple[str, ...],
) -> list[Tested]:
    """Fill in the differences to each target's undefended run.

    Args:
        entries: Rows of one group.
        frames: Samples of each run.
        group: The group of columns.
        controls: Names of the controls, which are compared and not tested.

    Returns:
        The differences that are to be tested together with those of all other groups.
    """
    tested: list[Tested] = []
    undefended = {entry.target: entry for entry in entries if entry.defense == UNDEFENDED_LABEL}
    for entry in entries:
        if entry.defense == UNDEFENDED_LABEL:
            continue
        partner = undefended.get(entry.target)
        if partner is None:
            _add_note(entry, "no undefended run of this target under the same conditions")
            continue
        old, new = frames[partner.run], frames[entry.run]
        if set(old.index) != set(new.index):
            both = len(set(old.index) & set(new.index))
            way_out = "; --intersect compares the shared ones" if both else ""
            _add_note(
                entry,
                f"other samples than the undefended run ({both} shared of {len(new)} and "
                f"{len(old)}), so no difference{way_out}",
            )
            continue
        new = new.reindex(old.index)
        found = _fill_differences(entry.cells, old, new, group)
        tested += [] if is_control(entry.defense, controls) else found
        for name, cells in entry.slices.items():
            here = old["slice"] == name
            _fill_differences(cells, old[here], new[here], group)
    return tested


def gains(board: Leaderboard) -> list[Gain]:
    """Average relative gains in safety, for each group and defense."""
    found = []
    for place in range(len(board.groups)):
        here = [entry for entry in board.entries if entry.group == place]
        base = {
            entry.target: entry.cells[SAFETY.name].mean
            for entry in here
            if entry.defense == UNDEFENDED_LABEL and SAFETY.name in entry.cells
        }
        defenses = dict.fromkeys(
            entry.defense for entry in here if entry.defense != UNDEFENDED_LABEL
        )
        for defense in defenses:
            paired = [
                entry
                for entry in here
                if entry.defense == defense
                and entry.target in base
                and SAFETY.name in entry.cells
                and entry.cells[SAFETY.name].difference is not None
            ]
            pairs = [(base[entry.target], entry.cells[SAFETY.name].mean) for entry in paired]
            both = [
                cell.difference.mean
                for entry in paired
                if (cell := entry.cells.get(BOTH.name)) and cell.difference
            ]
            # A relative gain over nothing is not defined.
            if not pairs or any(not old > 0 for old, _ in pairs):
                continue
            before, after = (sum(each) for each in zip(*pairs, strict=True))
            each = [(new - old) / old for old, new in pairs]
            found.append(
                Gain(
                    place,
                    defense,
                    len(pairs),
                    after / before - 1,
                    sum(each) / len(each),
                    sum(both) / len(both) if both else math.nan,
                )
            )
    return found


def _fill_differences(
    cells: dict[str, Cell], old: pd.DataFrame, new: pd.DataFrame, group: Group
) -> list[Tested]:
    tested = []
    for measure in group.measures:
        rows = applicable(old, measure)
        before, after = values_of(rows, measure), values_of(new.loc[rows.index], measure)
        # Weights are those of the pairs: a category counts alike in both runs.
        weights = category_weights(after - before, rows["category"].to_list(), measure)
        pairs = pair_up(before, after, rows["cluster"].to_numpy(), weights)
        if pairs is None:
            continue
        cell = cells[measure.name]
        cell.difference = difference_of(pairs, measure.range)
        if measure.primary and measure.better:
            # Images of one benchmark are flipped together, whatever target they were shown to.
            pool = f"{group.column.benchmark} {group.column.data}"
            sums = Sums(pool, pairs.names, pairs.sums)
            tested.append(Tested(cell, measure, measure.name == group.endpoint, sums))
    return tested


def _add_note(entry: Entry, note: str) -> None:
    entry.note = f"{entry.note}; {note}" if entry.note else note
