"""The kept rows of an export, in a file on disk: a million of them do not fit in memory.

The file is SQLite's, below the folder in which the export works, and goes with it. A row takes the
bytes of its texts there, and about 150 more; an image 200, beside its own file. In memory are
32 MB of the file at most.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from vlmguard.training.dataset.duplicates import Taught
from vlmguard.training.dataset.fingerprints import Fingerprint
from vlmguard.training.dataset.items import Item

COLUMNS: Final = (
    *("id", "source", "benign", "original", "rewritten", "reasoning", "image_id", "reasoner"),
    "templates",
)
"""The columns that a row has beside images, prompt and completion."""

_TABLES: Final = """
PRAGMA journal_mode=OFF;
PRAGMA synchronous=OFF;
PRAGMA cache_size=-32768;
CREATE TABLE images (number INTEGER PRIMARY KEY, sha256 BLOB UNIQUE, bits BLOB, colours BLOB);
CREATE TABLE names (number INTEGER PRIMARY KEY, image_id BLOB UNIQUE);
CREATE TABLE found (
    id BLOB, source BLOB, benign INTEGER, original BLOB, rewritten BLOB, reasoning BLOB,
    name INTEGER, reasoner BLOB, templates BLOB, image INTEGER, pair BLOB, renamed INTEGER
);
"""
_SORTED: Final = """
CREATE INDEX by_id ON found (id);
CREATE TABLE rows (
    number INTEGER PRIMARY KEY,
    id BLOB, source BLOB, benign INTEGER, original BLOB, rewritten BLOB, reasoning BLOB,
    name INTEGER, reasoner BLOB, templates BLOB, image INTEGER, pair BLOB, renamed INTEGER,
    held INTEGER DEFAULT 0
);
INSERT INTO rows (id, source, benign, original, rewritten, reasoning, name, reasoner, templates,
    image, pair, renamed) SELECT * FROM found INDEXED BY by_id ORDER BY id;
DROP TABLE found;
"""
_WHOLE: Final = """
SELECT id, source, benign, original, rewritten, reasoning, image_id, reasoner, templates, sha256
FROM rows JOIN names ON names.number = name JOIN images ON images.number = image
WHERE held = ? ORDER BY rows.number
"""
_ITEMS: Final = """
SELECT id, image_id, original, sha256, bits, colours, pair
FROM rows JOIN names ON names.number = name JOIN images ON images.number = image
ORDER BY rows.number
"""
_TAUGHT: Final = """
SELECT CASE renamed WHEN 1 THEN sha256 ELSE image_id END, original, rewritten
FROM rows JOIN names ON names.number = name JOIN images ON images.number = image
ORDER BY rows.number
"""


_T = TypeVar("_T")


@dataclass(frozen=True)
class Again(Generic[_T]):
    """What can be gone through more than once; `make` begins anew."""

    make: Callable[[], Iterator[_T]]

    def __iter__(self) -> Iterator[_T]:
        return self.make()


class Met:
    """The texts that were met, by 16 bytes of a hash, in a file on disk.

    Args:
        file: The file, which is new.
    """

    def __init__(self, file: Path) -> None:
        self._file = sqlite3.connect(file, isolation_level=None)
        self._file.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-16384;"
            "CREATE TABLE met (digest BLOB PRIMARY KEY) WITHOUT ROWID; BEGIN"
        )
        self._number = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        return self._number

    def add(self, text: str) -> bool:
        """Add a text; returns whether it was not there."""
        digest = blake2b(_blob(text) or b"", digest_size=16).digest()
        added = self._file.execute("INSERT OR IGNORE INTO met VALUES (?)", (digest,)).rowcount
        self._number += added
        return bool(added)


@dataclass(frozen=True)
class KeptRow:
    """A row to export.

    Attributes:
        image: A file with the image as the reasoner saw it.
        columns: The provenance columns of the data set.
    """

    image: Path
    columns: dict[str, Any]


class KeptRows:
    """Rows that are added in any order, and then gone through in the order of their ids.

    Args:
        folder: Folder for the images, each written once, and for the file of the rows.
    """

    def __init__(self, folder: Path) -> None:
        self._images = folder / "images"
        self._images.mkdir()
        self._file = sqlite3.connect(folder / "rows.sqlite", isolation_level=None)
        self._file.executescript(_TABLES)
        self._file.execute("BEGIN")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        return int(self._one("SELECT COUNT(*) FROM rows"))

    def image(self, sha256: str) -> int | None:
        """The number of an image that is there."""
        found = self._file.execute("SELECT number FROM images WHERE sha256 = ?", (_blob(sha256),))
        row = found.fetchone()
        return None if row is None else int(row[0])

    def add_image(self, sha256: str, content: bytes, look: Fingerprint) -> int:
        """Write an image; returns its number."""
        (self._images / sha256).write_bytes(content)
        values = (_blob(sha256), look.bits, look.colours)
        return int(
            self._file.execute(
                "INSERT INTO images (sha256, bits, colours) VALUES (?, ?, ?)", values
            ).lastrowid
            or 0
        )

    def add(self, columns: dict[str, Any], image: int, pair: str | None, renamed: bool) -> None:
        """Add a row.

        Args:
            columns: Its columns.
            image: The number of its image.
            pair: Name of the subject of image and text, if the data have one.
            renamed: Whether its id is not the one in its log.
        """
        image_id = _blob(columns["image_id"])
        self._file.execute("INSERT OR IGNORE INTO names (image_id) VALUES (?)", (image_id,))
        name = self._one("SELECT number FROM names WHERE image_id = ?", image_id)
        values = [
            name if column == "image_id" else _blob(columns[column])
            for column in COLUMNS
            if column != "benign"
        ]
        values[2:2] = [int(columns["benign"])]
        self._file.execute(
            f"INSERT INTO found VALUES ({', '.join('?' * 12)})",
            (*values, image, _blob(pair), int(renamed)),
        )

    def sort(self) -> None:
        """End adding: from here on, rows are in the order of their ids."""
        self._file.executescript(_SORTED)
        self._file.execute("BEGIN")

    @property
    def taught(self) -> Again[Taught]:
        """What each row teaches, with the identity of its image."""
        return Again(self._taught)

    def items(self) -> Iterator[Item]:
        """Each row for the leak check."""
        for row_id, image_id, text, sha256, bits, colours, pair in self._each(_ITEMS):
            yield Item(
                _text(row_id),
                _text(image_id),
                _text(text),
                self._images / _text(sha256),
                _text(sha256),
                Fingerprint(bits, colours),
                None if pair is None else _text(pair),
            )

    def images(self) -> Iterator[Fingerprint]:
        """The fingerprints of the images of all rows, by the images' numbers."""
        used = "number IN (SELECT image FROM rows)"
        for bits, colours in self._each(
            f"SELECT bits, colours FROM images WHERE {used} ORDER BY number"
        ):
            yield Fingerprint(bits, colours)

    def shown(self) -> Iterator[tuple[int, int]]:
        """For each row the number of its image, and the number of the image's name."""
        yield from self._each("SELECT image, name FROM rows ORDER BY number")

    def drop(self, places: Iterable[int]) -> None:
        """Leave rows out, by their places among all rows as they were sorted."""
        self._file.executemany(
            "DELETE FROM rows WHERE number = ?", ((place + 1,) for place in places)
        )

    def drop_ids(self, ids: Iterable[str]) -> None:
        """Leave rows out, by their ids."""
        self._file.execute("CREATE INDEX rows_by_id ON rows (id)")
        self._file.executemany("DELETE FROM rows WHERE id = ?", ((_blob(each),) for each in ids))

    def hold_out(self, held: Iterable[bool]) -> None:
        """Say for each row whether it is held out."""
        numbers = [number for (number,) in self._each("SELECT number FROM rows ORDER BY number")]
        self._file.executemany(
            "UPDATE rows SET held = 1 WHERE number = ?",
            ((number,) for number, out in zip(numbers, held, strict=True) if out),
        )

    def part(self, held: bool) -> Iterator[KeptRow]:
        """The rows that are held out, or the others."""
        for *values, sha256 in self._each(_WHOLE, int(held)):
            columns: dict[str, Any] = {
                name: bool(value) if name == "benign" else _text(value)
                for name, value in zip(COLUMNS, values, strict=True)
            }
            yield KeptRow(self._images / _text(sha256), columns)

    def counts(self, column: str) -> dict[str, int]:
        """How many rows have each value of a column, in the order in which values occur."""
        found = self._each(
            f"SELECT {column}, COUNT(*) FROM rows GROUP BY {column} ORDER BY MIN(number)"
        )
        return {_text(value): count for value, count in found}

    @property
    def benign(self) -> int:
        """Number of benign rows."""
        return int(self._one("SELECT COUNT(*) FROM rows WHERE benign"))

    @property
    def image_names(self) -> int:
        """Number of images, by their names."""
        return int(self._one("SELECT COUNT(DISTINCT name) FROM rows"))

    def _taught(self) -> Iterator[Taught]:
        for image, original, rewritten in self._each(_TAUGHT):
            yield Taught(_text(image), _text(original), _text(rewritten))

    def _one(self, query: str, *values: Any) -> Any:
        return self._file.execute(query, values).fetchone()[0]

    def _each(self, query: str, *values: Any) -> Iterator[Any]:
        with closing(self._file.execute(query, values)) as found:
            yield from found


def _blob(text: str | None) -> bytes | None:
    # Half characters, which JSON can hold, would be refused in a text.
    return None if text is None else text.encode(errors="surrogatepass")


def _text(blob: bytes) -> str:
    return blob.decode(errors="surrogatepass")
