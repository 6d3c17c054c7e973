"""A newcomer adds a defense and a benchmark by the steps of CONTRIBUTING.md."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.documents import user_pages, user_text
from support.scaffolds import written

from vlmguard.guard.errors import UserError
from vlmguard.results.scaffold import write_new


def copied(repo: Path, to: Path) -> Path:
    """The working tree with its links, as a clone of it would be after a commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repo,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (repo / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repo / name, to / name, follow_symlinks=False)
    return to


def run(clone: Path, *words: str) -> str:
    """Run Python in the clone, on the clone's code; returns what it printed."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(clone / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


MADE_OF_CARDS = "test_the_readmes_tables_are_made_of_cards"
VLMGUARD = ("-c", "import sys; from vlmguard.cli import main; sys.exit(main(sys.argv[1:]))")


@pytest.mark.slow
def test_the_steps_ship_a_defense_and_a_benchmark(repo: Path, tmp_path: Path) -> None:
    clone = copied(repo, tmp_path / "clone")
    # 1. and 2.: a file and a test, both of which work.
    for kind, name, folder in (
        ("defense", "second_look", "solvers"),
        ("benchmark", "kitchen", "tasks"),
    ):
        said = run(clone, *VLMGUARD, "new", kind, name)
        # 3.: one line.
        (line,) = [each for each in said.splitlines() if "3. import it in" in each]
        assert "4. renew the manual's tables" in said
        with (clone / folder / "__init__.py").open("r+") as file:
            text = file.read()
            before, mark, after = text.partition(f"from vlmguard.{folder}.")
            file.seek(0)
            file.write(f"{before}{line.split(': ')[1]}\n{mark}{after}")
        # 5.: where the tests of all defenses look.
        for entry, table, place in re.findall(r'("\w+": \w+\(\)) in (\w+) of (\S+\.py)', said):
            text = (clone / place).read_text()
            start = re.search(rf"^{table}\b.*= {{\n", text, re.MULTILINE)
            assert start is not None
            changed = f"{text[: start.end()]}    {entry},\n{text[start.end() :]}"
            (clone / place).write_text(changed)
        assert ("5. give it" in said) is (kind == "defense")
    # 4.: `make readme`, in an environment that is there.
    pages = [str(page.relative_to(clone)) for page in user_pages(clone)]
    run(clone, "-m", "vlmguard.results.catalogue", *pages)
    readme = user_text(clone)
    assert "| `second_look` | one static sentence behind the request | 1 |" in readme
    assert "tasks/README.md#kitchen) | 2 | 1 + 1 | `mossbench` | " in readme
    assert len((clone / "tasks" / "kitchen.py").read_text().splitlines()) < 160
    tests = ["tests/tasks/test_kitchen.py", "tests/solvers/test_second_look.py"]
    changed = ["tasks", "solvers", *tests]
    # The order of imports is left to `ruff check --fix`.
    run(clone, "-m", "ruff", "check", "--fix", "--select", "I", "tasks", "solvers")
    run(clone, "-m", "ruff", "check", *changed)
    run(clone, "-m", "ruff", "format", "--check", *changed)
    tests += [
        "tests/test_readme.py",
        "tests/tasks/data/test_check.py::test_command",
        "tests/solvers/test_names.py::test_bare_and_prefixed_names_find_the_defense",
        "tests/solvers/test_several_images.py::test_each_stage_sees_what_its_card_says",
        "tests/test_cards.py::test_the_readmes_tables_are_made_of_cards",
        "tests/test_figstep_tiny.py::test_every_defense_has_a_trial",
    ]
    pytest_of = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
    run(clone, *pytest_of, *tests)
    run(clone, *pytest_of, "-k", "second_look", "tests/solvers/test_contract.py")


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("defense", "ecso", "There is a benchmark or defense of the name ecso"),
        ("benchmark", "ecso", "There is a benchmark or defense"),
        # One of Inspect's own.
        ("defense", "generate", "There is a benchmark or defense"),
        ("defense", "Second-Look", "small letters"),
        ("benchmark", "class", "small letters"),
        ("defense", "_", "a letter first"),
        ("benchmark", "kitchen", "not a clone"),
    ],
)
def test_a_name_or_place_of_no_use_is_refused(
    kind: str, name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        write_new(kind, name, tmp_path)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["pan", "a_name_of_25_letters_long"])
def test_ruff_accepts_files_of_short_and_long_names(name: str, repo: Path, tmp_path: Path) -> None:
    shutil.copy2(repo / "pyproject.toml", tmp_path)
    # Ruff tells our own imports from others' by these folders.
    shutil.copytree(repo / "tests" / "support", tmp_path / "tests" / "support")
    for kind in ("defense", "benchmark"):
        file = written(kind, name, tmp_path).relative_to(tmp_path)
        both = [str(file), str(Path("tests") / file.parent / f"test_{name}.py")]
        for action in (["check"], ["format", "--check"]):
            run(tmp_path, "-m", "ruff", *action, *both)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    for folder in ("src/vlmguard", "tasks", "tests/tasks"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tests" / "tasks" / "test_kitchen.py").write_text("mine")
    with pytest.raises(UserError, match=r"tests/tasks/test_kitchen\.py is there already"):
        write_new("benchmark", "kitchen", tmp_path)
    assert not (tmp_path / "tasks" / "kitchen.py").exists()
