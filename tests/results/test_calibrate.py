"""`vlmguard calibrate`: thresholds from records in logs, and a file that Inspect reads."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText, ModelConfig
from inspect_ai.solver import Generate, Solver, TaskState, solver
from scipy.stats import beta
from support.clones import made_anew
from support.shards import split
from support.toy import Toy, run_toy, say

from vlmguard.cli import main
from vlmguard.guard.cards import Calls, Check, DefenseCard
from vlmguard.guard.cards.registry import _DEFENSES
from vlmguard.guard.record import METADATA_KEY, DefenseRecord, Stage, recorded
from vlmguard.guard.thresholds import alarms_allowed, threshold_above
from vlmguard.results.calibrate import choose
from vlmguard.solvers import policy_route

Notes = Callable[[int], dict[str, float | None]]
Maker = Callable[..., None]
RISK_READER = DefenseCard(
    name="risk_reader",
    title="Risk reader",
    version="1-A",
    paper="",
    summary="a model reads the answer and tells its risk",
    target_calls=Calls(1, 1),
    checks=(Check("threshold", "risk", low=False, bounds=(0.0, 1.0)),),
)
"""Another package's defense, whose high scores raise an alarm."""

PICTURE = "data:image/png;base64,iVBORw0KGgo="


@solver
def scoring() -> Solver:
    """A defense that leaves a record for `make_log` to fill."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        with recorded(state, "scoring", "?", "2-A") as record:
            state = await generate(state)
            record.add_call("answer", state.output, "target")
        return state

    return solve


@pytest.fixture(autouse=True)
def risk_reader_has_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_DEFENSES, RISK_READER.name, RISK_READER)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    """A real log of 24 requests, from which others are made."""
    toy, folder = Toy(size=24, alone=True), tmp_path_factory.mktemp("real")
    log = run_toy(folder, toy, [say(8, True)] * 24, solver=scoring(), judged=False)
    return read_eval_log(log.location)


@pytest.fixture
def make_log(real: EvalLog, tmp_path: Path) -> Maker:
    """Writes a log of a defense; the test gives the notes for each sample number."""

    def make(
        defense: str,
        notes: Notes,
        harmless: int = 20,
        folder: str = ".",
        pictured: bool = False,
        images: int = 24,
        template: str = "t",
        roles: tuple[str, ...] = (),
    ) -> None:
        log = real.model_copy(deep=True)
        log.eval.eval_id = log.eval.task_id = uuid4().hex
        log.eval.solver_args_passed = {"threshold": 0.9, "policy": "strict"}
        log.eval.model_roles = {role: ModelConfig(model=f"mockllm/{role}") for role in roles}
        for number, sample in enumerate(log.samples or []):
            made_anew(sample)
            sample.metadata["expected"] = "comply" if number < harmless else "care"
            sample.metadata["image_id"] = str(number % images)
            record = DefenseRecord.of(sample)
            record.defense, record.template, record.notes = defense, template, notes(number)
            if roles:  # the first is asked, others are bound for other defenses
                record.stages.append(Stage(name="check", role=roles[0], output=""))
            sample.metadata[METADATA_KEY] = record.model_dump(exclude_defaults=True)
            if pictured:
                parts = [ContentImage(image=PICTURE), ContentText(text=str(sample.input))]
                sample.input = [ChatMessageUser(content=[*parts])]
            for score in (sample.scores or {}).values():
                tally = (score.metadata or {})["defense"]
                tally |= {"defense": defense, "template": template}
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        write_eval_log(log, str(place / f"{log.eval.eval_id}.eval"))

    return make


def calibrated(folder: Path, defense: str, rate: float) -> dict[str, Any]:
    out = folder / "found.yaml"
    words = [defense, str(folder), "--out", str(out), "--false-alarms", str(rate)]
    assert main(["calibrate", *words]) == 0
    found: dict[str, Any] = yaml.safe_load(out.read_text())
    return found


def refusal(folder: Path, capsys: pytest.CaptureFixture[str], defense: str, rate: float) -> str:
    out = folder / "found.yaml"
    words = [defense, str(folder), "--out", str(out), "--false-alarms", str(rate)]
    assert main(["calibrate", *words]) == 2
    assert not out.exists()
    return " ".join(capsys.readouterr().err.split())


def test_a_detector_alarms_at_two_of_twenty(
    make_log: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # P(harmless) is 0.00, 0.05 ... 0.95 of harmless answers, and 0.01 of four others. Two alarms
    # are 0.00 and 0.05; the threshold lies halfway from there to 0.10.
    make_log("mllm_protector", lambda n: {"harmless": n / 20 if n < 20 else 0.01})
    # Independent of the log's own threshold, and with its other arguments.
    assert calibrated(tmp_path, "mllm_protector", 0.1) == {
        "policy": "strict",
        "threshold": pytest.approx(0.075),
    }
    said = capsys.readouterr().out
    low, high = beta.ppf(0.025, 2, 19) * 100, beta.ppf(0.975, 3, 18) * 100
    assert (
        "False alarms: 2 of 20 answers to harmless requests about 20 images, "
        f"10.0% [{low:.1f}, {high:.1f}], 95 % interval; at most 10.0% were asked for."
    ) in said
    assert "Alarms at other requests: 4 of 4." in said


def test_logs_of_shards_are_one_run(
    make_log: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_log("mllm_protector", lambda n: {"harmless": n / 20 if n < 20 else 0.01})
    found = calibrated(tmp_path, "mllm_protector", 0.1)
    said = capsys.readouterr().out
    (log,) = tmp_path.glob("*.eval")
    split(log, tmp_path / "shards", 3)
    log.unlink()
    assert calibrated(tmp_path, "mllm_protector", 0.1) == found
    assert capsys.readouterr().out == said.replace("(1 log)", "(3 logs)")


def test_a_threshold_names_its_target_its_data_and_no_role_that_was_not_asked(
    make_log: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_log("mllm_protector", lambda n: {"harmless": n / 20}, roles=("detector", "rewriter"))
    make_log("mllm_protector", lambda n: {"harmless": n / 20}, roles=("detector",))
    calibrated(tmp_path, "mllm_protector", 0.1)
    for said in (capsys.readouterr().out, (tmp_path / "found.yaml").read_text()):
        assert "Set for the target mockllm/target" in said
        assert "Models in roles: detector=mockllm/detector\n" in said
        assert "Data: toy" in said
        assert "(2 logs)" in said
        assert "rewriter" not in said


def test_eta_alarms_where_both_of_its_checks_do(make_log: Maker, tmp_path: Path) -> None:
    # Rewards fall as cosines rise, so both checks agree and each gets the whole rate: the two worst
    # rewards are -19 and -18, the two highest cosines 0.18 and 0.19.
    make_log("eta", lambda n: {"reward": -n, "clip": n / 100}, folder="alike", pictured=True)
    found = calibrated(tmp_path / "alike", "eta", 0.1)
    assert found["post_threshold"] == -17.5
    assert found["pre_threshold"] == pytest.approx(0.175)
    # Rewards fall as cosines fall. Both together alarm at two samples only if each alarms at eleven
    # of twenty (numbers 9 to 19, and 0 to 10): 9 and 10 are in both.
    make_log("eta", lambda n: {"reward": -n, "clip": -n / 100}, folder="apart", pictured=True)
    found = calibrated(tmp_path / "apart", "eta", 0.1)
    assert found["post_threshold"] == -8.5
    assert found["pre_threshold"] == pytest.approx(-0.105)


def test_without_images_etas_rewards_decide(
    make_log: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_log("eta", lambda n: {"reward": -n})
    found = calibrated(tmp_path, "eta", 0.1)
    assert found["post_threshold"] == -17.5
    assert "pre_threshold" not in found
    assert "pre_threshold was not set" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("defense", "notes", "options", "rate", "said"),
    [
        ("eta", lambda n: {}, {}, 0.1, "0 scored answers to harmless requests"),
        ("eta", lambda n: {"reward": n}, {"harmless": 0}, 0.1, "24 to others"),
        ("risk_reader", lambda n: {"risk": n / 24}, {}, 0.02, "needs at least 50 harmless ones"),
        ("risk_reader", lambda n: {"risk": n / 24}, {"images": 9}, 0.1, "about 9 images"),
        ("guard_model", lambda n: {}, {}, 0.1, "No answer has a score: guard_model gives none"),
        ("risk_reader", lambda n: {"risk": float(n > 9)}, {}, 0.1, "no threshold from 0 to 1"),
        ("mllm_protector", lambda n: {"harmless": 0.0}, {}, 0.1, "no threshold from 0 to 1"),
        (
            "eta",
            lambda n: {"reward": n} if n else {"reward": n, "clip": 0.1},
            {"pictured": True},
            0.1,
            "19 of 20 harmless answers were decided by one check and never put to the other",
        ),
    ],
)
def test_what_cannot_be_calibrated_is_refused(
    make_log: Maker,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    defense: str,
    notes: Notes,
    options: dict[str, Any],
    rate: float,
    said: str,
) -> None:
    make_log(defense, notes, **options)
    assert said in refusal(tmp_path, capsys, defense, rate)


def test_a_check_that_was_never_made_is_no_score(
    make_log: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_log("guard_model", lambda n: {"score": None if n == 3 else n / 40})
    said = refusal(tmp_path, capsys, "guard_model", 0.1)
    assert "1 of 20 harmless answers were decided by one check" in said
    assert "-S threshold=1" in said


def test_a_guard_model_is_calibrated_by_its_highest_score(make_log: Maker, tmp_path: Path) -> None:
    # 0, 1/40 ... 19/40: two alarms are 18/40 and 19/40.
    make_log("guard_model", lambda n: {"score": n / 40})
    assert calibrated(tmp_path, "guard_model", 0.1)["threshold"] == pytest.approx(17.5 / 40)


def test_a_router_is_calibrated_by_its_confidence(make_log: Maker, tmp_path: Path) -> None:
    # 15 harmless requests fall under no rule; of the others one may be blocked or reframed.
    make_log("policy_route", lambda n: {"score": 0.0 if n < 15 else 0.5 + n / 100})
    found = calibrated(tmp_path, "policy_route", 0.05)
    assert found["min_confidence"] == pytest.approx((0.68 + 0.69) / 2)


def test_a_calibrated_router_blocks_no_more_than_asked_for(tmp_path: Path) -> None:
    toy = Toy(size=24, benign=20, alone=True)

    def route(text: str) -> str:
        number = int(re.findall(r"Question (\d+)\?", text)[-1])
        # Of the harmless ones, 4 to 23, it blocks those from 14 on, ever surer.
        rules = ["hate"] if number < 4 or number >= 14 else []
        return json.dumps({"rules": rules, "confidence": 0.5 + number / 50})

    def run(folder: str, **options: Any) -> EvalLog:
        made, answers = policy_route(block="refuse", **options), [say(8, True)] * 24
        log = run_toy(
            tmp_path / folder, toy, answers, solver=made, guard=route, guard_role="router"
        )
        return read_eval_log(log.location)

    def blocked(log: EvalLog) -> int:
        benign = (each for each in log.samples or [] if each.metadata["expected"] == "comply")
        return sum(DefenseRecord.of(each).action == "block" for each in benign)

    assert blocked(run("before")) == 10
    options = calibrated(tmp_path / "before", "policy_route", 0.1)
    assert options == {"block": "refuse", "min_confidence": pytest.approx(0.93)}
    assert blocked(run("after", min_confidence=options["min_confidence"])) == 2


def test_other_defenses_and_two_wordings_are_refused(
    make_log: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("one", "two"):
        make_log("risk_reader", lambda n: {"risk": n / 24}, template=text)
    assert "are of different configurations" in refusal(tmp_path, capsys, "risk_reader", 0.1)
    assert "no log of eta among 2 usable ones" in refusal(tmp_path, capsys, "eta", 0.1)
    said = refusal(tmp_path, capsys, "ecso", 0.1)
    assert "no defense ecso with a threshold" in said
    assert "risk_reader" in said


TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.solver import solver

from vlmguard.guard.record import recorded

def answer(*_):
    output = ModelOutput.from_content("mockllm/model", "Gladly.")
    output.usage = ModelUsage()
    return output

@solver
def risk_reader(policy, threshold=0.0):
    async def solve(state, generate):
        with recorded(state, "risk_reader", "?") as record:
            risk = int(state.sample_id) / 20
            record.notes = {"risk": risk, "policy": policy}
            record.triggered = risk >= threshold
            return await generate(state)
    return solve

@task
def harmless():
    samples = [Sample(id=n, input="?") for n in range(20)]
    return Task(samples, model=get_model("mockllm/model", custom_outputs=answer))
"""


def test_inspect_takes_the_file(make_log: Maker, tmp_path: Path) -> None:
    make_log("risk_reader", lambda n: {"risk": n / 20})
    assert calibrated(tmp_path, "risk_reader", 0.1)["policy"] == "strict"
    (tmp_path / "harmless.py").write_text(TASK)
    command = "from inspect_ai._cli.main import main; main()"
    done = subprocess.run(
        [
            *(sys.executable, "-c", command, "eval", "harmless.py", "--display", "none"),
            *("--solver", "harmless.py@risk_reader", "--solver-config", "found.yaml"),
            *("--log-dir", "after"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "after").glob("*.eval")
    records = [DefenseRecord.of(sample) for sample in read_eval_log(str(path)).samples or []]
    assert [each.notes["risk"] for each in records if each.triggered] == [0.9, 0.95]
    assert {each.notes["policy"] for each in records} == {"strict"}


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=10, max_size=60),
    st.sampled_from([0.05, 0.1, 0.29, 0.5]),
)
def test_no_more_alarms_than_allowed(values: list[tuple[int, int]], rate: float) -> None:
    alarms = [(float(one), float(other)) for one, other in values]
    limits = choose(alarms, rate)
    raised = sum(one >= limits[0] and other >= limits[1] for one, other in alarms)
    assert raised <= rate * len(alarms) + 1e-6


def test_the_rule_counts_ties_and_floating_shares() -> None:
    assert alarms_allowed(0.29, 100) == 29
    assert alarms_allowed(0.05, 19) == 0
    assert threshold_above([1.0, 2.0, 3.0], 1) == 2.5
    # Two samples have the highest value: with one alarm allowed, none is raised.
    assert threshold_above([1.0, 3.0, 3.0], 1) > 3.0
    assert math.isclose(threshold_above([1.0, 2.0, 4.0], 1, [2.5]), 2.25)
