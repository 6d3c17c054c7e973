"""Fixtures for all tests."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from PIL import Image

# Set before the Hugging Face libraries are imported: no test may use the hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Inspect need not start a web server with each run, from which one could watch it.
os.environ.setdefault("INSPECT_EVAL_CTL_SERVER", "false")

# What tests keep of logs is theirs, not the user's: none sees what another run of the tests left.
_LOG_CACHE = tempfile.TemporaryDirectory(prefix="vlmguard-logs-", ignore_cleanup_errors=True)
os.environ["VLMGUARD_LOG_CACHE"] = _LOG_CACHE.name

# No deadline, since the machine may be busy; no random examples, so that results repeat.
hypothesis.settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("steady")

REPO = Path(__file__).resolve().parents[1]

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
RealData = Callable[..., Path]


@pytest.fixture(scope="session")
def repo() -> Path:
    """Root of the repository."""
    return REPO


@pytest.fixture(scope="session")
def real_data() -> RealData:
    """Find a benchmark's real folder; the test is skipped if it, or a file in it, is missing."""

    def find(benchmark: str, *files: str) -> Path:
        root = os.environ.get("VLMGUARD_DATA")
        if not root:
            pytest.skip("real benchmark files: VLMGUARD_DATA is not set")
        folder = Path(root).absolute() / benchmark
        for path in (folder, *(folder / file for file in files)):
            if not path.exists():
                pytest.skip(f"real benchmark files: {path} is not there")
        return folder

    return find


@pytest.fixture(scope="session", autouse=True)
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder of this process to work in: no test depends on what lies about it."""
    folder = tmp_path_factory.mktemp("nowhere")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(autouse=True)
def leaves_nothing(nowhere: Path) -> Iterator[None]:
    """What a test writes, it writes to folders of its own."""
    yield
    left = sorted(path.name for path in nowhere.iterdir())
    for name in left:
        path = nowhere / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not left, f"left in the folder where it ran: {left}; give it a folder, as tmp_path"
    assert Path.cwd() == nowhere, f"did not come back from {Path.cwd()}"


@pytest.fixture
def own_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a test that names no folder for logs write below the test's own."""
    monkeypatch.setenv("INSPECT_LOG_DIR", str(tmp_path / "logs"))


@pytest.fixture(scope="session", autouse=True)
def shown() -> None:
    """Have Inspect say what it does in Python's log alone.

    Its other displays lay out tables of each run, for `display="none"` too, which is half of the
    time that a small run takes. The first display of a process stays.
    """
    from inspect_ai._display.core.active import display
    from inspect_ai.util._display import init_display_type

    init_display_type("log")
    display()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A small valid PNG file."""
    path = tmp_path / "picture.png"
    Image.new("RGB", (32, 32), (30, 90, 200)).save(path)
    return path


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Run a console script of this environment, as a user does."""

    def run(
        *words: str,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        timeout: float = 300,
        bin_dir: Path | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        program = (bin_dir or Path(sys.executable).parent) / words[0]
        return subprocess.run(
            [str(program), *words[1:]],
            cwd=cwd,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
