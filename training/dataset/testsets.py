"""What the test sets hold, as far as leaks are concerned: ids, images and texts.

Small readers of the authors' layouts. They want less than the tasks' loaders do:
an image that is not there is still known by its name, and a file that is not
there means that the set, or a part of it, was not checked, which the report says
(`missing_parts`).
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_csv, read_json, read_json_lines
from vlmguard.guard.images.prepare import ImageError, from_data_uri, to_data_uri
from vlmguard.training.dataset.fingerprints import Fingerprint, fingerprint

MM_KINDS: Final = {
    "SD": "Rephrased Question(SD)",
    "SD_TYPO": "Rephrased Question",
    "TYPO": "Rephrased Question",
}
MM_SCENARIOS: Final = (
    *("01-Illegal_Activitiy", "02-HateSpeech", "03-Malware_Generation", "04-Physical_Harm"),
    *("05-EconomicHarm", "06-Fraud", "07-Sex", "08-Political_Lobbying", "09-Privacy_Violence"),
    *("10-Legal_Opinion", "11-Financial_Advice", "12-Health_Consultation", "13-Gov_Decision"),
)
FIGSTEP_FILES: Final = (("SafeBench", "safebench.csv"), ("SafeBench-Tiny", "SafeBench-Tiny.csv"))


@dataclass(frozen=True)
class Item:
    """A row of training data, or of a test set.

    Attributes:
        id: Its name.
        image_id: Identity of the image within its source (`vlguard/bad_ads/x.png`).
        text: The request; empty where the image is all that counts.
        image: The image file, if there is one.
        sha256: Of the image file, once it has been read.
        print: The image's fingerprint, once it has been read.
        pair: Identity of what image and text are about, if the data name it.
    """

    id: str
    image_id: str
    text: str
    image: Path | None = None
    sha256: str | None = None
    print: Fingerprint | None = None
    pair: str | None = None


def read_test_set(name: str, folder: Path) -> list[Item]:
    """Read a known test set.

    Args:
        name: One of `TEST_SETS`.
        folder: Its folder, in the authors' layout.

    Returns:
        Its items; empty if the annotation files are not there.

    Raises:
        UserError: A file is not what it should be.
    """
    try:
        return list(TEST_SETS[name](folder))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder}: not the layout of {name} ({error!r}). Correct or remove the folder."
        ) from error


def missing_parts(name: str, folder: Path) -> list[str]:
    """Annotation files that a known test set has and the folder lacks.

    Args:
        name: One of `TEST_SETS`.
        folder: Its folder; the set is there, at least in part.

    Returns:
        Names of what was not read, with the set's name before them.
    """
    places: dict[str, list[str]] = {}
    if name == "figstep":
        places = {file: [f"data/question/{file}", file] for _, file in FIGSTEP_FILES}
    if name == "mm_safetybench":
        roots = ("data/processed_questions", "processed_questions")
        places = {each: [f"{root}/{each}.json" for root in roots] for each in MM_SCENARIOS}
    return [f"{name}/{part}" for part, found in places.items() if _first(folder, *found) is None]


def read_own_set(path: Path) -> list[Item]:
    """Read a test set of one's own: JSONL with `image` and `prompt`.

    Each line may also hold `id`, `image_id`, and `pair`, which names what image and prompt are
    about; `image` may be empty where `image_id` is given.

    Args:
        path: The file; image paths are relative to it.

    Returns:
        Its items.

    Raises:
        UserError: Unreadable, or a line lacks a field.
    """
    items = []
    try:
        for number, row in read_json_lines(path):
            items.append(
                Item(
                    f"{path.stem}/{row.get('id', number)}",
                    row.get("image_id") or f"{path.stem}/{row['image']}",
                    row["prompt"],
                    path.parent / row["image"] if row.get("image") else None,
                    pair=row.get("pair"),
                )
            )
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: cannot be read as a test set ({error!r}). Each line is a JSON object with "
            f"image and prompt."
        ) from error
    return items


def with_images(items: list[Item]) -> list[Item]:
    """Read the images that are there.

    Args:
        items: Items with `image` paths.

    Returns:
        The items in the same order; `sha256` and `print` are filled where the
        image exists and decodes.
    """
    paths = {item.image for item in items if item.image is not None and item.image.is_file()}

    # Pillow decodes outside the interpreter lock.
    with ThreadPoolExecutor() as pool:
        read = dict(zip(paths, pool.map(_read_image, paths), strict=True))
    filled = []
    for item in items:
        found = read.get(item.image) if item.image is not None else None
        filled.append(replace(item, sha256=found[0], print=found[1]) if found else item)
    return filled


def _read_image(path: Path) -> tuple[str, Fingerprint] | None:
    data = path.read_bytes()
    try:
        picture = from_data_uri(to_data_uri(data))
    except ImageError:
        return None
    return hashlib.sha256(data).hexdigest(), fingerprint(picture)


def _siuo(folder: Path) -> Iterator[Item]:
    images = _first(folder, "data/images", "images")
    path = _first(folder, "data/siuo_gen.json", "siuo_gen.json")
    for row in _json(path):
        name = row["image"]
        yield Item(f"siuo/{row['question_id']}", f"siuo/{name}", row["question"], _at(images, name))


def _vlguard(folder: Path) -> Iterator[Item]:
    images = _first(folder, "test", ".")
    for row in _json(_first(folder, "test.json")):
        for number, turn in enumerate(row["instr-resp"]):
            text = next(turn[key] for key in turn if key.endswith("instruction"))
            name = row["image"]
            yield Item(
                f"vlguard-test/{row['id']}/{number}", f"vlguard/{name}", text, _at(images, name)
            )


def _mm_safetybench(folder: Path) -> Iterator[Item]:
    questions = _first(folder, "data/processed_questions", "processed_questions")
    images = _first(folder, "data/imgs", "imgs")
    for path in sorted(questions.glob("*.json")) if questions else []:
        for key, row in _json(path).items():
            for kind, field in MM_KINDS.items():
                name = f"{path.stem}/{kind}/{key}.jpg"
                item_id = f"mm_safetybench/{path.stem}/{kind}/{key}"
                yield Item(item_id, f"mm_safetybench/{name}", row[field], _at(images, name))


def _figstep(folder: Path) -> Iterator[Item]:
    # The text is the same for all; the image alone makes the item.
    for split, file in FIGSTEP_FILES:
        path = _first(folder, f"data/question/{file}", file)
        images = _first(folder, f"data/images/{split}", split)
        if path:
            for _, row in read_csv(path, "Download it again.")[1]:
                name = f"query_ForbidQI_{row['category_id']}_{row['task_id']}_6.png"
                yield Item(
                    f"figstep/{split}/{row['category_id']}_{row['task_id']}",
                    f"figstep/{split}/{name}",
                    "",
                    _at(images, name),
                )


def _vlsbench(folder: Path) -> Iterator[Item]:
    for row in _json(_first(folder, "data.json")):
        name = row["image_path"]
        yield Item(
            f"vlsbench-test/{row['instruction_id']}",
            f"vlsbench/{name}",
            row["instruction"],
            folder / name,
        )


TEST_SETS: Final[dict[str, Callable[[Path], Iterator[Item]]]] = {
    "siuo": _siuo,
    "vlguard": _vlguard,
    "mm_safetybench": _mm_safetybench,
    "figstep": _figstep,
    "vlsbench": _vlsbench,
}


def _first(folder: Path, *candidates: str) -> Path | None:
    return next((folder / each for each in candidates if (folder / each).exists()), None)


def _at(images: Path | None, name: str) -> Path | None:
    return images / name if images else None


def _json(path: Path | None) -> Any:
    return read_json(path, "Download it again.") if path else []
