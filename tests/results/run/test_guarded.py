"""A guarded model (`guarded/`) is its defense on the model inside: in plans, runs and tables."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.counting_api import counting_api
from support.siuo_folder import write_siuo

from vlmguard.guard.errors import UserError
from vlmguard.results.logs.frame import read_results
from vlmguard.results.run.chosen import read_config
from vlmguard.results.run.config import Matrix
from vlmguard.results.run.matrix import run
from vlmguard.results.run.plan import plan, problems
from vlmguard.results.run.preflight import checked_tasks

REPLY = (
    "<reasoning>r</reasoning><prompt>And safely?</prompt>"
    ' {"safety": 8, "helpful": true, "safe": true, "effective": true}'
)
CALLS = counting_api("around", REPLY)

CONFIG = """
log_dir: {logs}
targets: [{target}]
roles: {{grader: around/judge, rewriter: around/guard}}
benchmarks: [{{name: siuo, args: {{data_dir: {data}, judge: general}}}}]
defenses: [{defense}]
prices:
  around/one: {{input: 1.0, output: 2.0, input_tokens: 1000, output_tokens: 500}}
  around/judge: {{input: 10.0, output: 0.0, input_tokens: 1000, output_tokens: 0}}
  around/guard: {{input: 10.0, output: 0.0, input_tokens: 1000, output_tokens: 0}}
"""
AROUND = "{model: guarded/vlmguard/around/one, model_args: {reasoning: false}}"
WITHIN = "{name: vlmguard, args: {reasoning: false}}"


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    CALLS.clear()
    return write_siuo(tmp_path / "siuo", 3)


def config(folder: Path, data: Path, target: str, defense: str) -> Matrix:
    path = folder / "matrix.yaml"
    path.write_text(CONFIG.format(logs=folder / "logs", data=data, target=target, defense=defense))
    return read_config(path)


def test_it_stands_in_the_place_of_the_solver(tmp_path: Path, data: Path) -> None:
    folders = [tmp_path / "around", tmp_path / "within"]
    for folder in folders:
        folder.mkdir()
    around = config(folders[0], data, AROUND, "none")
    within = config(folders[1], data, "around/one", WITHIN)
    assert plan(around) == plan(within)
    assert problems(around, plan(around)) == []
    calls = []
    for matrix in (around, within):
        CALLS.clear()
        assert run(matrix)
        calls.append(sorted(CALLS))
    assert calls[0] == calls[1]
    first, second = [read_results([str(folder)]).runs[0] for folder in folders]
    same = ["target", "target_settings", "defense", "defense_version", "defense_args", "template"]
    same += ["guards", "judge", "column", "approximations", "overhead_gap"]
    for name in same:
        assert getattr(first, name) == getattr(second, name), name
    assert (first.target, first.defense) == ("around/one", "vlmguard")
    cost = [name for name in first.answers if name.endswith(("calls", "tokens"))]
    assert cost
    assert first.answers[cost].equals(second.answers[cost])
    # Two runs of the same: the newer one counts.
    assert len(read_results([str(folder) for folder in folders]).runs) == 1


def test_what_it_lacks_shows_before_a_call(tmp_path: Path, data: Path) -> None:
    matrix = config(tmp_path, data, AROUND, "none")
    del matrix.roles["rewriter"]
    with pytest.raises(UserError, match="vlmguard on siuo: rewriter"):
        checked_tasks(matrix)
    wrong = AROUND.replace("reasoning", "reasonin")
    with pytest.raises(UserError, match="Did you mean reasoning"):
        checked_tasks(config(tmp_path, data, wrong, "none"))
    with pytest.raises(UserError, match="a defense of its own"):
        checked_tasks(config(tmp_path, data, AROUND, "ecso"))
    assert not CALLS
