"""All options, solvers, tasks and commands in the README and in docs/ exist."""

import ast
import inspect as python_inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.documents import found_blocks, section, the_table, user_pages
from support.markdown import tables

import vlmguard.solvers
import vlmguard.tasks
from vlmguard.cli import main
from vlmguard.guard.cards import cards

OURS = ("undefended", "vlmguard")
"""Rows of the microworld's table that are no rivals."""


def parameters(module: Any, name: str) -> set[str]:
    return set(python_inspect.signature(getattr(module, name)).parameters)


def test_the_table_of_benchmarks_names_real_tasks_and_options() -> None:
    # These draw their own data, or take the user's, and have sections of their own.
    rows = the_table("benchmark").rows
    named = {re.search(r"`(\w+)`", row[0])[1] for row in rows}  # type: ignore[index]
    assert named | {"guard_eval", "microworld", "vlm_safety"} == set(cards().benchmarks)
    (taken,) = (
        found
        for page in user_pages()
        for found in tables(page)
        if any(row[0].startswith("`judge=") for row in found.rows)
    )
    common = {name for row in taken.rows for name in re.findall(r"`(\w+)=", row[0])}
    assert {"judge", "attack", "revision"} <= common
    for name in named & vars(vlmguard.tasks).keys():
        accepted = parameters(vlmguard.tasks, name)
        assert common <= accepted, f"{name}: {common - accepted}"


def test_the_microworlds_section_names_real_options_and_commands(repo: Path) -> None:
    told = section("microworld")
    options = set(re.findall(r"-T (\w+)=", told))
    assert options
    assert options <= parameters(vlmguard.tasks, "microworld")
    makefile = (repo / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", told, re.MULTILINE):
        assert f"\n{target}: " in makefile
    for command in re.findall(r"vlmguard microworld (\w+)", told):
        with pytest.raises(SystemExit) as done:
            main(["microworld", command, "--help"])
        assert done.value.code == 0


def test_the_table_of_defenses_names_real_solvers_and_options() -> None:
    rows = [row for row in the_table("solver").rows if row[0].startswith("`")]
    assert {row[0].strip("`") for row in rows} == set(cards().defenses)
    for row in rows:
        accepted = parameters(vlmguard.solvers, row[0].strip("`"))
        options = re.sub(r"\([^()]*\)", "", row[-1].split(";")[-1])  # notes may name other things
        named = set(re.findall(r"`(\w+)(?:=[^`]*)?`", options))
        assert named
        assert named <= accepted, f"{row[0]}: {named - accepted}"


def test_the_commands_name_files_that_exist(repo: Path) -> None:
    blocks = found_blocks("bash")
    files = {word for block in blocks for word in re.findall(r"\btasks/\w+\.py", block.text)}
    assert files
    for file in files:
        assert (repo / file).is_file(), file


def test_the_python_example_is_valid_and_imports() -> None:
    blocks = found_blocks("python")
    assert blocks
    for block in blocks:
        tree = ast.parse(block.text)
        names = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        for node in names:
            module = __import__(str(node.module), fromlist=["x"])
            for alias in node.names:
                assert alias.name in dir(module)


@pytest.mark.parametrize("name", ["pull_request", "nightly"])
def test_the_workflow_fits_its_configurations(repo: Path, name: str) -> None:
    configs = repo / "results" / "configs"
    config = yaml.safe_load((configs / f"{name}.yaml").read_text())
    # The workflow looks for the logs in logs/$SET.
    assert config["log_dir"] == f"logs/{name}"
    steps = yaml.safe_load((configs / "github-workflow.yml").read_text())["jobs"]["gate"]["steps"]
    fetched = {step.get("with", {}).get("path") for step in steps}
    by_hand = {benchmark["name"] for benchmark in config["benchmarks"]} & {
        card.name for card in cards().benchmarks.values() if card.hub is None
    }
    assert {f"evals/data/{benchmark}" for benchmark in by_hand} <= fetched
    (run,) = [step for step in steps if "vlmguard run" in step.get("run", "")]
    assert {"HF_TOKEN", "VLMGUARD_DATA"} <= run["env"].keys()


def test_the_workflow_installs_a_checkout_and_runs_real_commands(repo: Path) -> None:
    # No index has this package.
    text = (repo / "results" / "configs" / "github-workflow.yml").read_text()
    steps = yaml.safe_load(text)["jobs"]["gate"]["steps"]
    (checkout,) = [s for s in steps if s.get("with", {}).get("repository") == "OWNER/vlmguard"]
    place = checkout["with"]["path"]
    installs = [step["run"] for step in steps if "pip install" in step.get("run", "")]
    assert installs == [f"pip install -c {place}/constraints.txt ./{place}"]
    commands = re.findall(r"vlmguard (\w+) .*--", text)
    assert len(commands) == 5
    for command in commands:
        with pytest.raises(SystemExit) as done:
            main([command, "--help"])
        assert done.value.code == 0


def test_the_front_page_counts_right(repo: Path) -> None:
    text = (repo / "README.md").read_text()
    listed = the_table("benchmark", "samples").rows
    for word, count in (("benchmarks", len(listed)), ("defenses", len(cards().defenses))):
        (told,) = re.findall(rf"[Mm]ore than (\d+) {word}", text)
        # A newcomer's file must not make it wrong, nor may it grow stale.
        assert int(told) < count <= int(told) + 10


def test_the_front_page_repeats_figures_of_the_manual(repo: Path) -> None:
    text = " ".join((repo / "README.md").read_text().split())
    rows = {row[0]: row for row in the_table("Defense", "safety", "all", "joint").rows}
    harmless = rows["vlmguard"][-1]
    rivals = [float(row[2]) for name, row in rows.items() if name not in OURS and "*" not in name]
    assert f"from {rows['undefended'][2]} % to {rows['vlmguard'][2]} %" in text
    assert f"the best of four rivals reaches {max(rivals)} %" in text
    assert len(rivals) == 4
    assert rows["undefended"][-1] == harmless
    assert f"the share stays {harmless} %" in text
    attacked = {row[0]: row for row in the_table("Defense", "no attack").rows}
    assert f"{attacked['vlmguard'][-2]} % of risky requests succeed" in text
