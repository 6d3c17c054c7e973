"""`make bench`: run the scripts of tests/bench and renew their sections of docs/benchmarks.md.

    python tests/support/benchmarks.py              # all scripts
    python tests/support/benchmarks.py overhead     # one or more of them

The page is written after each script, so that an interrupted run keeps what it has measured.
"""

import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil
from support.benchmark_page import failed, renewed, section
from support.findings import VARIABLE, read_findings

REPO = Path(__file__).resolve().parents[2]
PAGE = REPO / "docs" / "benchmarks.md"
PACKAGES = ("torch", "transformers", "inspect-ai", "ray")


def scripts() -> list[Path]:
    """All scripts that measure something."""
    return sorted((REPO / "tests" / "bench").glob("*.py"))


def measured(script: Path) -> tuple[str, bool]:
    """Run a script; the body of its section, and whether all limits are kept."""
    with tempfile.TemporaryDirectory() as folder:
        findings = Path(folder) / "findings.jsonl"
        findings.touch()
        start = _Load()
        told = {**os.environ, VARIABLE: str(findings)}
        status = subprocess.run([sys.executable, str(script)], check=False, env=told).returncode
        others = start.others()
        verdicts, figures = read_findings(findings.read_text())
    bad = failed(verdicts, status)
    if bad:
        print(f"{script.stem}: failed with exit status {status}", file=sys.stderr)
    body = section(script, verdicts, figures, status, _where(others))
    return body, status == 0 and not bad


class _Load:
    """Processor time of the machine and of this program's children, from now on."""

    def __init__(self) -> None:
        self._busy, self._own, self._start = _busy(), _children(), time.monotonic()

    def others(self) -> float:
        """Cores that other programs kept busy meanwhile, on average."""
        seconds = _busy() - self._busy - (_children() - self._own)
        return max(0.0, seconds / (time.monotonic() - self._start))


def _busy() -> float:
    """Processor seconds of all programs since the machine started."""
    times = psutil.cpu_times()
    return float(times.user + times.system)


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _where(others: float) -> str:
    """Day, commit, machine and versions, as one line."""
    memory = psutil.virtual_memory().total / 1e9
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {_commit()}; {_processor()}, {os.cpu_count()} cores, "
        f"{memory:.0f} GB ({others:.1f} cores busy with other programs meanwhile); "
        f"Python {platform.python_version()}, {', '.join(versions)}."
    )


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    def git(*words: str) -> str:
        command = ["git", "-C", str(REPO), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    # The page itself changes with each section.
    changed = git("status", "--porcelain", "--", ".", f":!{PAGE.relative_to(REPO)}")
    return f"commit {git('rev-parse', '--short', 'HEAD')}{' with changes' if changed else ''}"


def main(names: list[str]) -> int:
    """Run the named scripts, or all; 1 if one failed or missed a limit, 2 for an unknown name."""
    every = {path.stem: path for path in scripts()}
    if unknown := [name for name in names if name not in every]:
        print(f"{unknown[0]}: no such benchmark. Choose of: {', '.join(every)}.", file=sys.stderr)
        return 2
    good = True
    for name in names or every:
        print(f"== {name}", flush=True)
        body, kept = measured(every[name])
        good &= kept
        page = PAGE.read_text() if PAGE.exists() else ""
        PAGE.write_text(renewed(page, {name: body}, every.values()))
    print(f"written: {PAGE.relative_to(REPO)}")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
