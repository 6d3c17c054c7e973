"""Writes the pages of samples of a leaderboard, and tells its rows where theirs are.

    samples/index.html       all sets: a benchmark and a target each
    samples/SET.html         its samples: which there are, and what became of each
    samples/data/*.js        what was asked and answered, loaded when a sample is opened
    samples/images/*.jpg     small pictures, and larger ones for a click

A page works without a server, and loads nothing from anywhere else.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from vlmguard.results.explorer.answers import answer_of, measures_by_column, request_of
from vlmguard.results.explorer.chunks import Chunks
from vlmguard.results.explorer.flags import FLAGS, LACKING, flags_of
from vlmguard.results.explorer.images import Pictures
from vlmguard.results.explorer.reading import opened
from vlmguard.results.explorer.sets import SampleSet, sets_of, under
from vlmguard.results.explorer.staging import staged
from vlmguard.results.formats.templating import render
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Entry, Leaderboard
from vlmguard.results.sanitize import clean

__all__ = ["FOLDER", "samples_in", "write_explorer"]

FOLDER: Final = "samples"
"""The folder of the pages, beside the leaderboard's."""

# What is said of a sample in a word or two.
_WORDS: Final = ("category", "subset", "expected")


def samples_in(board: Leaderboard) -> int:
    """How many samples of all runs `write_explorer` reads."""
    return sum(len(shown.samples) for shown in sets_of(board) for _ in shown.entries)


def write_explorer(
    board: Leaderboard,
    folder: Path,
    images: bool = True,
    track: Callable[[int], object] = lambda read: None,
) -> int:
    """Write the pages, and note their addresses in the rows of the board.

    Args:
        board: The leaderboard; `Entry.pages` of its rows is filled in.
        folder: The leaderboard's; the pages go into `samples` in it.
        images: Whether pages have pictures. Without, no file holds anything of them.
        track: Gets the number of samples that were read since its last call.

    Returns:
        The number of files.

    Raises:
        UserError: The folder cannot be written to.
    """
    all_sets = sets_of(board)
    with staged(folder / FOLDER) as place:
        (place / "data").mkdir()
        if images:
            (place / "images").mkdir()
        pictures = Pictures(place / "images" if images else None)
        for shown in all_sets:
            data = _data(board, shown, place, pictures, track)
            text = render(
                "explorer.html",
                title=f"{shown.title}: samples",
                target=shown.target,
                images=images,
                data=data,
                facts=[_facts(entry) for entry in shown.entries],
                footnotes=board.footnotes,
                notes=board.notes,
            )
            (place / f"{shown.name}.html").write_text(text, encoding="utf-8")
        text = render(
            "explorer_index.html",
            title="Samples",
            images=images,
            sets=all_sets,
            notes=board.notes,
            footnotes=board.footnotes,
        )
        (place / "index.html").write_text(text, encoding="utf-8")
        count = sum(path.is_file() for path in place.rglob("*"))
    for shown in all_sets:
        for entry in shown.entries:
            entry.pages = _address(shown, entry)
    return count


def _address(shown: SampleSet, entry: Entry) -> str:
    """Where a row's samples are, seen from the leaderboard's page."""
    chosen = {"defense": entry.defense, "attack": under(entry)}
    query = "&".join(f"{name}={quote(text, safe='')}" for name, text in chosen.items() if text)
    return f"{FOLDER}/{shown.name}.html#?{query}"


def _facts(entry: Entry) -> dict[str, Any]:
    return {"defense": entry.defense, "attack": under(entry), "facts": entry.facts}


def _data(
    board: Leaderboard,
    shown: SampleSet,
    place: Path,
    pictures: Pictures,
    track: Callable[[int], object],
) -> dict[str, Any]:
    """What a page knows before it loads any text."""
    flags = flags_of(shown)
    about = _about(shown)
    words: dict[str, list[str]] = {name: [] for name in _WORDS}
    rows = []
    unsafe = 1 << FLAGS.index("unsafe")
    for sample, bits in zip(shown.samples, flags, strict=True):
        risky = about[sample]["expected"] != "comply" or any(
            each != LACKING and each & unsafe for each in bits
        )
        places = [_place(words[name], about[sample][name]) for name in words]
        rows.append([sample, *places, int(risky), bits])
    attacks = shown.attacks
    return {
        "name": clean(f"{shown.title} {shown.target}"),
        "flags": FLAGS,
        "lacking": LACKING,
        "words": words,
        "attacks": attacks,
        "samples": rows,
        "runs": [
            {
                "defense": entry.defense,
                "role": _role(board, entry),
                "attack": attacks.index(under(entry)),
                "chunks": _chunks(shown, number, place, pictures, track),
            }
            for number, entry in enumerate(shown.entries)
        ],
    }


def _role(board: Leaderboard, entry: Entry) -> str:
    """What filters count a run as: `undefended`, `defense`, or `control` if it is a yardstick."""
    if entry.defense == UNDEFENDED_LABEL:
        return "undefended"
    return "control" if board.is_control(entry.defense) else "defense"


def _about(shown: SampleSet) -> dict[str, dict[str, str]]:
    """Category, subset and what is expected of each sample."""
    found: dict[str, dict[str, str]] = {}
    for entry in shown.entries:
        answers = entry.run.answers.drop_duplicates("sample")
        for row in answers[["sample", "category", "slice", "expected"]].itertuples(index=False):
            told: dict[str, str] = dict(
                zip(_WORDS, (clean(str(each)) for each in row[1:]), strict=True)
            )
            found.setdefault(str(row[0]), told)
    return found


def _place(words: list[str], word: str) -> int:
    if word not in words:
        words.append(word)
    return words.index(word)


def _chunks(
    shown: SampleSet,
    number: int,
    place: Path,
    pictures: Pictures,
    track: Callable[[int], object],
) -> list[tuple[str, int]]:
    """Write the texts of a run; the first run that has a sample has its request, too."""
    entry = shown.entries[number]
    log, measures = opened(entry.run), measures_by_column(entry.group.measures)
    earlier = {
        str(sample)
        for other in shown.entries[:number]
        for sample in other.run.answers["sample"].unique()
    }
    attacked = pictures if under(entry) else None
    chunks = Chunks(place / "data")
    read = log.samples(shown.samples)
    sample, answers = next(read, ("", []))
    for wanted in shown.samples:
        if wanted != sample:
            chunks.add(None)
        else:
            asked = None if wanted in earlier else request_of(answers[0], pictures)
            told = [answer_of(each, log.names, measures, attacked) for each in answers]
            chunks.add({"asked": asked, "answers": told})
            sample, answers = next(read, ("", []))
        track(1)
    chunks.finish()
    return chunks.files
