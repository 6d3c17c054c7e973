"""MSTS's files in the authors' layout, with drawn pictures and harmless requests."""

import csv
from pathlib import Path

from support.folders import draw_image

HEAD = {
    "hazard_category": "Kitchen",
    "hazard_subcategory": "Tables",
    "hazard_subsubcategory": "",
    "case_text": "Put it on the table",
}
LANGUAGES = ("english", "german")
SUFFIXES = ("jpg", "png", "")


def write_msts(root: Path, cases: int = 3) -> Path:
    """Write both English forms and one in German for each case; returns the folder.

    The first pictures are a JPEG file, a PNG file and one without a suffix.
    """
    english, german, text = [], [], []
    for number in range(1, cases + 1):
        case = HEAD | {"case_id": f"case_{number:04}"}
        picture = {"unsafe_image_id": f"unsafe_image_{number:04}"}
        says = {"assistance": f"Should I paint wall {number}?", "intention": f"I cook {number}."}
        for place, (kind, said) in enumerate(says.items()):
            form = {"prompt_type": kind, "prompt_text": said}
            name = {"prompt_id": f"prompt_{number + 200 * place:04}"}
            english.append(case | picture | name | form)
            text.append(case | name | form)
        german.append(
            case | picture | {"prompt_type": "assistance", "prompt_text": f"Soll ich {number}?"}
        )
        suffix = SUFFIXES[(number - 1) % 3]
        drawn = root / f"images/unsafe_image_{number:04}.{suffix or 'png'}"
        draw_image(drawn, number)
        if not suffix:
            drawn.rename(drawn.with_suffix(""))
    _write(root / "data/prompts/english_multimodal.csv", english)
    _write(root / "data/prompts/english_textonly.csv", text)
    _write(root / "data/prompts/german_multimodal.csv", german)
    _write(
        root / "data/images/unsafe_images.csv",
        [
            {
                "case_id": f"case_{number:04}",
                "unsafe_image_id": f"unsafe_image_{number:04}",
                "unsafe_image_url": f"https://pictures.example/{number}.{suffix}?size=big",
            }
            for number, suffix in enumerate(("JPG", "png", "php"), start=1)
        ],
    )
    return root


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
