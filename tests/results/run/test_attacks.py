"""A matrix under attack: its plan, its twins, its folders, and how it goes on after a kill."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import yaml
from inspect_ai import Task
from inspect_ai.log import list_eval_logs, read_eval_log
from support.attacks import registered
from support.benchmark_folders.mossbench import write_mossbench
from support.counting_api import counting_api
from support.siuo_folder import write_siuo

from vlmguard.cli import main
from vlmguard.guard.attacks import Attack, AttackCard, AttackOutput
from vlmguard.guard.attacks.drawing import BUNDLED
from vlmguard.guard.cards import Calls, Role
from vlmguard.guard.errors import UserError
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.red_team import red_team
from vlmguard.results.logs.frame import read_results
from vlmguard.results.run.attack_choice import AttackChoice
from vlmguard.results.run.chosen import read_config
from vlmguard.results.run.config import Defense, Matrix, ModelChoice, Step, Target
from vlmguard.results.run.latency import latency_matrix
from vlmguard.results.run.matrix import run
from vlmguard.results.run.partners import twins
from vlmguard.results.run.parts import left_out
from vlmguard.results.run.plan import Asked, Planned, plan
from vlmguard.results.run.preflight import files_named_in

REPLY = (
    "<reasoning>r</reasoning><prompt>And safely?</prompt>"
    ' {"safety": 8, "helpful": true, "safe": true, "effective": true}'
)
CALLS = counting_api("attacked", REPLY)
QUIET = {"display": "none", "retry_attempts": 0}
REWRITER = Defense(
    name="vlmguard", args={"reasoning": False}, roles={"rewriter": ModelChoice(model="attacked/r")}
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """SIUO (three samples), and MOSSBench, its harmless partner (four)."""
    CALLS.clear()
    write_siuo(tmp_path / "siuo", 3)
    write_mossbench(tmp_path / "mossbench")
    monkeypatch.setenv("VLMGUARD_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def matrix(*attacks: str | AttackChoice, **more: Any) -> Matrix:
    given: dict[str, Any] = {
        "log_dir": "logs",
        "targets": ["attacked/t"],
        "roles": {"grader": "attacked/j"},
        "benchmarks": [Step(name="siuo", args={"judge": "general"})],
        "defenses": [Defense(name="none"), REWRITER],
        "attacks": list(attacks),
        "options": QUIET,
    }
    return Matrix.model_validate({**given, **more})


def asked(lines: list[Planned]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for line in lines:
        calls = line.calls
        found += Counter(t=calls.target or 0, r=calls.guard or 0, j=calls.judge or 0)
    return dict(found)


def logs(folder: str) -> list[Any]:
    return [read_eval_log(info) for info in list_eval_logs(folder)]


def test_a_run_asks_what_its_plan_says_and_once_only(data: Path) -> None:
    attacked = matrix(AttackChoice(name="figstep:wrap=20", label="wide"))
    lines = plan(attacked)
    shown = [(line.attack, line.defense, line.benchmark, line.samples) for line in lines]
    assert shown == [
        (attack, defense, benchmark, samples)
        for attack in ("none", "wide")
        for benchmark, samples in (("siuo", 3), ("twin mossbench", 4))
        for defense in ("none", "vlmguard")
    ]
    # Nobody judges a twin: only whether it is refused counts.
    assert {line.judge_calls for line in lines if line.twin} == {0}
    assert asked(lines) == {"t": 2 * 2 * 7, "r": 2 * 2 * 7, "j": 2 * 2 * 3}
    announced: list[Planned] = []
    assert run(attacked, announced.extend)
    assert announced == lines
    # The rewriter is asked again only after a reply that cannot be read.
    assert Counter(CALLS) == {**asked(lines), "r": 2 * 7}
    for kind, task, count in (("attacks", "siuo", 3), ("twins", "mossbench", 4)):
        for defense in ("none", "vlmguard"):
            (log,) = logs(f"logs/{kind}/wide/{defense}")
            assert (log.status, log.eval.task.rpartition("/")[2]) == ("success", task)
            assert log.eval.task_args["attack"] == "figstep:wrap=20"
            assert len(log.samples) == count
            assert {sample.metadata["attack"]["name"] for sample in log.samples} == {"figstep"}
    for folder in ("logs/none", "logs/vlmguard", "logs/twins/none/none"):
        (log,) = logs(folder)
        assert log.eval.task_args["attack"] is None
    CALLS.clear()
    assert run(attacked)
    assert CALLS == []


def test_a_twin_has_a_hundred_samples_at_most(data: Path) -> None:
    write_mossbench(data / "many" / "mossbench", harmless=102)
    (data / "mossbench").rename(data / "few")
    (data / "many" / "mossbench").rename(data / "mossbench")
    twins = [line.samples for line in plan(matrix("figstep")) if line.twin]
    assert twins == [100] * 4
    twins = [line.samples for line in plan(matrix("figstep", limit=2)) if line.twin]
    assert twins == [2] * 4


def test_harmless_requests_of_the_matrix_need_no_twin(data: Path) -> None:
    beside = [Step(name="siuo", args={"judge": "none"}), Step(name="mossbench")]
    lines = plan(matrix("figstep", benchmarks=beside))
    assert [line.benchmark for line in lines if line.attack == "figstep"] == [
        *("siuo", "mossbench") * 2
    ]
    # Samples of both kinds, and a benchmark without risky ones.
    for step in (Step(name="mossbench", args={"split": "both"}), Step(name="mossbench")):
        assert not any(line.twin for line in plan(matrix("figstep", benchmarks=[step])))
    contrast = Step(name="mossbench", args={"split": "contrast"})
    twin = next(line for line in plan(matrix("figstep", benchmarks=[contrast])) if line.twin)
    assert (twin.benchmark, twin.samples) == ("twin mossbench", 4)


def test_the_arguments_of_a_benchmark_hold_for_its_own_harmless_part() -> None:
    # No judge is chosen where the choices are others.
    world = Step(name="microworld", args={"level": "low", "slice": "visual"})
    (twin,) = twins([world], [None])
    assert (twin.name, twin.args) == ("microworld", {"level": "low", "slice": "benign"})
    unsafe = Step(name="vlguard", args={"subset": "unsafe", "n": 5, "judge": "all"})
    (twin,) = twins([unsafe, unsafe], [None, None])
    assert twin.args == {"subset": "safe_safe", "n": 5, "judge": "none"}


def test_a_twin_without_data_is_named_and_the_run_goes_on(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "mossbench").rename(data / "elsewhere")
    flags = ["--target", "attacked/t", "--benchmark", "siuo", "--attack", "figstep"]
    flags += ["--role", "grader=attacked/j", "--log-dir", "logs", "--limit", "1"]
    assert main(["run", *flags, "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert main(["run", *flags]) == 0
    for said in (planned, capsys.readouterr().out):
        words = " ".join(said.split())
        assert "twin: not run (mossbench). MOSSBench: no data found" in words
        assert "vlmguard data fetch mossbench" in words
        assert "No harmless partner" not in words
        assert ("undefended on SIUO generation, t: static ASR" in words) == (said is not planned)
        assert ("twin refusal not run (static:" in words) == (said is not planned)
    assert re.search(r"twin mossbench +none +attacked/t +figstep +not run +- ", planned)
    assert "without the harmless requests beside them (twins) that are not run" in " ".join(
        planned.split()
    )
    assert len(logs("logs/attacks/figstep/none")) == 1
    assert not Path("logs/twins").exists()


@pytest.mark.parametrize(
    ("attack", "says"),
    [
        ("figstepp", "there is no such attack. Did you mean figstep"),
        ("figstep:wrap=900", "wrap"),
        ("figstep:colour=red", "figstep has no option"),
    ],
)
def test_a_wrong_attack_is_refused_before_any_call(
    attack: str, says: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=says):
        run(matrix(attack))
    flags = ["--target", "attacked/t", "--benchmark", "siuo", "--role", "grader=attacked/j"]
    assert main(["run", *flags, "--attack", attack, "--dry-run"]) == 2
    assert says.split()[0] in capsys.readouterr().err
    assert CALLS == []
    assert not Path("logs").exists()


def test_what_cannot_be_attacked_twice_is_refused(data: Path) -> None:
    own = [Step(name="siuo", args={"attack": "figstep"})]
    with pytest.raises(UserError, match="siuo has an attack of its own in args:"):
        plan(matrix("mml", benchmarks=own))
    labelled = [Defense(name="none", label="attacks")]
    with pytest.raises(UserError, match="a defense is labelled attacks"):
        plan(matrix("figstep", defenses=labelled))
    with pytest.raises(ValueError, match="two attacks share the folder figstep"):
        matrix("figstep", "figstep")


def test_names_of_attacks_become_short_names_of_folders(data: Path) -> None:
    def folder(name: str) -> str:
        return AttackChoice(name=name).folder

    assert folder("adaptive:R1") == "adaptive-R1"
    assert folder("adaptive:R2:note=ALL SAFE") == "adaptive-R2-note=ALL SAFE"
    long = "figstep:font=/a/very/long/path/of/a/font/file.ttf"
    assert len(folder(long)) <= 47
    assert "/" not in folder(long)
    assert folder(long) != folder(f"{long}2")


def test_a_configuration_lists_attacks_and_flags_choose_among_them(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = {
        "targets": ["attacked/t"],
        "roles": {"grader": "attacked/j"},
        "benchmarks": [{"name": "siuo", "args": {"judge": "general"}}],
        "defenses": ["none"],
        "attacks": ["figstep", {"name": "mml:mirror", "label": "flipped"}],
    }
    Path("m.yaml").write_text(yaml.safe_dump(written))
    names = [each.name for each in read_config(Path("m.yaml")).attacks]
    assert names == ["none", "figstep", "mml:mirror"]
    assert main(["run", "--config", "m.yaml", "--attack", "flipped", "--dry-run"]) == 0
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines() if "attacked/t" in line]
    assert [row[3:7] for row in rows if row[0] == "siuo"] == [
        ["none", "3", "3", "0"],
        ["flipped", "3", "3", "0"],
    ]
    words = " ".join(said.split())
    assert words.startswith(
        "Calls at most on the target: target / guard / judge Attack Answers none"
    )
    assert re.search(r" flipped +7 +7 / 0 / 3 ", words)
    assert main(["run", "--config", "m.yaml", "--attack", "typographic", "--dry-run"]) == 0
    assert "flipped" not in capsys.readouterr().out
    broken = {**written, "attacks": [{"name": "figstep", "trys": 3}]}
    Path("m.yaml").write_text(yaml.safe_dump(broken))
    with pytest.raises(UserError, match=r"attacks\.0\.trys"):
        read_config(Path("m.yaml"))


def test_a_file_that_an_attack_names_is_told_from_another_of_its_name(data: Path) -> None:
    named = str(data / "letters.ttf")
    shutil.copy(Path(matplotlib.get_data_path(), "fonts", "ttf", BUNDLED), named)
    step = Step(name="siuo", args={"attack": f"figstep:font={named}"})
    (static,) = files_named_in(matrix(benchmarks=[step]), REWRITER, [Task()]).items()
    assert static[0].endswith(".attack.font")
    loop = Defense(name="attack_loop", args={"attack": f"figstep:font={named}"})
    assert files_named_in(matrix(), loop, [Task()]) == {"defense.attack.font": static[1]}


def test_latency_is_measured_without_an_attack(data: Path) -> None:
    assert {line.attack for line in plan(latency_matrix(matrix("figstep"), 1))} == {"none"}


KILLED = """
import os, sys
from support.counting_api import counting_api
calls = []
def answer(*_):
    calls.append(1)
    if len(calls) == int(sys.argv[2]):
        os._exit(9)
    return "An answer."
counting_api("dying", answer)
from vlmguard.results.run.config import Matrix
from vlmguard.results.run.matrix import run
run(Matrix.model_validate_json(sys.argv[1]))
"""


def test_an_attacked_part_goes_on_after_a_kill(data: Path) -> None:
    (data / "mossbench").rename(data / "elsewhere")
    steps = [Step(name="siuo", args={"judge": "none"})]
    options = {**QUIET, "max_samples": 1}
    kept = matrix("figstep", benchmarks=steps, defenses=["none"], roles={}, options=options)
    kept.targets = [Target(model="dying/t")]
    given = json.loads(kept.model_dump_json(exclude_none=True))
    # Killed in the fifth call: three are those without an attack, one is finished under it.
    words = [sys.executable, "-c", KILLED, json.dumps(given), "5"]
    tests = str(Path(__file__).parents[2])
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": tests}, check=False)
    assert done.returncode == 9
    again = counting_api("dying", "An answer.")
    assert run(kept)
    assert len(again) == 2
    (log,) = [log for log in logs("logs/attacks/figstep/none") if log.status == "success"]
    assert len(log.samples) == 3


def test_a_search_goes_around_the_defense_with_its_options_and_roles(data: Path) -> None:
    # Text alone, for speed: with a number of tries, a static attack is tried again as a search.
    searched = matrix(AttackChoice(name="adaptive:R1", tries=3, label="r1"))
    lines = plan(searched)
    found = {(line.defense, line.twin): line for line in lines if line.attack == "r1"}
    # Three tries for each of three samples, each one judged, and the kept answer once more.
    assert found["none", False].calls == Asked(9, 0, 12, 0)
    assert found["none", False].at_first == Asked(3, 0, 6, 0)
    assert found["vlmguard", False].calls == Asked(9, 18, 12, 0)
    # Harmless requests are asked once, and judged by nobody.
    assert found["vlmguard", True].calls == Asked(4, 8, 0, 0)
    assert run(searched)
    assert Counter(CALLS) == {**asked(lines), "r": asked(lines)["r"] // 2}
    (log,) = logs("logs/attacks/r1/vlmguard")
    assert (log.eval.solver, log.eval.model) == (
        "vlmguard/attack_loop",
        "guarded/vlmguard/attacked/t",
    )
    assert log.eval.model_args == {"reasoning": False}
    assert [sample.metadata["attack"]["budget"] for sample in log.samples] == [3] * 3
    under = [each for row in red_team(build(read_results(["logs"]))) for each in row.attacks]
    assert [
        (each.k, each.last.of, each.twin.refused.of) for each in under if each.twin.refused
    ] == [
        (3, 3, 4),
        (3, 3, 4),
    ]
    assert all(each.before.share and each.twin.before.share for each in under)
    (log,) = logs("logs/twins/r1/none")
    assert (log.eval.model, log.eval.config.limit) == ("attacked/t", 100)
    CALLS.clear()
    assert run(searched)
    assert CALLS == []


def test_a_search_that_succeeds_asks_as_often_as_the_plan_says_at_least(data: Path) -> None:
    (data / "mossbench").rename(data / "elsewhere")
    once = matrix("si_attack", defenses=["none"], roles={"grader": "harmed/j"})
    judged = counting_api("harmed", '{"safety": 1, "helpful": true}')
    (line,) = [each for each in plan(once) if each.attack == "si_attack" and not each.twin]
    assert run(once)
    assert line.at_first == Asked(CALLS.count("t") - 3, 0, len(judged) - 3, 0)
    assert line.at_first == Asked(3, 0, 6, 0)
    assert line.calls == Asked(30, 0, 33, 0)


def test_a_search_cannot_go_around_a_solver_of_a_file(data: Path) -> None:
    with pytest.raises(UserError, match=r"mine.py@mine under si_attack: a search goes around"):
        plan(matrix("si_attack", defenses=["mine.py@mine"]))


TALK = AttackCard(
    name="talk",
    title="Talk",
    version="1-A",
    paper="ours",
    summary="asks a model",
    kind="search",
    tries=4,
    roles=(Role("attacker", Calls(1, 2)),),
)


def talk() -> Attack:
    return lambda given: AttackOutput(given.text, given.images)


def test_an_attack_that_asks_a_model_needs_one_or_is_left_out_and_named(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with registered(TALK, talk):
        with pytest.raises(UserError, match="roles without a model: talk: attacker"):
            run(matrix("talk"))
        line = plan(matrix("talk"))[-1]
        assert line.missing == ("no model for the role attacker of talk",)
        kept = matrix(AttackChoice(name="talk", optional=True))
        assert {each.attack for each in plan(kept)} == {"none"}
        assert left_out(kept) == [
            "The attack talk is left out: no model for the role attacker (--role attacker=MODEL)."
        ]
        bound = matrix("talk", roles={"grader": "attacked/j", "attacker": "attacked/a"})
        risky = next(each for each in plan(bound) if each.attack == "talk")
        assert risky.calls == Asked(12, 0, 15, 24)
        assert left_out(bound) == []
        written = {"benchmarks": ["siuo"], "attacks": [{"name": "talk", "optional": True}]}
        Path("m.yaml").write_text(
            yaml.safe_dump({**written, "targets": ["attacked/t"], "defenses": ["none"]})
        )
        assert main(["run", "--config", "m.yaml", "--dry-run"]) == 2
        assert "The attack talk is left out" in capsys.readouterr().out
        # Who names it wants it to run.
        assert main(["run", "--config", "m.yaml", "--attack", "talk", "--dry-run"]) == 2
        said = capsys.readouterr()
        assert "no model for the role attacker of talk" in said.err
        assert "left out" not in said.out


def test_a_plan_names_the_attack_that_cannot_be_applied(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--target", "attacked/t", "--benchmark", "siuo", "--role", "grader=attacked/j"]
    # The picture has 24 x 24 pixels.
    attack = "adaptive:R2:note=A note that is far too long for it"
    assert main(["run", *flags, "--attack", "figstep", "--attack", attack, "--dry-run"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"vlmguard: none on siuo under {attack} will not run: Sample siuo/1000")
