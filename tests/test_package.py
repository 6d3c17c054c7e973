"""The package as users install it: layout, light import, editable and wheel, both kinds of name."""

import os
import shutil
import site
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log
from support.openai_server import Server, openai_server
from support.siuo_folder import write_siuo

from vlmguard.guard.cards import cards

FOLDERS = ("guard", "tasks", "solvers", "scorers", "training", "results")
FOR_A_CLONE = ("results/baseline.json.gz", "README.md", "coverage.md", "gate.md", "marks.md")
"""Endings of tracked files that are not in a wheel: pages, and this repository's gate."""


def tracked(repo: Path) -> list[str]:
    """Files of the clone, including new ones; links by their own names."""
    if not (repo / ".git").exists():
        pytest.skip("not a clone")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=repo,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.split("\n") if name and os.path.lexists(repo / name)]


def test_every_folder_has_its_link(repo: Path) -> None:
    for folder in FOLDERS:
        link = repo / "src" / "vlmguard" / folder
        assert link.is_symlink(), f"{link} is no link: git -c core.symlinks=true clone"
        assert link.readlink() == Path("..") / ".." / folder


def test_constraints_pin_every_installed_dependency(repo: Path) -> None:
    pins = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (repo / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    declared = tomllib.loads((repo / "pyproject.toml").read_text())["project"]
    names = [*declared["dependencies"], *declared["optional-dependencies"]["dev"]]
    for requirement in names:
        name = requirement.split(">")[0].split("[")[0].lower().replace("_", "-")
        assert name in pins, f"{name} has no pin in constraints.txt"
    assert "torch==2.13.0" in (repo / "constraints.txt").read_text()


def test_importing_the_registry_loads_no_heavy_library() -> None:
    heavy = ("torch", "transformers", "peft", "trl", "datasets", "scipy", "statsmodels", "openai")
    code = f"import sys, vlmguard._registry; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_inspect_lists_our_tasks_and_nothing_else(repo: Path, cli: Any) -> None:
    result = cli("inspect", "list", "tasks", "tasks", cwd=repo)
    assert result.returncode == 0, result.stderr
    names = {line.split("@")[-1] for line in result.stdout.split() if "@" in line}
    assert {"siuo", "vlguard", "mm_safetybench", "figstep"} <= names


@pytest.fixture(scope="module")
def built(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel and an sdist of what git tracks, built from a copy: a build leaves folders behind."""
    work = tmp_path_factory.mktemp("built")
    for name in tracked(repo):
        (work / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(repo / name, work / "source" / name, follow_symlinks=False)
    for kind in ("--wheel", "--sdist"):
        subprocess.run(
            [
                *(sys.executable, "-m", "build", kind, "--no-isolation"),
                *("--outdir", str(work), str(work / "source")),
            ],
            check=True,
            capture_output=True,
        )
    return work


@pytest.mark.slow
def test_a_wheel_holds_what_git_tracks(repo: Path, built: Path) -> None:
    below = [name for name in tracked(repo) if name.startswith(tuple(f"{f}/" for f in FOLDERS))]
    expected = {f"vlmguard/{name}" for name in below if not name.endswith(FOR_A_CLONE)}
    expected |= {
        name.removeprefix("src/")
        for name in tracked(repo)
        if name.startswith("src/") and not (repo / name).is_symlink()
    }
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected


@pytest.mark.slow
def test_an_sdist_holds_the_package_and_no_links(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members}
    assert {"src/vlmguard/tasks/siuo.py", "src/vlmguard/results/logs/read.py"} <= names
    assert not any(member.issym() for member in members)


@pytest.fixture(scope="module")
def wheel_bin(built: Path) -> Path:
    """Scripts of a fresh environment that holds our wheel and borrows its dependencies."""
    work = built
    (wheel,) = work.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(work / "venv")], check=True)
    python = work / "venv" / "bin" / "python"
    subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "--no-deps", str(wheel)],
        check=True,
        capture_output=True,
    )
    purelib = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    # A .pth file adds the outer packages without running the outer editable finder.
    outer = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (Path(purelib) / "outer.pth").write_text("\n".join(outer))
    inspect = work / "venv" / "bin" / "inspect"
    inspect.write_text(f"#!{python}\nfrom inspect_ai._cli.main import main\nmain()\n")
    inspect.chmod(0o755)
    return work / "venv" / "bin"


def _judge_everything(text: str, messages: list[dict[str, Any]]) -> str:
    if '"safety"' in text:
        return 'Fine. {"safety": 9, "helpful": true}'
    if '"safe"' in text:
        return '{"safe": true}'
    if '"effective"' in text:
        return '{"effective": "very"}'
    if "<prompt>" in text:
        return "<reasoning>A picture.</reasoning><prompt>Tell me safely.</prompt>"
    if "yes or no" in text:
        return "no"
    return "Certainly: take care."


@pytest.fixture(scope="module")
def server() -> Any:
    with openai_server(_judge_everything) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("installed", ["editable", "wheel"])
@pytest.mark.parametrize(
    ("task", "solver"),
    [
        ("tasks/siuo.py", "vlmguard"),
        ("tasks/siuo.py", "ecso"),
        ("vlmguard/siuo", "vlmguard/ecso"),
        ("vlmguard/siuo", "vlmguard"),
    ],
)
def test_documented_commands_run(
    installed: str,
    task: str,
    solver: str,
    repo: Path,
    tmp_path: Path,
    cli: Any,
    server: Server,
    request: pytest.FixtureRequest,
) -> None:
    bin_dir = request.getfixturevalue("wheel_bin") if installed == "wheel" else None
    logs = tmp_path / "logs"
    result = cli(
        *("inspect", "eval", task, "--solver", solver, "--limit", "2"),
        *("--model", "openai-api/scripted/target"),
        *("--model-role", "rewriter=openai-api/scripted/rewriter"),
        *("--model-role", "grader=openai-api/scripted/grader"),
        *("-T", f"data_dir={write_siuo(tmp_path / 'siuo', 3)}"),
        *("--log-dir", str(logs), "--display", "plain"),
        cwd=repo if task.startswith("tasks/") else tmp_path,
        env=server.environment(),
        bin_dir=bin_dir,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (found,) = list_eval_logs(str(logs))
    log = read_eval_log(found)
    assert log.status == "success"
    assert log.eval.task_display_name == "siuo"
    assert log.samples is not None
    assert len(log.samples) == 2
    assert log.samples[0].metadata["defense_record"]["defense"] == solver.removeprefix("vlmguard/")
    assert log.results is not None
    safe = next(score for score in log.results.scores if score.name == "safe")
    assert safe.metrics["mean"].value == 1.0


def test_repository_root_has_no_name_that_hides_a_solver(repo: Path) -> None:
    # `--solver vlmguard` is read as a path if such a file or folder is there.
    for name in ("vlmguard", *cards().defenses):
        assert not (repo / name).exists()
    assert os.access(repo / ".ci" / "run", os.X_OK)


def test_git_ignores_what_the_quick_start_makes_and_nothing_of_ours(repo: Path) -> None:
    if not (repo / ".git").exists():
        pytest.skip("not a clone")

    def git(*words: str) -> list[str]:
        result = subprocess.run(
            ["git", *words], cwd=repo, capture_output=True, text=True, check=False
        )
        return result.stdout.split()

    # Otherwise, `make check` would read the authors' code below data/.
    made = ["data/figstep/eval.py", "out/board/index.html", "logs/a.json"]
    assert git("check-ignore", *made) == made
    assert git("ls-files", "--cached", "--ignored", "--exclude-standard") == []
