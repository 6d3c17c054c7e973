"""Images (data URIs, and `data` alone) are taken out of a JSON text and put back."""

import json
import random

from vlmguard.guard.serving.json_text import folded

BARE = "QUJD" * 2_000
LONG = "data:image/png;base64," + BARE


def test_a_text_comes_back_as_it_was_and_is_json_in_between() -> None:
    strings = [LONG, f'"{LONG}"', f"{LONG}\\", "data:", f'\\"{LONG}', "a", f"x{LONG}", "\\", LONG]
    strings += [BARE, f'"{BARE}', f'{BARE}"', f"{BARE} ", f"\\{BARE}", f"{BARE}\\", BARE[:3_000]]
    for seed in range(200):
        source = random.Random(seed)
        value = {
            f"k{n}": [source.choice(strings), {"data": source.choice(strings)}] for n in range(4)
        }
        text = json.dumps(value)
        short, unfolded = folded(text)
        assert json.loads(short).keys() == value.keys()
        assert unfolded(short) == text


def test_images_are_out_of_the_way_and_come_back_behind_an_edit() -> None:
    text = json.dumps({"a": "old", "b": [LONG, LONG + "AA", {"data": BARE}]})
    short, unfolded = folded(text)
    assert len(short) < 200
    assert unfolded(short.replace("old", "new")) == text.replace("old", "new")
