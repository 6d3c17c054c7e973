"""What `is_refusal` finds and misses, counted on published texts and on our own.

Read from VLMGUARD_DATA (nothing is copied); counted with English as it was before, and now:

| texts | of | before | now |
|---|---|---|---|
| VLGuard train, replies to unsafe images | 1,023 | 954 | 1,023 |
| VLGuard train, replies to unsafe instructions | 977 | 560 | 926 |
| VLGuard test, replies to unsafe instructions | 558 | 412 | 535 |
| VLGuard test, replies to unsafe images (many only describe the harm) | 442 | 264 | 295 |
| VLGuard, replies to safe instructions (all 7 say what they cannot tell) | 1,535 | 3 | 7 |
| SIUO, reference answers (most warn and answer) | 167 | 13 | 26 |
| MSTS answers labelled 1.2, refusal only: all but 47 of 466 that hold no words | 419 | 388 | 412 |
| MSTS answers labelled unsafe | 181 | 0 | 0 |
| requests of VLGuard and SIUO | 4,702 | 0 | 0 |
| MSTS prompts in eleven languages | 2,800 | 0 | 0 |

It finds all 440 of `refusals/refused` (40 refusals in each of eleven languages, our own words), and
none of `refusals/other` (318 requests and answers that resemble them). The author of the patterns
wrote both, and corrected the patterns by them: these rates are not its recall. Of 70 refusals in
public repositories, by other authors (not copied here), it found 53 (76 %) before the patterns were
corrected by those too. Many that it missed are about scope or about reading a picture's text.

Of `refusals/held_out` (20 in each language, by another author without a look at the patterns, many
of them hard: no word of inability, a change of subject) it finds 143 of 220, 65 %. With another 20
of each language, 440 in all, the first patterns found 115 (26 %). Those other ones were then read,
and the patterns extended by them. Do not read the held-out ones when you extend the patterns again.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import RealData

from vlmguard.guard.refusals import is_refusal

OWN = Path(__file__).with_name("refusals")
LANGUAGES = sorted(path.stem for path in (OWN / "refused").glob("*.txt"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_our_own_refusals_in_each_language(language: str) -> None:
    refused = _lines(OWN / "refused" / f"{language}.txt")
    assert len(refused) == 40
    assert [text for text in refused if not is_refusal(text)] == []


FOUND = {
    "arabic": 10,
    "chinese": 17,
    "english": 13,
    "farsi": 8,
    "french": 16,
    "german": 13,
    "hindi": 10,
    "italian": 11,
    "korean": 15,
    "russian": 15,
    "spanish": 15,
}
"""Found of the 220 refusals, 20 in each language, that no author of patterns has read."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_refusals_of_another_hand_that_were_held_out(language: str) -> None:
    held_out = _lines(OWN / "held_out" / f"{language}.txt")
    assert len(held_out) == 20
    assert sum(map(is_refusal, held_out)) >= FOUND[language]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_resembles_a_refusal_in_each_language(language: str) -> None:
    other = _lines(OWN / "other" / f"{language}.txt")
    assert len(other) >= 16
    assert [text for text in other if is_refusal(text)] == []


def test_no_language_is_forgotten() -> None:
    known = "arabic chinese english farsi french german hindi italian korean russian spanish"
    assert known.split() == LANGUAGES


@pytest.mark.parametrize(
    ("file", "kind", "found", "of"),
    [
        ("train.json", "instruction", 1023, 1023),
        ("train.json", "unsafe_instruction", 926, 977),
        ("test.json", "unsafe_instruction", 535, 558),
        ("test.json", "instruction", 295, 442),
    ],
)
def test_reference_refusals_of_vlguard(
    real_data: RealData, file: str, kind: str, found: int, of: int
) -> None:
    replies = [reply for _, reply in _turns(real_data("vlguard", file) / file, kind)]
    assert len(replies) == of
    assert sum(map(is_refusal, replies)) >= found


def test_reference_answers_of_siuo_that_refuse(real_data: RealData) -> None:
    records = _siuo(real_data)
    answers = [record["reference_answer"] for record in records]
    assert (sum(map(is_refusal, answers)), len(answers)) == (26, 167)


def test_reference_answers_to_safe_instructions(real_data: RealData) -> None:
    folder = real_data("vlguard", "train.json", "test.json")
    replies = [
        reply
        for file in ("train.json", "test.json")
        for _, reply in _turns(folder / file, "safe_instruction")
    ]
    assert len(replies) == 1535
    assert sum(map(is_refusal, replies)) <= 7


def test_no_request_of_vlguard_and_siuo_is_a_refusal(real_data: RealData) -> None:
    folder = real_data("vlguard", "train.json", "test.json")
    requests = [record["question"] for record in _siuo(real_data)]
    for file in ("train.json", "test.json"):
        for kind in ("instruction", "safe_instruction", "unsafe_instruction"):
            requests += [request for request, _ in _turns(folder / file, kind)]
    assert len(requests) == 4702
    assert [request for request in requests if is_refusal(request)] == []


def test_no_prompt_of_msts_is_a_refusal_in_any_language(real_data: RealData) -> None:
    files = sorted((real_data("msts") / "data" / "prompts").glob("*.csv"))
    prompts = [row["prompt_text"] for file in files for row in _rows(file)]
    assert (len(files), len(prompts)) == (12, 2800)
    assert [prompt for prompt in prompts if is_refusal(prompt)] == []


def test_answers_that_people_labelled_refusal_only(real_data: RealData) -> None:
    answers = _labelled(real_data, "final_taxonomy", "1.2 - refusal only")
    worded = [text for text in answers if not text.startswith(("FinishReason.", "API RetryError"))]
    assert (len(answers), len(worded)) == (466, 419)
    assert sum(map(is_refusal, worded)) >= 412


def test_answers_that_people_labelled_unsafe(real_data: RealData) -> None:
    answers = _labelled(real_data, "final_label", "2 - unsafe")
    assert len(answers) == 181
    assert [text for text in answers if is_refusal(text)] == []


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _turns(path: Path, kind: str) -> Iterator[tuple[str, str]]:
    for record in json.loads(path.read_text(encoding="utf-8")):
        for turn in record["instr-resp"]:
            if kind in turn:
                yield turn[kind], turn["response"]


def _siuo(real_data: RealData) -> list[dict[str, str]]:
    path = real_data("siuo", "data/siuo_gen.json") / "data" / "siuo_gen.json"
    records: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return records


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _labelled(real_data: RealData, column: str, label: str) -> list[str]:
    name = "data/response_annotations/english_multimodal.csv"
    return [
        row["response"] for row in _rows(real_data("msts", name) / name) if row[column] == label
    ]
