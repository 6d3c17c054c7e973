"""The matrix runner: configurations, the plan, folders for each defense, resuming."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from inspect_ai.log import (
    ProvenanceData,
    invalidate_samples,
    list_eval_logs,
    read_eval_log,
    write_eval_log,
)
from support.counting_api import counting_api
from support.siuo_folder import write_siuo

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.results.logs.frame import read_results
from vlmguard.results.run.chosen import from_flags, read_config, select
from vlmguard.results.run.config import Matrix, Step
from vlmguard.results.run.matrix import run
from vlmguard.results.run.plan import plan
from vlmguard.results.run.plan_sheets import plan_sheet

REPLY = (
    "<reasoning>r</reasoning><prompt>And safely?</prompt>"
    ' {"safety": 8, "helpful": true, "safe": true, "effective": true}'
)
CALLS = counting_api("counted", REPLY)


CONFIG = """
log_dir: {logs}
targets: [{{model: counted/one}}, {{model: counted/two}}]
roles:
  grader: {{model: counted/judge}}
  rewriter: {{model: counted/guard}}
benchmarks:
  - {{name: siuo, args: {{data_dir: {data}, judge: general}}}}
  - {{name: siuo, args: {{data_dir: {data}, judge: none, track: multiple_choice}}}}
defenses: [{{name: none}}, {{name: vlmguard, args: {{reasoning: false}}}}]
prices:
  counted/one: {{input: 1.0, output: 2.0, input_tokens: 1000, output_tokens: 500}}
  counted/judge: {{input: 10.0, output: 0.0, input_tokens: 1000, output_tokens: 0}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    data = write_siuo(tmp_path / "siuo", 3)
    path = tmp_path / "matrix.yaml"
    path.write_text(CONFIG.format(logs=tmp_path / "logs", data=data))
    CALLS.clear()
    return path


def test_plan_counts_calls_and_money_before_any_call(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = plan(read_config(config))
    assert len(lines) == 2 * 2 * 2
    first = lines[0]
    assert (first.samples, first.target_calls, first.guard_calls) == (3, 3, 0)
    # Three target calls at 0.002 and three judge calls (one question: judge=general) at 0.01.
    assert (first.judge_calls, first.cost) == (3, pytest.approx(3 * 0.002 + 3 * 0.01))
    # Three calls of 1,500 tokens, and three of 1,000.
    assert first.tokens == 7_500
    # Of other models 1,800 a call: three of the target, with three of the judge.
    assert lines[1].tokens == 3 * 1_800 + 3_000
    assert lines[1].cost is None  # counted/two has no price
    guarded = next(line for line in lines if line.defense == "vlmguard")
    assert (guarded.target_calls, guarded.guard_calls) == (3, 6)
    assert main(["run", "--config", str(config), "--dry-run"]) == 0
    assert "Plan (calls at most)" in capsys.readouterr().out
    assert CALLS == []


def test_a_run_prints_its_plan_first(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(f"{config.read_text()}options: {{display: none}}\n")
    assert main(["run", "--config", str(config), "--defense", "none", "--benchmark", "siuo"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("Calls at most on each of 2 targets: target / guard / judge")
    assert "Plan: 12 answers; calls at most: 12 of targets, 0 of guards, 6 of judges; " in said
    assert "tokens; cost ?. Tokens and cost are estimates: 1,500 tokens read" in said
    partner = (
        "No harmless partner for siuo: nothing will say what a guard costs there. Add mossbench"
    )
    assert partner in said


def test_matrix_runs_resumes_and_becomes_a_leaderboard(config: Path, tmp_path: Path) -> None:
    matrix = read_config(config).model_copy(update={"options": {"display": "none"}})
    assert run(matrix)
    for folder, solver in (("none", None), ("vlmguard", "vlmguard/vlmguard")):
        logs = [read_eval_log(info) for info in list_eval_logs(str(tmp_path / "logs" / folder))]
        assert len(logs) == 4
        assert {log.eval.solver for log in logs} == {solver}
        assert {log.status for log in logs} == {"success"}
    # For each target 3 + 3 answers, once undefended and once guarded.
    assert CALLS.count("one") == CALLS.count("two") == 12
    assert CALLS.count("guard") == 12
    before = len(CALLS)
    assert run(matrix)
    assert len(CALLS) == before
    assert main(["leaderboard", str(tmp_path / "logs")]) == 0


@pytest.mark.parametrize("by_flag", [False, True])
def test_logs_in_the_home_folder_are_found_again(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_flag: bool
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    text = f"{config.read_text()}options: {{display: none}}\n"
    if not by_flag:
        text = text.replace(str(tmp_path / "logs"), "~/logs")
    config.write_text(text)
    words = ["run", "--config", str(config), "--defense", "none", "--benchmark", "siuo"]
    words += ["--log-dir", "~/logs"] if by_flag else []
    assert main(words) == 0
    paid = len(CALLS)
    assert main(words) == 0
    assert len(CALLS) == paid
    assert len(list_eval_logs(str(home / "logs" / "none"))) == 4
    assert list(here.iterdir()) == []


def test_parts_of_a_matrix_may_be_run_one_after_another(config: Path, tmp_path: Path) -> None:
    quiet = {"options": {"display": "none"}, "benchmarks": read_config(config).benchmarks[:1]}
    for target in ("counted/one", "counted/two"):
        part = select(read_config(config), [target], [], ["none"])
        assert run(part.model_copy(update=quiet))
    logs = list_eval_logs(str(tmp_path / "logs" / "none"))
    assert {read_eval_log(log).eval.model for log in logs} == {"counted/one", "counted/two"}


def test_invalidated_samples_are_run_again(config: Path, tmp_path: Path) -> None:
    quiet = {"options": {"display": "none"}, "benchmarks": read_config(config).benchmarks[:1]}
    part = select(read_config(config), ["counted/one"], [], ["none"]).model_copy(update=quiet)
    assert run(part)
    (info,) = list_eval_logs(str(tmp_path / "logs"))
    log = read_eval_log(info)
    wrong = ProvenanceData(author="ann", reason="wrong image")
    uuid = (log.samples or [])[0].uuid or ""
    write_eval_log(invalidate_samples(log, [uuid], wrong), log.location)
    (reason,) = read_results([str(tmp_path / "logs")]).left_out.values()
    assert "invalidated by ann: wrong image" in reason
    CALLS.clear()
    assert run(part)
    assert CALLS.count("one") == 1
    assert len(read_results([str(tmp_path / "logs")]).runs) == 1


def test_what_inspect_refuses_is_said_without_markup(config: Path) -> None:
    update = {"options": {"display": "none", "log_dir_allow_dirty": False}}
    one, two = (
        select(read_config(config), [target], [], ["none"]).model_copy(update=update)
        for target in ("counted/one", "counted/two")
    )
    assert run(one)
    with pytest.raises(UserError, match=r"^ERROR: Existing log file"):
        run(two)


OPTIONS = "targets: [{model: a}]\nbenchmarks: [{name: b}]\ndefenses: [{name: c}]\noptions: "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("targets: [", "cannot be read as YAML"),
        ("targets: []\nbenchmarks: []\ndefenses: []", "targets"),
        ("targets: [{model: a}]\nbenchmarks: [{name: siuo}]", "defenses"),
        (
            "nonsense: 1\ntargets: [{model: a}]\nbenchmarks: [{name: b}]\ndefenses: [{name: c}]",
            "nonsense",
        ),
        (
            "targets: [{model: a, generate: {temprature: 0}}]\nbenchmarks: [{name: b}]\n"
            "defenses: [{name: c}]",
            "c.yaml: targets.0.generate: Inspect knows no temprature",
        ),
        (
            "targets: [{model: a, generate: {temperature: hot}}]\nbenchmarks: [{name: b}]\n"
            "defenses: [{name: c}]",
            "c.yaml: targets.0.generate.temperature: ",
        ),
        (f"{OPTIONS}{{max_sampels: 3}}", "c.yaml: options: Inspect knows no max_sampels"),
        (f"{OPTIONS}{{limit: 3}}", "c.yaml: options: limit has a place of its own: limit:"),
        (f"{OPTIONS}{{retry_immediate: true}}", "options: retry_immediate has a place of its own"),
        (f"{OPTIONS}{{retry_attempts: -1}}", "options: retry_attempts: -1 is no whole number"),
        (f"{OPTIONS}{{epochs: two}}", "c.yaml: options: epochs: two is no whole number"),
    ],
)
def test_broken_configurations_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_config(path)


def test_ready_configurations_are_valid_and_ask_to_be_filled_in(repo: Path) -> None:
    paths = sorted((repo / "results" / "configs").glob("*.yaml"))
    assert len(paths) >= 3
    for path in paths:
        read_config(path)
    with pytest.raises(UserError, match="third target"):
        run(read_config(repo / "results" / "configs" / "paper_main.yaml"))


def test_flags_choose_a_part_or_stand_alone(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words = ["run", "--config", str(config), "--dry-run", "--defense", "vlmguard"]
    assert main([*words, "--target", "counted/two"]) == 0
    out = capsys.readouterr().out
    assert out.count("counted/two") == 2
    assert "counted/one" not in out
    assert main([*words, "--target", "else"]) == 2
    assert "--target else is not in the configuration: counted/one" in capsys.readouterr().err
    monkeypatch.setenv("VLMGUARD_DATA", str(config.parent))
    plain = ["run", "--target", "counted/one", "--benchmark", "siuo", "--dry-run"]
    assert main([*plain, "--role", "grader=counted/judge"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "counted/one" in line)
    # Twelve calls of 1,800 tokens.
    assert line.split() == ["siuo", "none", "counted/one", "3", "3", "0", "9", "0.02", "M", "?"]
    both = ["--role", "grader=counted/judge", "--role", "grader=counted/other"]
    assert main([*plain, *both]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "counted/one" in line)
    assert line.split()[6] == "18"
    assert main([*plain, "--role", "grader"]) == 2
    assert main(["run", "--target", "counted/one"]) == 2


def test_plan_counts_epochs_and_each_benchmarks_own_questions(tmp_path: Path) -> None:
    data = write_siuo(tmp_path / "siuo", 3)
    matrix = Matrix.model_validate(
        {
            "targets": [{"model": "counted/one"}],
            "roles": {"grader": [{"model": "counted/a"}, {"model": "counted/b"}]},
            "benchmarks": [
                {"name": "siuo", "args": {"data_dir": str(data), "samples": 3}},
                {"name": "siuo", "args": {"data_dir": str(data), "judge": "official"}},
                {"name": "else/where"},
            ],
            "defenses": [{"name": "none"}, {"name": "eta"}, {"name": "mllm_protector"}],
        }
    )
    with pytest.raises(UserError, match="task else/where"):
        plan(matrix)
    matrix.benchmarks.pop()
    lines = plan(matrix)
    # 3 samples x 3 epochs; two judges with two questions of SIUO's and a general one.
    assert (lines[0].samples, lines[0].target_calls, lines[0].judge_calls) == (9, 9, 54)
    assert (lines[1].samples, lines[1].judge_calls) == (3, 12)
    eta = next(line for line in lines if line.defense == "eta")
    # At least an answer each; its reward and more calls depend on it.
    assert (eta.target_calls, eta.guard_calls, eta.cost, eta.open_ended) == (9, 0, None, True)
    assert lines[-1].guard_calls == 6
    matrix.options = {"epochs": 2, "max_samples": 4, "temperature": 0.5}
    assert [line.samples for line in plan(matrix)[:2]] == [6, 6]
    matrix.options = {"sample_id": ["siuo/1"]}
    assert plan(matrix)[0].samples is None
    total = plan_sheet(lines).rows[-1]
    assert total[3:7] == ["36", "36+", "24+", "198"]


def test_a_defense_may_bind_roles_of_its_own(config: Path, tmp_path: Path) -> None:
    text = config.read_text().replace(
        "{name: vlmguard, args: {reasoning: false}}",
        "{name: vlmguard, label: small, roles: {rewriter: {model: counted/small}}}",
    )
    config.write_text(text)
    matrix = read_config(config)
    assert run(matrix.model_copy(update={"options": {"display": "none"}}))
    assert CALLS.count("small") == 12
    assert CALLS.count("guard") == 0
    (log, *_) = list_eval_logs(str(tmp_path / "logs" / "small"))
    assert '"rewriter": ["counted/small"]' in read_results([log.name]).runs[0].guards


@pytest.mark.parametrize("wrong", ["name: vlmgard", "name: vlmguard, args: {reason: false}"])
def test_a_wrong_defense_is_found_before_any_call(config: Path, wrong: str) -> None:
    right = "name: vlmguard, args: {reasoning: false}"
    config.write_text(config.read_text().replace(right, wrong))
    meant = "-S reason: .*mean reasoning" if "reason" in wrong else "solver vlmgard .*mean vlmguard"
    with pytest.raises(UserError, match=meant):
        run(read_config(config))
    assert CALLS == []


def test_two_defenses_need_two_folders(config: Path) -> None:
    matrix = read_config(config)
    twice = matrix.model_copy(update={"defenses": [matrix.defenses[1]] * 2})
    with pytest.raises(UserError, match="share a log folder"):
        run(twice)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (("  rewriter: {model: counted/guard}\n", ""), "vlmguard on siuo: rewriter"),
        (("  grader: {model: counted/judge}\n", ""), "none on siuo: grader"),
        (
            ("{name: vlmguard, args: {reasoning: false}}", "{name: mllm_protector, label: p}"),
            "p on siuo: detector",
        ),
    ],
)
def test_a_missing_role_is_found_before_any_call(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: tuple[str, str],
    missing: str,
) -> None:
    config.write_text(config.read_text().replace(*change))
    with pytest.raises(UserError, match=f"roles without a model: .*{missing}"):
        run(read_config(config))
    assert CALLS == []
    # A role without a model is not planned as free.
    monkeypatch.setenv("COLUMNS", "200")
    lines = plan(read_config(config))
    lacking = [line for line in lines if line.missing]
    assert {line.cost for line in lacking} == {None}
    if "grader" in missing:
        assert {line.judge_calls for line in lacking} == {None}
    assert main(["run", "--config", str(config), "--dry-run"]) == 2
    defense, _, role = missing.partition(" on siuo: ")
    assert f"{defense} on siuo will not run: no model for the role {role}." in (
        capsys.readouterr().err
    )


def test_what_a_task_or_a_checkpoint_stands_for_is_not_missing(tmp_path: Path) -> None:
    """The microworld brings its rewriter, and a detector may be a checkpoint."""
    matrix = Matrix.model_validate(
        {
            "log_dir": str(tmp_path / "logs"),
            "targets": [{"model": "counted/one"}],
            "benchmarks": [{"name": "microworld", "args": {"slice": "joint"}}],
            "defenses": [
                {"name": "vlmguard"},
                {"name": "mllm_protector", "args": {"detector": "folder"}},
            ],
        }
    )
    assert [line.missing for line in plan(matrix)] == [(), ()]


def test_limits_below_one_are_refused(config: Path) -> None:
    config.write_text(config.read_text() + "limit: 0\n")
    with pytest.raises(UserError, match="limit=0: a number of at least 1"):
        read_config(config)


REFUSER = """
from inspect_ai.model import ModelOutput
from inspect_ai.solver import solver


@solver
def always_refuse(words="No."):
    async def solve(state, generate):
        state.output = ModelOutput.from_content("refuser", words)
        return state

    return solve


@solver
def other():
    return always_refuse("Other.")
"""


def test_a_defense_may_be_a_solver_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "refuser.py").write_text(REFUSER)
    data = write_siuo(tmp_path / "siuo", 2)
    step = Step(name="siuo", args={"data_dir": str(data), "judge": "none"})
    named = "mine/refuser.py@always_refuse"
    matrix = from_flags(["mockllm/model"], [step], [named], [])
    assert [line.missing for line in plan(matrix)] == [()]
    assert run(matrix.model_copy(update={"options": {"display": "none"}, "log_dir": "logs"}))
    (info,) = list_eval_logs("logs")
    log = read_eval_log(info)
    assert [sample.output.completion for sample in log.samples or []] == ["No.", "No."]
    for wrong, says in (
        ("mine/nowhere.py@f", "no such file"),
        ("mine/refuser.py@nothing", "nothing was not found"),
        ("mine/refuser.py", "more than one @solver"),
    ):
        (line,) = plan(from_flags(["mockllm/model"], [step], [wrong], []))
        assert says in line.missing[0]
