"""Small folders in the layouts of the benchmarks, with drawn images and harmless texts."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

PHRASES = ["I cannot do this", "i'm sorry", "unsuitable"]
"""Used in place of VLGuard's list; the first has a capital, as one of theirs."""


def draw_image(path: Path, shade: int = 90) -> None:
    """Write a small plain picture in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 24), (shade % 256, 80, 120)).save(path)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def vlguard_records(unsafe: int, safe: int) -> list[dict[str, Any]]:
    """Records of test.json: categories alternate, images are named after ids."""
    records: list[dict[str, Any]] = []
    for number in range(unsafe):
        records.append(
            {
                "id": f"u{number}",
                "image": f"HOD/u{number}.png",
                "safe": False,
                "harmful_category": "privacy" if number % 2 else "deception",
                "harmful_subcategory": "other",
                "instr-resp": [{"instruction": f"Paint wall {number}?", "response": "Certainly."}],
            }
        )
    for number in range(safe):
        records.append(
            {
                "id": f"s{number}",
                "image": f"bad_ads/s{number}.png",
                "safe": True,
                "instr-resp": [
                    {"safe_instruction": f"What colour is wall {number}?", "response": "Blue."},
                    {"unsafe_instruction": f"Eat wall {number}?", "response": "I'm sorry, no."},
                ],
            }
        )
    return records


def write_vlguard(root: Path, unsafe: int = 4, safe: int = 3) -> Path:
    """Write a VLGuard folder with every optional file; returns it."""
    records = vlguard_records(unsafe, safe)
    write_json(root / "test.json", records)
    for number, record in enumerate(records):
        draw_image(root / "test" / record["image"], number)
    write_json(
        root / "train.json",
        [
            {"id": "t0", "image": "HOD/u0.png", "safe": False, "instr-resp": []},
            {"id": "t1", "image": "HOD/elsewhere.png", "safe": False, "instr-resp": []},
        ],
    )
    write_json(
        root / "gpt4_safe_safes.json",
        [
            {"id": record["id"], "image": record["image"], "output": "It is blue."}
            for record in records
            if record["safe"]
        ],
    )
    write_json(root / "refusal_keywords.json", PHRASES)
    return root


SCENARIOS = {
    "01-Illegal_Activitiy": 97,
    "02-HateSpeech": 163,
    "03-Malware_Generation": 44,
    "04-Physical_Harm": 144,
    "05-EconomicHarm": 122,
    "06-Fraud": 154,
    "07-Sex": 109,
    "08-Political_Lobbying": 153,
    "09-Privacy_Violence": 139,
    "10-Legal_Opinion": 130,
    "11-Financial_Advice": 167,
    "12-Health_Consultation": 109,
    "13-Gov_Decision": 149,
}
"""MM-SafetyBench's scenarios and how many questions each has."""


def write_mm_safetybench(
    root: Path, count: int = 2, image_types: tuple[str, ...] = ("SD",)
) -> Path:
    """Write `count` questions a scenario (ids 0, 2, 4 ...) with images; returns the folder."""
    for place, scenario in enumerate(SCENARIOS):
        entries = {}
        for number in range(count):
            entries[str(2 * number)] = {
                "Question": f"Raw {number}?",
                "Changed Question": f"Changed {number} of {scenario}?",
                "Key Phrase": f"garden fence number {number}",
                "Phrase Type": "product",
                "Rephrased Question": f"Bottom {number} of {scenario}?",
                "Rephrased Question(SD)": f"Shown {number} of {scenario}?",
                "GPT-Pred": "Yes",
            }
            for image_type in image_types:
                name = f"data/imgs/{scenario}/{image_type}/{2 * number}.jpg"
                draw_image(root / name, place * 10 + number)
        write_json(root / "data" / "processed_questions" / f"{scenario}.json", entries)
    tiny = [{"Scenario": scenario, "Sampled_ID_List": [0]} for scenario in SCENARIOS]
    write_json(root / "TinyVersion_ID_List.json", tiny)
    return root


def write_mm_parquet(root: Path, image_type: str, rows: list[dict[str, Any]]) -> None:
    """Write the hub's copy of an image type: the same rows for every scenario."""
    for scenario in SCENARIOS:
        path = root / "data" / scenario[3:] / f"{image_type}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), path)


FIGSTEP_CATEGORIES = (
    "Illegal Activity",
    "Hate Speech",
    "Malware Generation",
    "Physical Harm",
    "Fraud",
    "Adult Content",
    "Privacy Violation",
    "Legal Opinion",
    "Financial Advice",
    "Health Consultation",
)


def write_figstep(root: Path, per_category: int = 1) -> Path:
    """Write the tiny split with images, and the fixed text; returns the folder."""
    lines = ["dataset,category_id,task_id,category_name,question,instruction"]
    for category, name in enumerate(FIGSTEP_CATEGORIES, start=1):
        for number in range(1, per_category + 1):
            lines.append(
                f"ForbidQI,{category},{number},{name},How to plant tree {category}-{number}?,"
                f'"Steps, to plant tree {category}-{number}."'
            )
            image = f"query_ForbidQI_{category}_{number}_6.png"
            draw_image(root / "data/images/SafeBench-Tiny" / image, category * 20 + number)
    (root / "data/question").mkdir(parents=True)
    (root / "data/question/SafeBench-Tiny.csv").write_text("\n".join(lines) + "\n")
    (root / "figstep_prompt.txt").write_text("Fill in the list in this picture, please.\n")
    return root
