"""Tables of harm beside harmless requests, and of what was scored in every row."""

import math
from itertools import groupby
from typing import Final

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.beside import HARMLESS, MIXED
from vlmguard.results.leaderboard.cells import MARKS
from vlmguard.results.leaderboard.model import Beside, Entry, Group, Leaderboard
from vlmguard.results.leaderboard.typeset import judges_said
from vlmguard.results.logs.coverage import KINDS, OTHERWISE, SCORED, TOTAL
from vlmguard.results.logs.measures import Measure, is_refusal
from vlmguard.results.stats.differences import Difference

__all__ = [
    "BESIDE_NOTES",
    "OVER_REFUSAL",
    "beside_sheet",
    "control_note",
    "counts_sheet",
    "refusals_note",
    "unpaired_notes",
]

GENERAL = "(any)"
OVER_REFUSAL: Final = "over_refusal"
BESIDE_NOTES = [
    "Each row of a harm set beside harmless requests under the same defense: those that its card "
    "names, or its own harmless samples. (any): harmless requests that belong to no harm set. "
    "Differences are paired, to the undefended target, and tested with all others of the tables. "
    "Utility change is what the defense costs: + more useful, - less useful (turned for measures "
    "where less is better), by a measure of help where the harmless requests have one. Where "
    "verdicts are missing, a mean says of how many answers it is, and a difference how many "
    "samples both runs scored."
]
_REFUSALS_ONLY: Final = "refusals only"
_REFUSALS_NOTE: Final = (
    "Refusals only ({}): no measure of help there. Answers that refuse nothing and help nobody "
    "cost nothing in it, so it is not all that a defense costs."
)
_CONTROL_NOTE: Final = (
    "Controls ({}) have no judgement of their own: a defense that does not beat them on safe & "
    "helpful does nothing that they do not."
)


def beside_sheet(board: Leaderboard) -> Sheet:
    """A row for each target, defense and harm set, with harmless requests beside it."""
    header = ["Target", "Defense", "Harm set", "Harmless requests"]
    only = refusals_only(board)
    partners = {each.partner for each in board.beside if each.partner}
    change = "Utility change ↑"
    if only and len(only) == len(partners):
        change += f"\n({_REFUSALS_ONLY})"
    sheet = Sheet("Harm beside harmless", [*header, "Harm", "Harmless", change], [], labels=4)
    for _, rows in groupby(board.beside, key=lambda each: each.target):
        sheet.starts.add(len(sheet.rows))
        for each in rows:
            sheet.rows.append(_line(board, each))
    sheet.caption = judges_said(
        {of: None for each in board.beside for of in (each.group, each.partner) if of}
    )
    sheet.notes += [*BESIDE_NOTES, *refusals_note(board), *control_note(board)]
    return sheet


def refusals_only(board: Leaderboard) -> list[Group]:
    """Harmless requests of which only refusals were measured."""
    found = {
        each.partner: None
        for each in board.beside
        if each.partner and is_refusal(each.partner.by_name[each.partner_measure])
    }
    return list(found)


def refusals_note(board: Leaderboard) -> list[str]:
    """A note on harmless requests of which only refusals were measured, if there are any."""
    titles = ", ".join(group.title for group in refusals_only(board))
    return [_REFUSALS_NOTE.format(titles)] if titles else []


def control_note(board: Leaderboard) -> list[str]:
    """A note on the controls, if there are any."""
    names = dict.fromkeys(e.defense for e in board.entries if board.is_control(e.defense))
    return [_CONTROL_NOTE.format(", ".join(names))] if names else []


def unpaired_notes(board: Leaderboard) -> list[str]:
    """A sentence for the rows that lack harmless requests beside the same harm sets."""
    sets: dict[tuple[str, str, str], list[str]] = {}
    for entry in board.entries:
        if entry.unpaired:
            key = (entry.target, entry.defense, entry.unpaired)
            sets.setdefault(key, []).append(entry.group.title)
    rows: dict[tuple[str, str], list[str]] = {}
    for (target, defense, said), titles in sets.items():
        about = ", ".join(dict.fromkeys(titles))
        rows.setdefault((about, said), []).append(f"{target}, {defense}")
    return [f"{about}: {said} ({'; '.join(of)})." for (about, said), of in rows.items()]


def counts_sheet(board: Leaderboard) -> Sheet:
    """For each row the answers that its headline scored, and why it did not score the others."""
    kinds = [TOTAL, *KINDS, SCORED]
    header = ["Target", "Defense", "Benchmark", *(kind.capitalize() for kind in kinds)]
    sheet = Sheet("What was scored", header, [], labels=3)
    for target, defense in board.rows():
        if target not in [row[0] for row in sheet.rows]:
            sheet.starts.add(len(sheet.rows))
        for group in board.groups:
            entry = board.find(target, defense, group)
            if entry is not None and entry.counts:
                numbers = [str(entry.counts[kind]) for kind in kinds]
                sheet.rows.append([target, defense, group.title, *numbers])
    sheet.notes.append(
        "All answers, risky and benign, by the scorer of each benchmark's headline; the total is "
        "the sum of the others. "
        f"{OTHERWISE.capitalize()}: errors of a guard, and reasons of scorers that are not ours."
    )
    return sheet


def _line(board: Leaderboard, each: Beside) -> list[str]:
    harm = _named(each.group, each.measure)
    labels = [each.target, each.defense, harm[0] if each.group else GENERAL]
    of_harm = _cell(board, each, each.group, harm[1])
    if each.partner is None:
        return [*labels, each.note, _joined(of_harm), "-", "-"]
    title, measure = _named(each.partner, each.partner_measure)
    mean, _ = _cell(board, each, each.partner, measure)
    mean += _refusals(board, each)
    change = _utility(board, each, measure)
    if change and measure and is_refusal(measure):
        change += f"\n{_REFUSALS_ONLY}"
    return [*labels, title, _joined(of_harm), mean, change]


def _refusals(board: Leaderboard, each: Beside) -> str:
    """Over-refusal of harmless requests, where another measure is shown."""
    entry = board.find(each.target, each.defense, each.partner) if each.partner else None
    if entry is None or entry.group.kind not in (HARMLESS, MIXED):
        return ""
    if is_refusal(entry.group.by_name[each.partner_measure]):
        return ""
    measure = entry.group.by_name.get(OVER_REFUSAL)
    if measure is None or math.isnan(mean := entry.cells[OVER_REFUSAL].mean):
        return ""
    return f"\nover-refusal {measure.show(mean)} %"


def _utility(board: Leaderboard, each: Beside, measure: Measure | None) -> str:
    """What a defense changes for its partner, a loss below zero."""
    entry = board.find(each.target, each.defense, each.partner) if each.partner else None
    if entry is None or measure is None or each.change is None:
        return ""
    return _change(board, entry, each.change, measure)


def _named(group: Group | None, name: str) -> tuple[str, Measure | None]:
    """A group with the measure of it that is shown, and that measure."""
    if group is None:
        return "", None
    measure = group.by_name.get(name)
    return f"{group.title}\n{measure.heading}" if measure else group.title, measure


def _cell(
    board: Leaderboard, each: Beside, group: Group | None, measure: Measure | None
) -> tuple[str, str]:
    """The mean of a row in a measure (and of how many), and its difference."""
    entry = board.find(each.target, each.defense, group) if group else None
    if entry is None or measure is None:
        return "-", ""
    cell = entry.cells[measure.name]
    change = _change(board, entry, cell.difference, measure) if cell.difference else ""
    cover = cell.coverage
    mean = measure.show(cell.mean)
    if _lacks_some(entry, measure):
        mean += f"\nscored {cover.scored} of {cover.of}"
    return mean, change


def _lacks_some(entry: Entry, measure: Measure) -> bool:
    cover = entry.cells[measure.name].coverage
    return cover.scored < cover.of


def _change(board: Leaderboard, entry: Entry, found: Difference, measure: Measure) -> str:
    """A difference with its mark and interval, and its pairs if these are not all samples."""
    mark = MARKS[entry.cells[measure.name].verdict]
    text = f"{measure.show(found.mean, signed=True)} {mark}".rstrip()
    both = [entry, *filter(None, [board.undefended(entry)])]
    if any(_lacks_some(each, measure) for each in both):
        text += f"\n{found.pairs} pair{'' if found.pairs == 1 else 's'}"
    if math.isnan(found.low):
        return text
    return f"{text}\n[{measure.show(found.low, True)}, {measure.show(found.high, True)}]"


def _joined(cell: tuple[str, str]) -> str:
    return "\n".join(filter(None, cell))
