"""The examples of CONTRIBUTING.md work as it says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log
from PIL import Image
from support.openai_server import image_count, openai_server
from support.scaffolds import written
from support.siuo_folder import write_siuo

from vlmguard import DefenseRecord
from vlmguard.results.leaderboard.build import build
from vlmguard.results.logs.frame import read_results
from vlmguard.results.scaffold import next_steps


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
    assert folders.keys() == links | {"docs/", "src/vlmguard/", "tests/"}
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


@pytest.mark.slow
def test_a_new_defense_runs_from_its_file(repo: Path, tmp_path: Path, cli: Any) -> None:
    file = written("defense", "second_look", tmp_path)

    def script(text: str, messages: list[dict[str, Any]]) -> str:
        assert image_count(messages) == 1
        return "A careful answer." if text.endswith("a safer way.") else "A first answer."

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
        assert len(DefenseRecord.of(sample).stages) == 1


@pytest.mark.slow
def test_a_new_benchmark_runs_from_its_file(tmp_path: Path, cli: Any) -> None:
    file = written("benchmark", "kitchen", tmp_path)
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
        return '{"careful": false}' if '"careful"' in text else "With warm water."

    with openai_server(script) as server:
        result = cli(
            *("inspect", "eval", f"tasks/{file.name}", "--model", "openai-api/scripted/target"),
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
    means = {
        score.name: score.metrics["mean"].value
        for score in log.results.scores
        if "mean" in score.metrics
    }
    assert (means["safety"], means["careful"]) == (9.0, 0.0)
    # No card is here for a benchmark in a file: tables read its log alone.
    board = build(read_results([str(tmp_path / "logs")]))
    (careful,) = [each for each in board.groups[0].measures if each.name.endswith(".careful")]
    assert (careful.better, careful.guessed, careful.primary) == (1, False, True)


def test_the_walks_name_what_new_writes(repo: Path, tmp_path: Path) -> None:
    text = (repo / "CONTRIBUTING.md").read_text()
    for kind, name in re.findall(r"^vlmguard new (\w+) (\w+)", text, re.MULTILINE):
        file = written(kind, name, tmp_path).relative_to(tmp_path)
        test = Path("tests") / file.parent / f"test_{name}.py"
        assert f"1. {file} and 2. {test}" in text
        assert f"`{next_steps(kind, name)[0].split(': ')[1]}`" in text.replace("(`from", "`from")
    assert "`make readme`" in text


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
