"""MME's questions in the hub's layout and in the authors', with drawn pictures."""

from pathlib import Path
from typing import Any

from support.folders import draw_image
from support.parquet import packed_picture, write_parquet

SUBTASKS = (
    *("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark"),
    *("artwork", "OCR"),
    *("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"),
)
# Those whose pictures and questions have folders of their own.
APART = ("posters", "celebrity", "scene", "landmark", "artwork")


def questions(name: str, picture: int) -> list[tuple[str, str]]:
    """Both questions of a picture, with their answers."""
    return [
        (f"Is {name} {picture} a lamp? Please answer yes or no.", "Yes"),
        (f"Is {name} {picture} a boat? Please answer yes or no.", "No"),
    ]


def write_mme(root: Path, pictures: int = 2) -> Path:
    """Write the authors' folders; returns the folder that holds them."""
    for place, name in enumerate(SUBTASKS):
        folder = root / "MME_Benchmark_release_version" / name
        images = folder / "images" if name in APART else folder
        texts = folder / "questions_answers_YN" if name in APART else folder
        texts.mkdir(parents=True)
        for number in range(pictures):
            draw_image(images / f"{number:04}.png", 5 * place + number)
            lines = ["\t".join(each) for each in questions(name, number)]
            (texts / f"{number:04}.txt").write_text("\n".join(lines) + "\n")
    return root


def rows(pictures: int = 2) -> list[dict[str, Any]]:
    """The hub's rows."""
    return [
        {
            "question_id": f"{name}/{number:04}.png",
            "image": packed_picture(5 * place + number),
            "question": question,
            "answer": answer,
            "category": name,
        }
        for place, name in enumerate(SUBTASKS)
        for number in range(pictures)
        for question, answer in questions(name, number)
    ]


def write_mme_parquet(root: Path, packed: list[dict[str, Any]] | None = None) -> Path:
    """Write rows, cut into two files; returns the folder."""
    packed = rows() if packed is None else packed
    half = len(packed) // 2 + 1
    write_parquet(root / "data/test-00000-of-00002.parquet", packed[:half])
    write_parquet(root / "data/test-00001-of-00002.parquet", packed[half:])
    return root
