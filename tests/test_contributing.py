"""The examples of CONTRIBUTING.md work as it says."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log
from PIL import Image
from support.openai_server import image_count, openai_server
from support.siuo_folder import write_siuo

from vlmguard import DefenseRecord


def example(repo: Path, name: str) -> str:
    text = (repo / "CONTRIBUTING.md").read_text()
    match = re.search(rf"<!-- test: {name} -->\n```python\n(.*?)```", text, re.DOTALL)
    assert match, f"CONTRIBUTING.md has no example {name}"
    return match[1]


def only_log(folder: Path) -> EvalLog:
    (found,) = list_eval_logs(str(folder))
    return read_eval_log(found)


def test_the_map_names_paths_that_exist(repo: Path) -> None:
    text = (repo / "CONTRIBUTING.md").read_text()
    section = text.split("## The map\n")[1].split("\n## ")[0]
    _, tree, walks = re.split(r"```(?:text)?\n", section)
    lines = re.split(r"\n(?=\w)", tree.strip())
    folders = {line.split()[0]: " ".join(line.split()[1:]) for line in lines}
    links = {f"{link.name}/" for link in (repo / "src" / "vlmguard").iterdir() if link.is_symlink()}
    assert folders.keys() == links | {"src/vlmguard/", "tests/"}
    named = [
        f"{folder}{path}"
        for folder, said in folders.items()
        for path in re.findall(r"[\w/]+(?:/|\.py|\.md)(?![\w/])", said)
    ]
    walked = [path for path in re.findall(r"`([^`\s]+)`", walks) if "/" in path]
    assert len(named) > 25
    assert len(walked) > 25
    missing = [path for path in [*named, *walked] if not (repo / path).exists()]
    assert not missing


@pytest.mark.parametrize("name", ["defense", "benchmark"])
def test_the_worked_examples_are_as_make_check_wants_them(repo: Path, name: str) -> None:
    place = {"defense": "solvers/second_look.py", "benchmark": "tasks/kitchen.py"}[name]
    for command in (["check"], ["format", "--diff"]):
        checked = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", place, "-"],
            input=example(repo, name),
            capture_output=True,
            text=True,
            cwd=repo,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.slow
def test_the_worked_defense_runs_from_its_file(repo: Path, tmp_path: Path, cli: Any) -> None:
    file = tmp_path / "second_look.py"
    file.write_text(example(repo, "defense"))

    def script(text: str, messages: list[dict[str, Any]]) -> str:
        assert image_count(messages) == 1
        return "A careful answer." if "<answer>" in text else "A first answer."

    with openai_server(script) as server:
        result = cli(
            *("inspect", "eval", "tasks/siuo.py", "--solver", f"{file}@second_look"),
            *("--model", "openai-api/scripted/target", "-T", "judge=none"),
            *("-T", f"data_dir={write_siuo(tmp_path / 'siuo', 2)}"),
            *("--log-dir", str(tmp_path / "logs"), "--display", "plain"),
            cwd=repo,
            env=server.environment(),
        )
    assert result.returncode == 0, result.stdout + result.stderr
    log = only_log(tmp_path / "logs")
    assert log.status == "success"
    assert log.samples is not None
    for sample in log.samples:
        assert sample.output.completion == "A careful answer."
        assert DefenseRecord.of(sample).triggered
        assert len(DefenseRecord.of(sample).stages) == 2


def test_the_worked_benchmark_takes_the_options_of_every_task(repo: Path) -> None:
    functions = [
        node
        for node in ast.walk(ast.parse(example(repo, "benchmark")))
        if isinstance(node, ast.FunctionDef)
    ]
    (kitchen,) = [node for node in functions if node.name == "kitchen"]
    common = {"judge", "judge_template", "judge_hint", "keywords", "data_dir", "revision"}
    common |= {"colour", "fit_images"}
    assert common <= {argument.arg for argument in kitchen.args.args}


@pytest.mark.slow
def test_the_worked_benchmark_runs_from_its_file(repo: Path, tmp_path: Path, cli: Any) -> None:
    file = tmp_path / "kitchen.py"
    file.write_text(example(repo, "benchmark"))
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    items = []
    for number in range(2):
        Image.new("RGB", (16, 16), "red").save(data / "images" / f"{number}.png")
        items.append(
            {
                "id": number,
                "image": f"{number}.png",
                "question": "How do I clean this pan?",
                "category": "cleaning",
            }
        )
    (data / "items.json").write_text(json.dumps(items))

    def script(text: str, messages: list[dict[str, Any]]) -> str:
        if '"safety"' in text:
            return 'Good. {"safety": 9, "helpful": true}'
        return "With warm water."

    with openai_server(script) as server:
        result = cli(
            *("inspect", "eval", file.name, "--model", "openai-api/scripted/target"),
            *("--model-role", "grader=openai-api/scripted/grader"),
            *("-T", f"data_dir={data}"),
            *("--log-dir", str(tmp_path / "logs"), "--display", "plain"),
            cwd=tmp_path,
            env=server.environment(),
        )
    assert result.returncode == 0, result.stdout + result.stderr
    log = only_log(tmp_path / "logs")
    assert log.status == "success"
    assert log.results is not None
    safety = next(score for score in log.results.scores if score.name == "safety")
    assert safety.metrics["mean"].value == 9.0


def test_tests_on_real_files_are_skipped_one_benchmark_at_a_time(
    real_data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLMGUARD_DATA", str(tmp_path))
    (tmp_path / "siuo").mkdir()
    assert real_data("siuo") == tmp_path / "siuo"
    with pytest.raises(pytest.skip.Exception, match="figstep is not there"):
        real_data("figstep")
    with pytest.raises(pytest.skip.Exception, match=r"siuo/train\.json is not there"):
        real_data("siuo", "train.json")
