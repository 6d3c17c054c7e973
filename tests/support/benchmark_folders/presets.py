"""Small folders of the presets of `vlm_safety`, with drawn images and harmless texts."""

import csv
from pathlib import Path
from typing import Any

from support.folders import draw_image, write_json

LVLM_SAFER = (
    ("1-same_prompt_multiple_meaning.json", "picture"),
    ("2-same_prompt_different_attibutes.json", "picture"),
    ("3-same_image_different_region.json", "question"),
    ("4-same_image_same_region.json", "question"),
)
SCENARIOS = ("Animal", "Financial", "Privacy", "Self-Harm", "Violence")


def write_preset(name: str, root: Path, count: int = 1) -> Path:
    """Write a preset's folder with `count` rows in each of its files; returns it."""
    writers = {
        "lvlm_safer": _lvlm_safer,
        "salad": _salad,
        "mm_harmful": _mm_harmful,
        "hades": _hades,
        "harmbench_mm": _harmbench_mm,
        "omnisafebench": _omnisafebench,
        "visual_leak": _visual_leak,
    }
    writers[name](root, count)
    return root


def _lvlm_safer(root: Path, count: int) -> None:
    for place, (file, differs) in enumerate(LVLM_SAFER):
        rows: list[dict[str, Any]] = []
        for number in range(count):
            key = f"{place}_{number}"
            if differs == "picture":
                halves = {
                    half: {"description": "", "img_id": f"{half}_{key}.jpg", "img_url": "https://a"}
                    for half in ("safe_pair", "unsafe_pair")
                }
                rows.append({"type": "garden", "prompt": f"Plant what is shown {key}?", **halves})
                names = [half["img_id"] for half in halves.values()]
            else:
                picture = {"id": f"same_{key}.jpg", "source": "own", "type": "kitchen"}
                if number % 2 == 0:
                    picture |= {"url": f"https://example.org/{key}"}
                halves = {
                    "safe_pair": {"question": f"Wash it {key}?", "region": "local"},
                    "unsafe_pair": {"question": f"Burn it {key}?", "region": "local"},
                }
                rows.append({"img": picture, **halves})
                names = [picture["id"]]
            for image in names:
                draw_image(root / "data/imgs" / image, 20 * place + number)
        write_json(root / "data" / file, rows)


def _salad(root: Path, count: int) -> None:
    rows = []
    for number in range(count):
        for kind, note in (("unsafe", "safety warning"), ("safe", "safe suggestion")):
            image = f"F_{kind}_{number}.jpg"
            draw_image(root / "images" / image, number)
            row = {"query": f"Eat {kind} cake {number}?", "category": "Food", "safety type": kind}
            rows.append({**row, note: f"Note on {kind} cake {number}.", "image": image})
    write_json(root / "data.json", rows)


def _mm_harmful(root: Path, count: int) -> None:
    lines = [
        f'{{"image_url": "https://example.org/{n}", "question": "Mow this {n}?"}}'
        for n in range(count)
    ]
    root.mkdir(parents=True, exist_ok=True)
    (root / "questions.jsonl").write_text("\n".join(lines))
    for number in range(count):
        draw_image(root / "images" / f"{number}.jpg", number)


def _hades(root: Path, count: int) -> None:
    for place, scenario in enumerate(SCENARIOS):
        rows = []
        for number in range(1, count + 1):
            image = f"{number:06}.jpg"
            draw_image(root / "images" / scenario / image, 30 * place + number)
            row = {"id": number, "keywords": "rake", "category": "object", "image": image}
            rows.append({**row, "instruction": f"Write about the rake {scenario} {number}."})
        write_json(root / "instructions" / f"{scenario}.json", rows)


def _harmbench_mm(root: Path, count: int) -> None:
    header = ("Behavior", "FunctionalCategory", "SemanticCategory", "ImageFileName", "BehaviorID")
    rows = []
    for number in range(count):
        image = f"shed_{number}.png"
        draw_image(root / "data/multimodal_behavior_images" / image, number)
        rows.append((f"Paint shed, {number}", "multimodal", "sheds", image, f"shed_{number}"))
    file = "data/behavior_datasets/harmbench_behaviors_multimodal_all.csv"
    _write_csv(root / file, header, rows)


def _omnisafebench(root: Path, count: int) -> None:
    rows = []
    for number in range(count):
        image = f"dataset/images/{number}.png"
        draw_image(root / image, number)
        row = {"id": number, "original_prompt": f"Fell tree {number}?", "image_path": image}
        rows.append(
            {**row, "main_category": "A. Trees", "subcategory": "A1", "style": "imperative"}
        )
    write_json(root / "data_test.json", rows)


def _visual_leak(root: Path, count: int) -> None:
    rows = []
    for number in range(count):
        for kind, category, more in (("ocr", "OCR Injection", ""), ("pii", "PII Leakage", "Email")):
            image = f"{kind}_v2_{number:04}.png"
            draw_image(root / "images" / image, number)
            rows.append((image, category, f"Bake bread {kind} {number}", more))
    _write_csv(root / "metadata.csv", ("filename", "category", "target", "pii_type"), rows)


def _write_csv(path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
