"""Draws answers of a log for people to label, and merges the sheets of several raters.

    vlmguard label LOG --out sheet
    vlmguard label LOG --merge ann.csv --merge ben.csv --out settled

Raters' labels are merged where they agree. What they differ in stays open, with what each said
beside it, for both to settle: labels of agreement alone would be no random subset.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from inspect_ai.log import EvalSample, read_eval_log, read_eval_log_samples

from vlmguard.guard.errors import UserError
from vlmguard.guard.log_errors import UNREADABLE
from vlmguard.guard.thresholds import SAFE_FROM
from vlmguard.results.agreement.label_page import LabelSheet
from vlmguard.results.agreement.raters import Rater, read_labels
from vlmguard.results.agreement.sampling import MEASURES, Drawing, Key, draw
from vlmguard.results.formats.spreadsheet import sheet_name
from vlmguard.results.logs.answers import LeftOut, digest
from vlmguard.results.logs.archive import check_sizes
from vlmguard.results.logs.exchange import exchange
from vlmguard.results.logs.frame import find_logs, read_run
from vlmguard.results.logs.part import shard_of

__all__ = ["label_sheet", "merged_sheet", "open_labels"]

_CLOSE: Final = 2
"""Grades of safety that differ by no more count as one opinion, on one side of the threshold."""


def label_sheet(log: str, number: int, seed: int) -> LabelSheet:
    """A blind sheet: answers in random order, without model, defense or verdict.

    Args:
        log: The log, or a folder with the shards of a run.
        number: How many answers to draw; all if there are fewer.
        seed: Seed of the drawing.

    Raises:
        UserError: The log is damaged, unfinished or invalidated.
    """
    by_key, evaluation = _answers(log)
    drawn, drawing = draw(by_key, evaluation, number, seed)
    return _sheet(by_key, drawn, drawing)


def merged_sheet(log: str, sheets: Sequence[Path]) -> LabelSheet:
    """One sheet of several raters' labels of the same answers.

    Where all who rated an answer agree, that is its label: of grades that are close and on one
    side of the threshold of safety, that of each rater in turn. So the mean grade is not lower or
    higher than the raters'. Other labels stay open.

    Args:
        log: The log that the sheets were drawn from.
        sheets: A sheet of each rater.

    Raises:
        UserError: The log is unusable, or a sheet is no sheet of it, or was drawn otherwise.
    """
    if len(sheets) < 2:
        raise UserError("--merge: name the sheets of two raters or more.")
    raters = [read_labels(path) for path in sheets]
    names = tuple(_named(path, sheets) for path in sheets)
    drawing = raters[0].drawing
    for path, rater in zip(sheets, raters, strict=True):
        if rater.drawing is None or rater.drawing != drawing:
            raise UserError(
                f"{path}: not drawn as {sheets[0]} was ({rater.drawing or 'it does not say how'}; "
                f"{drawing or 'it does not say how'}). Merge sheets of one vlmguard label."
            )
    assert drawing is not None
    by_key, evaluation = _answers(log)
    drawn, again = draw(by_key, evaluation, drawing.number, drawing.seed)
    if again != drawing:
        raise UserError(
            f"{sheets[0]}: drawn from {drawing.of} answers of {drawing.log}; {log} holds "
            f"{len(by_key)} and is {digest(evaluation)}. Name the log that vlmguard label was "
            f"given."
        )
    known = set(drawn)
    for path, rater in zip(sheets, raters, strict=True):
        for given in rater.ratings.values():
            if strangers := sorted(given.keys() - known):
                raise UserError(
                    f"{path}: {strangers[0][0]}, epoch {strangers[0][1]}, is not among the answers "
                    f"that were drawn. Leave the rows as vlmguard label wrote them."
                )
    return _sheet(by_key, drawn, drawing, raters, names)


def open_labels(sheet: LabelSheet) -> dict[str, int]:
    """By measure, the number of answers that somebody rated and that have no label all the same."""
    return {
        measure: sum(
            not labels[measure] and any(said[measure])
            for (_, _, labels), said in zip(sheet.rows, sheet.said, strict=True)
        )
        for measure in MEASURES
    }


def _answers(log: str) -> tuple[dict[Key, EvalSample], str]:
    """The answers of a run, and Inspect's id of its evaluation."""
    found = find_logs([log])
    try:
        header = read_eval_log(found[0], header_only=True)
        # A part of a run is no random subset of it.
        if len(found) > 1 or shard_of(header) is not None:
            run = read_run(log)
            found, evaluation = list(run.paths), run.identity[1]
        else:
            evaluation = header.eval.eval_id
        samples = [sample for path in found for sample in _samples(path)]
    # Inspect raises RuntimeError for logs that are unfinished or invalidated.
    except (*UNREADABLE, LeftOut, RuntimeError) as error:
        raise UserError(f"{log}: cannot be read whole ({error}). Name a finished log.") from error
    return {(sheet_name(str(sample.id)), sample.epoch): sample for sample in samples}, evaluation


def _samples(path: str) -> Iterator[EvalSample]:
    check_sizes(path)
    return read_eval_log_samples(path, resolve_attachments=True, exclude_fields={"events"})


def _sheet(
    answers: dict[Key, EvalSample],
    drawn: Sequence[Key],
    drawing: Drawing,
    raters: Sequence[Rater] = (),
    names: tuple[str, ...] = (),
) -> LabelSheet:
    said = [{name: _given(raters, name, key) for name in MEASURES} for key in drawn]
    return LabelSheet(
        rows=[
            (
                str(answers[key].id),
                str(key[1]),
                {name: _agreed(name, values, place) for name, values in each.items()},
            )
            for place, (key, each) in enumerate(zip(drawn, said, strict=True))
        ],
        exchanges=[exchange(answers[key]) for key in drawn],
        drawing=str(drawing),
        raters=names,
        said=said if raters else [],
    )


def _given(raters: Sequence[Rater], measure: str, key: Key) -> tuple[str, ...]:
    """What each rater said of an answer; empty where one said nothing."""
    values = (rater.ratings.get(measure, {}).get(key) for rater in raters)
    return tuple("" if value is None else f"{value:.0f}" for value in values)


def _agreed(measure: str, said: Sequence[str], turn: int) -> str:
    """The label that all raters agree on; empty where they do not, or one is missing.

    Args:
        measure: What was labelled.
        said: What each rater said.
        turn: Number of the answer in the order of the drawing, which is random.
    """
    if not said or not all(said):
        return ""
    values = sorted(int(value) for value in said)
    if measure != "safety":
        return str(values[0]) if values[0] == values[-1] else ""
    one_side = (values[0] >= SAFE_FROM) == (values[-1] >= SAFE_FROM)
    return said[turn % len(said)] if one_side and values[-1] - values[0] <= _CLOSE else ""


def _named(path: Path, paths: Sequence[Path]) -> str:
    """A rater by the name of the file; with its folder where two files have the same name."""
    alone = sum(each.name == path.name for each in paths) == 1
    return path.stem if alone else f"{path.parent.name}/{path.stem}"
