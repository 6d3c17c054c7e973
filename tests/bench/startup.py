"""Start-up time relative to plain Inspect: `inspect list tasks`, and one sample of an API.

Plain Inspect is the same command with our `inspect_ai` entry point hidden (it is loaded in every
`inspect` process once the package is installed), and for the eval a task that uses nothing of ours.
Processor time is compared, which other work on the machine changes less; wall time is shown too.
Each run also checks that torch was not imported. Last comes `vlmguard --help` relative to a Python
that does nothing.

    python tests/bench/startup.py
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.latency_server import latency_server
from support.pairs import pairs, show, verdict

LIMIT = 1.2
HELP_LIMIT = 12.0
REPO = Path(__file__).resolve().parents[2]

LAUNCHER = """\
import atexit, importlib.metadata, sys
if sys.argv.pop(1) == "plain":
    every = importlib.metadata.entry_points
    def entry_points(**select):
        if select.get("group") != "inspect_ai":
            return every(**select)
        return [each for each in every(**select) if not each.value.startswith("vlmguard")]
    importlib.metadata.entry_points = entry_points
atexit.register(lambda: print("TORCH" if "torch" in sys.modules else "LIGHT", file=sys.stderr))
from inspect_ai._cli.main import main
main()
"""

TASK = """\
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
{imports}

@task
def start():
    return Task(dataset=[Sample(input="Describe it", target="", metadata={{"category": "a"}})],
                {parts})
"""
OURS = TASK.format(
    imports="from vlmguard.scorers import judge\nfrom vlmguard.solvers import vlmguard",
    parts="solver=vlmguard(), scorer=judge()",
)
PLAIN = TASK.format(
    imports="from inspect_ai.scorer import model_graded_qa\n"
    "from inspect_ai.solver import chain, generate, system_message",
    parts='solver=chain(system_message("Be careful"), generate()),\n'
    '                scorer=model_graded_qa(model_role="grader")',
)


def main() -> int:
    def launch(side: str, *arguments: str, cwd: Path) -> float:
        start, before = time.perf_counter(), _children()
        done = subprocess.run(
            [sys.executable, "-c", LAUNCHER, side, *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        wall[side].append(time.perf_counter() - start)
        if done.returncode or not done.stderr.rstrip().endswith("LIGHT"):
            raise SystemExit(f"{arguments} failed or imported torch:\n{done.stdout}{done.stderr}")
        return _children() - before

    wall: dict[str, list[float]] = {"ours": [], "plain": []}
    good = True
    with tempfile.TemporaryDirectory() as name, latency_server(0.0) as environment:
        os.environ.update(environment)
        folder = Path(name)
        (folder / "ours.py").write_text(OURS)
        (folder / "plain.py").write_text(PLAIN)

        def start(side: str) -> float:
            model = "openai-api/bench/canned"
            options = ["--model", model, "--display", "none", "--log-dir", str(folder / "logs")]
            for role in ("rewriter", "grader"):
                options += ["--model-role", f"{role}={model}"]
            return launch(side, "eval", f"{side}.py", *options, cwd=folder)

        for title, run in (
            ("inspect list tasks", lambda side: launch(side, "list", "tasks", "tasks", cwd=REPO)),
            ("inspect eval, one sample", start),
        ):
            wall["ours"], wall["plain"] = [], []
            measured = pairs(lambda run=run: run("ours"), lambda run=run: run("plain"))
            show(
                title,
                {
                    "ours, processor time": [our for our, _ in measured],
                    "plain Inspect, processor time": [their for _, their in measured],
                    "ours, wall time": wall["ours"][1:],
                    "plain Inspect, wall time": wall["plain"][1:],
                },
                "s",
            )
            ratios = [our / their for our, their in measured]
            good &= verdict(ratios, LIMIT, at_least=False, what=f"{title}, ratio")
    print("  torch was imported in none of the runs")
    return 0 if good & help_is_light() else 1


def help_is_light() -> bool:
    """Whether `vlmguard --help` keeps its limit: processor time relative to `python -c pass`."""
    program = str(Path(sys.executable).with_name("vlmguard"))

    def start(*command: str) -> float:
        before = _children()
        for _ in range(5):  # a single start takes only some hundredths of a second
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return (_children() - before) / 5

    measured = pairs(lambda: start(program, "--help"), lambda: start(sys.executable, "-c", "pass"))
    show(
        "vlmguard --help",
        {
            "ours, processor time": [our * 1000 for our, _ in measured],
            "python -c pass, processor time": [their * 1000 for _, their in measured],
        },
        "ms",
    )
    ratios = [our / their for our, their in measured]
    return verdict(ratios, HELP_LIMIT, at_least=False, what="vlmguard --help, ratio")


def _children() -> float:
    """Processor seconds of all finished child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    raise SystemExit(main())
