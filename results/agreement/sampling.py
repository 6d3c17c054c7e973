"""Draw answers for people to label, and check later that a sheet holds the drawn answers.

Only labels of a random subset can correct rates. So every row of a sheet says how it was drawn:
from how many answers, of which log (by a digest, as the sheet is blind), with which seed. The
reader draws again and compares.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import pandas as pd

from vlmguard.guard.errors import UserError
from vlmguard.results.formats.spreadsheet import sheet_name
from vlmguard.results.logs.answers import digest

Key = tuple[str, int]
"""Sample and epoch of an answer."""
COLUMN: Final = "drawn"
"""Column of a sheet that says how it was drawn."""
MEASURES: Final = ("safety", "helpful", "refused")
"""Columns of a sheet for labels."""


@dataclass(frozen=True)
class Drawing:
    """How a sheet was drawn.

    Attributes:
        number: Answers in the sheet.
        of: Answers in the log.
        log: Digest of the log's evaluation.
        seed: Seed of the drawing.
    """

    number: int
    of: int
    log: str
    seed: int

    def __str__(self) -> str:
        return f"{self.number} of {self.of} answers of {self.log}, seed {self.seed}"


def draw(
    answers: Iterable[Key], evaluation: str, number: int, seed: int
) -> tuple[list[Key], Drawing]:
    """Draw answers at random.

    Args:
        answers: All answers of a log, in any order.
        evaluation: Inspect's id of the evaluation.
        number: How many to draw; all if there are fewer.
        seed: Seed.

    Returns:
        The answers in the order of the drawing (so that any first part of them is a random
        subset too), and how they were drawn.
    """
    ordered = sorted(set(answers))
    drawn = random.Random(seed).sample(ordered, min(number, len(ordered)))
    return drawn, Drawing(len(drawn), len(ordered), digest(evaluation), seed)


def answer_keys(answers: pd.DataFrame) -> list[Key]:
    """Sample and epoch of each answer of a run, as sheets name them."""
    names = map(sheet_name, answers["sample"].astype(str))
    return list(zip(names, answers["epoch"].astype(int), strict=True))


def read_drawing(texts: Iterable[str], sheet: str) -> Drawing:
    """Read from a sheet how it was drawn.

    Args:
        texts: The cell of each row.
        sheet: Name of the sheet, for errors.

    Raises:
        UserError: Rows do not say it, or disagree.
    """
    said = sorted(set(texts))
    found = re.fullmatch(
        r"(\d+) of (\d+) answers of ([0-9a-f]+), seed (-?\d+)", said[0] if said else ""
    )
    if len(said) != 1 or found is None:
        raise UserError(
            f"{sheet}: its rows do not all say that they are one random subset (column "
            f"'{COLUMN}'), so rates cannot be corrected by it. Label a sheet that vlmguard label "
            f"wrote, and leave that column as it is."
        )
    return Drawing(int(found[1]), int(found[2]), found[3], int(found[4]))
