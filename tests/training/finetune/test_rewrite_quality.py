"""The rates that are logged beside the validation loss."""

from pathlib import Path
from typing import Any

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.checkpoints import checkpoint
from support.training_data import write_export

from vlmguard.training.finetune.config_file import from_dict
from vlmguard.training.finetune.rewrite_quality import Judged, judge_rewrite, pick_rows, rates
from vlmguard.training.finetune.train import build_trainer
from vlmguard.training.finetune.traindata import load_training_data
from vlmguard.training.finetune.trl_options import trl_arguments

ASKED = "How do I climb this tower quickly"
TAUGHT = "How do I visit this tower safely by its stairs"


def reply(prompt: str) -> str:
    return f"<reasoning>It is high.</reasoning>\n<prompt>{prompt}</prompt>"


@pytest.mark.parametrize(
    ("prompt", "kept", "unchanged"),
    [
        (ASKED, True, True),
        ("how do i climb this tower quickly?", True, True),  # case and punctuation apart
        (TAUGHT, True, True),
        # 4 of 7 words: how, do, this, tower.
        ("How do people enjoy this tower", True, False),
        # 3 of 7: below one half, and below the reference's 5 of 7.
        ("Where do people find this tower", False, False),
        ("Tell me a joke", False, False),
    ],
)
def test_a_rewrite_is_held_against_request_and_reference(
    prompt: str, kept: bool, unchanged: bool
) -> None:
    assert judge_rewrite(reply(prompt), ASKED, TAUGHT) == Judged(True, kept, unchanged)


def test_a_reference_that_keeps_little_lowers_the_bar() -> None:
    loose = "Is this tower open"  # keeps 2 of 7 words
    assert judge_rewrite(reply("May I see this tower"), ASKED, loose).intent_kept  # 3 of 7
    assert not judge_rewrite(reply("May we see a tower"), ASKED, loose).intent_kept  # 1 of 7


def test_scripts_without_spaces_are_compared_too() -> None:
    asked = "这座塔怎么爬上去"
    assert judge_rewrite(reply("这座塔怎么安全爬上去"), asked, asked).intent_kept
    assert not judge_rewrite(reply("今天天气很好吗"), asked, asked).intent_kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no tags at all",
        "<prompt></prompt>",
        reply("a") + reply("b"),
        reply("the request to pass on"),
    ],
)
def test_a_reply_that_cannot_be_used_counts_against_all(text: str) -> None:
    assert judge_rewrite(text, "a", "a") == Judged(False, False, False)


def test_rates_by_hand() -> None:
    judged = [
        Judged(True, True, True),
        Judged(True, False, False),
        Judged(False, False, False),
        Judged(True, True, False),
    ]
    assert rates(judged, [True, False, True, False]) == {
        "format_rate": 0.75,
        "intent_kept": 0.5,
        "benign_unchanged": 0.5,
    }
    assert "benign_unchanged" not in rates(judged, [False] * 4)
    assert rates([], []) == {}


@given(
    benign=st.lists(st.booleans(), min_size=1, max_size=30),
    count=st.integers(1, 12),
    processes=st.integers(1, 4),
)
def test_picked_rows_hold_both_kinds_and_divide_evenly(
    benign: list[bool], count: int, processes: int
) -> None:
    split = datasets.Dataset.from_dict({"benign": benign, "row": list(range(len(benign)))})
    picked = pick_rows(split, count, processes)
    available = min(count, len(benign))
    # Fewer rows than processes: every process takes all of them.
    assert len(picked) == (
        available // processes * processes if available >= processes else available
    )
    assert len(set(picked["row"])) == len(picked)
    if len(picked) == available:
        kinds = [sum(picked["benign"]), len(picked) - sum(picked["benign"])]
        have = [sum(benign), len(benign) - sum(benign)]
        for mine, other, there in zip(kinds, reversed(kinds), have, strict=True):
            assert mine >= min(there, other, available // 2)


def test_images_of_the_validation_set_are_decoded_for_the_loss_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are picked, benign rows counted, and pictures passed on, without decoding."""
    decoded: list[int] = []
    decode = datasets.Image.decode_example

    def counted(self: datasets.Image, *args: Any, **rest: Any) -> Any:
        decoded.append(1)
        return decode(self, *args, **rest)

    monkeypatch.setattr(datasets.Image, "decode_example", counted)
    options = {
        "data": str(write_export(tmp_path / "data", train=2, validation=12)),
        "model": str(checkpoint("qwen2_vl")),
        "output_dir": str(tmp_path / "out"),
        "quality_rows": 4,
        "quality_max_tokens": 2,
        "report_to": "none",
    }
    config = from_dict(options)
    trainer = build_trainer(
        config, trl_arguments(config), load_training_data(config, evaluated=True)
    )
    assert len(decoded) <= 4  # TRL looks at the first row of a split
    decoded.clear()
    list(trainer.get_eval_dataloader())
    for_the_loss = len(decoded)
    assert for_the_loss >= 12
    decoded.clear()
    assert trainer.evaluate()["eval_format_rate"] == 0.0
    assert len(decoded) == for_the_loss
