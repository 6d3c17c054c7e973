"""The page of a run like the demo: every number computed by hand."""

import json
from typing import Any

import pytest
from support.oracle import always_refuse, oracle
from support.toy import Toy, run_toy, say

from vlmguard.cli import main

SLICES = ("joint", "benign")


def world() -> Toy:
    """Eight pictures of two slices in turn; all of `benign` ask for nothing bad."""
    return Toy(
        size=8,
        name="world",
        slices=SLICES,
        alone=True,
        about=lambda number: {"expected": "comply" if number % 2 else "care"},
        metadata={"note": "A synthetic world."},
    )


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The numbers that `vlmguard leaderboard` writes beside its page, which shows them as text."""
    folder = tmp_path_factory.mktemp("demo")
    logs = folder / "logs"
    # Joint requests in the even places, benign ones in the odd.
    bare = [say(10 if number % 2 else 2, True) for number in range(8)]
    guarded = [say(9 if number % 2 else 8, True) for number in range(8)]
    guarded[6] = say(3, True)
    guarded[7] = say(10, False, True)
    run_toy(logs / "none", world(), bare, exact=oracle())
    run_toy(logs / "guard", world(), guarded, exact=oracle(), defended=True)
    run_toy(logs / "refuse", world(), bare, exact=oracle(), solver=always_refuse())
    assert main(["leaderboard", str(logs), "--out", str(folder / "site")]) == 0
    text = (folder / "site" / "leaderboard.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def cells(content: dict[str, Any], defense: str) -> dict[str, Any]:
    (entry,) = [each for each in content["entries"] if each["defense"] == defense]
    found: dict[str, Any] = entry["cells"]
    return found


def test_rows_and_remarks(content: dict[str, Any]) -> None:
    target = "mockllm/target"
    assert content["rows"] == [
        [target, "undefended"],
        [target, "vlmguard"],
        [target, "always_refuse"],
    ]
    assert content["notes"] == ["A synthetic world."]
    assert [group["label"] for group in content["groups"]] == ["World all"]
    assert [group["judge"] for group in content["groups"]] == ["oracle"]


@pytest.mark.parametrize(
    ("defense", "means"),
    [
        # 2 10 2 10 2 10 2 10: safe and helpful where benign.
        ("undefended", {"safety": 6.0, "helpful": 1.0, "safe_and_helpful": 0.5}),
        # 8 9 8 9 8 9 3 10, the last refused: 6 of 8 are both.
        ("vlmguard", {"safety": 8.0, "helpful": 7 / 8, "safe_and_helpful": 6 / 8}),
        ("always_refuse", {"safety": 10.0, "helpful": 0.0, "safe_and_helpful": 0.0}),
    ],
)
def test_means(content: dict[str, Any], defense: str, means: dict[str, float]) -> None:
    found = cells(content, defense)
    assert {name: found[name]["mean"] for name in means} == pytest.approx(means)
    refused = {"undefended": (0, 0), "vlmguard": (0, 1 / 4), "always_refuse": (1, 1)}[defense]
    assert (found["dsr"]["mean"], found["over_refusal"]["mean"]) == refused
    assert (found["dsr"]["coverage"]["of"], found["over_refusal"]["coverage"]["of"]) == (4, 4)


def test_differences_and_tests(content: dict[str, Any]) -> None:
    both = cells(content, "vlmguard")["safe_and_helpful"]
    # Joint 0 2 4 gained, benign 7 lost: twice the chance of at most one of four, at most 1.
    assert both["difference"]["mean"] == pytest.approx(2 / 8)
    assert (both["difference"]["test"], both["difference"]["p"]) == ("McNemar", 2 * 5 / 16)
    assert both["verdict"] == ""
    safety = cells(content, "vlmguard")["safety"]["difference"]
    # Changes 6 -1 6 -1 6 -1 1 0, which add up to 16.
    assert safety["mean"] == pytest.approx(16 / 8)
    # Of 2^7 patterns of signs 16 or more either way: all 6s alike, and of the rest (four ones)
    # not less than -2, which 15 of 16 patterns are; the same for the other sign.
    assert safety["p"] == pytest.approx(2 * 15 / 2**7)
    # One defense that is not a control, four measures, and safe and helpful of the benign half.
    assert content["tests"] == 5


def test_slices_cost_and_gain(content: dict[str, Any]) -> None:
    (guarded,) = [each for each in content["entries"] if each["defense"] == "vlmguard"]
    joint, benign = (guarded["slices"][name] for name in SLICES)
    assert joint["safety"]["mean"] == (8 + 8 + 8 + 3) / 4
    assert benign["helpful"]["mean"] == 3 / 4
    assert joint["safe_and_helpful"]["difference"]["mean"] == 3 / 4
    assert (guarded["overhead"]["calls"], guarded["overhead"]["tokens"]) == (2, 30)
    gains = {gain["defense"]: gain for gain in content["gains"]}
    assert gains["vlmguard"]["of_means"] == pytest.approx(8 / 6 - 1)
    assert gains["vlmguard"]["both"] == pytest.approx(2 / 8)
    assert gains["always_refuse"]["both"] == pytest.approx(-1 / 2)
