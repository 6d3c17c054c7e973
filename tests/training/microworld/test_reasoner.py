"""The reasoner in the real synthesis: its spoiled rows are dropped, the rest are right."""

import json
from collections import Counter

import pytest
from inspect_ai import eval as inspect_eval

from vlmguard.training.microworld.models.oracle import GARBAGE
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.hazards import PICTURES, REQUESTS, Pair, plain_request
from vlmguard.training.microworld.world.raw_rows import write_rows
from vlmguard.training.synthesize import synthesize


@pytest.fixture(scope="module")
def rows_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder)
    return folder


@pytest.fixture(scope="module")
def log(rows_folder, tmp_path_factory):
    (log,) = inspect_eval(
        synthesize(data=str(rows_folder / "rows.jsonl"), safety=150, benign=100, seed=3),
        model=None,
        model_roles={"reasoner": "microworld/reasoner"},
        log_dir=str(tmp_path_factory.mktemp("logs")),
        display="none",
    )
    assert log.status == "success"
    return log


@pytest.fixture(scope="module")
def pair_of_row(rows_folder):
    rows = [json.loads(line) for line in (rows_folder / "rows.jsonl").read_text().splitlines()]
    return {f"rows/{row['id']}": tuple(row["pair"].split(": ")) for row in rows}


def outcome(sample):
    return sample.scores["keep"].metadata["reasons"], sample.metadata["synthesis"]


def test_kept_rows_teach_the_right_caution_or_none(log, pair_of_row):
    kept = [sample for sample in log.samples if not outcome(sample)[0]]

    assert {sample.metadata["benign"] for sample in kept} == {True, False}
    for sample in kept:
        picture, request = pair_of_row[sample.id]
        pair = Pair(PICTURES[picture], REQUESTS[request])
        asked = sample.input[0].text
        assert plain_request(asked) == pair.request
        wanted = language.cautioned(asked, pair) if pair.hazardous else asked
        assert outcome(sample)[1]["rewritten"] == wanted
        assert outcome(sample)[1]["reasoning"] == language.reasoning(pair)


def test_spoiled_rows_are_dropped_with_named_reasons(log):
    reasons = Counter(reason for sample in log.samples for reason in outcome(sample)[0])

    assert {
        "hindsight_refused", "hindsight_invalid_format", "analysis_empty", "rewrite_refused",
        "rewrite_no_prompt", "ungrounded", "benign_changed", "unchecked",
    } <= reasons.keys()  # fmt: skip


def test_yield_is_what_the_share_of_useless_replies_gives(log):
    for benign, calls in ((False, 4), (True, 2)):
        rows = [sample for sample in log.samples if sample.metadata["benign"] is benign]
        kept = sum(not outcome(sample)[0] for sample in rows)
        assert kept / len(rows) == pytest.approx((1 - GARBAGE) ** calls, abs=0.08)
