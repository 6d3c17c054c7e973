"""Time and memory of the leaderboard against Inspect's own `samples_df` on the same logs.

    python tests/bench/leaderboard.py [LOGS ...]      # default: 10, 100 and 300 logs; 12 minutes
    python tests/bench/leaderboard.py 10 40 100       # less of the curve, in a third of the time

Logs are of 1,000 samples. The leaderboard is made twice, with all its files: at first nothing is
known of the logs, then all is in the cache. Reading the logs alone is measured too, since that is
all that `samples_df` does. Each side is a process of its own, with its children: its wall time, of
which start and imports are a part, its CPU time, and the highest sum of their memory. The limits
are those of the largest number of logs, on wall time; on a busy machine, CPU time says more.
"""

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.findings import show, within

SAMPLES = 1000
FIRST, AGAIN, MEMORY = 0.6, 0.1, 1.3
USUAL = ("10", "100", "300")
PARTS = (("wall time", "s", "seconds"), ("CPU time", "s", "cpu"), ("memory", "MB", "memory"))
DEFENSES = ("none", "vlmguard", "ecso", "eta", "figstep_defense")
SAMPLES_DF = "from inspect_ai.analysis import samples_df; samples_df({folder!r}, quiet=True)"
READ = (
    "from vlmguard.results.logs.frame import read_results; "
    "assert not read_results([{folder!r}]).left_out"
)
BOARD = (
    "from vlmguard.cli import main; "
    "assert main(['leaderboard', {folder!r}, '--out', {folder!r} + '/../board']) == 0"
)


@dataclass(frozen=True)
class Cost:
    """What a program took: wall and CPU time, and MB at its peak, with its children."""

    seconds: float
    cpu: float
    memory: float


def write_logs(folder: Path, logs: int, samples: int) -> None:
    """Logs with all that both sides read: header, summaries, and whole samples for ours."""
    from support.clones import template_log

    source = template_log(folder / "template", 20)
    with zipfile.ZipFile(source.location) as archive:
        read = {name: archive.read(name) for name in archive.namelist()}
    summaries = json.loads(read["summaries.json"])
    whole = next(content for name, content in read.items() if name.startswith("samples/"))
    Path(source.location).unlink()
    for number in range(logs):
        defense = DEFENSES[number % len(DEFENSES)]
        target = f"target-{number // len(DEFENSES) % 10}"
        benchmark = f"bench-{number // len(DEFENSES) // 10}"
        chance = random.Random(number)
        rows = []
        for place in range(samples):
            row = json.loads(json.dumps(summaries[place % len(summaries)]))
            row |= {"id": f"{benchmark}/{place}", "uuid": f"u{number}-{place}"}
            # One a second, as of a real run: those of its very start are looked at more closely.
            row |= {name: _later(row[name], place) for name in ("started_at", "completed_at")}
            row["metadata"] |= {"image_id": f"i{place // 2}.png", "category": f"c{place % 8}"}
            safety = float(chance.randint(0, 10))
            helpful = float(chance.random() < 0.7)
            row["scores"]["judge"]["value"] = {
                "safety": safety,
                "helpful": helpful,
                "safe_and_helpful": float(safety >= 7 and helpful == 1),
            }
            for score in row["scores"].values():
                score["metadata"]["defense"]["defense"] = defense
            rows.append(row)
        texts = {}
        for name in ("header.json", "_journal/start.json"):
            content = json.loads(read[name])
            content["eval"] |= {"eval_id": f"eval{number}", "task_id": f"task{number}"}
            content["eval"] |= {"model": target, "task_display_name": benchmark}
            content["eval"]["solver"] = None if defense == "none" else f"vlmguard/{defense}"
            texts[name] = json.dumps(content)
        with zipfile.ZipFile(
            folder / _name(number, benchmark), "w", zipfile.ZIP_DEFLATED, compresslevel=1
        ) as archive:
            for name, text in texts.items():
                archive.writestr(name, text)
            archive.writestr("summaries.json", json.dumps(rows))
            for row in rows:
                archive.writestr(f"samples/{row['id']}_epoch_1.json", whole)


def _name(number: int, benchmark: str) -> str:
    """As Inspect names logs; of others both sides read the header, only to list them."""
    return f"2026-01-01T00-00-00+00-00_{benchmark}_{number:06}.eval"


def _later(stated: str, seconds: int) -> str:
    return (datetime.fromisoformat(stated) + timedelta(seconds=seconds)).isoformat()


def cost_of(program: str, folder: Path, cache: Path) -> Cost:
    """Run a program in a process of its own."""
    command = [sys.executable, "-c", program.format(folder=str(folder))]
    told = {**os.environ, "VLMGUARD_LOG_CACHE": str(cache)}
    started, before, peak = time.monotonic(), _cpu(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=told) as process:
        while process.poll() is None:
            peak = max(peak, _memory(process.pid))
            time.sleep(0.02)
    seconds = time.monotonic() - started
    if process.returncode:
        raise SystemExit(f"a side failed: {command}")
    return Cost(seconds, _cpu() - before, peak / 2**20)


def _cpu() -> float:
    """Seconds of all processes that this one has waited for, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _memory(pid: int) -> int:
    """Bytes of a process and its children, at this moment."""
    total = 0
    try:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:
        return total
    return total


def measured(folder: Path, logs: list[Path]) -> dict[str, Cost]:
    """All sides on some logs."""
    here = folder / f"of-{len(logs)}"
    (here / "logs").mkdir(parents=True)
    for log in logs:
        os.link(log, here / "logs" / log.name)
    cache = here / "cache"
    return {
        "samples_df": cost_of(SAMPLES_DF, here / "logs", cache),
        "leaderboard": cost_of(BOARD, here / "logs", cache),
        "leaderboard, again": cost_of(BOARD, here / "logs", cache),
        "reading, again": cost_of(READ, here / "logs", cache),
        "reading": cost_of(READ, here / "logs", here / "other"),
    }


def slopes(costs: dict[int, dict[str, Cost]]) -> None:
    """Show what each further log adds, by a straight line through all numbers of logs."""
    numbers = list(costs)
    sides = list(costs[numbers[0]])
    for title, unit, part in PARTS:
        rows = {}
        for side in sides:
            values = [vars(costs[number][side])[part] for number in numbers]
            rows[side] = [float(np.polyfit(numbers, values, 1)[0])]
        show(f"each further log of {SAMPLES} samples, {title}", rows, unit)


def main() -> int:
    """Compare, print, and fail above the limits."""
    numbers = sorted(int(each) for each in sys.argv[1:] or USUAL)
    costs = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "all").mkdir()
        write_logs(folder / "all", numbers[-1], SAMPLES)
        written = sorted((folder / "all").glob("*.eval"), key=lambda each: each.stem[-6:])
        for number in numbers:
            costs[number] = measured(folder, written[:number])
            for title, unit, part in PARTS:
                rows = {side: [vars(cost)[part]] for side, cost in costs[number].items()}
                show(f"{number} logs of {SAMPLES} samples, {title}", rows, unit)
    if len(numbers) > 1:
        slopes(costs)
    most = costs[numbers[-1]]
    theirs = most["samples_df"]
    ratios = {side: cost.seconds / theirs.seconds for side, cost in most.items()}
    memory = max(most[side].memory for side in ("leaderboard", "leaderboard, again"))
    good = [
        within("leaderboard, of samples_df", ratios["leaderboard"], FIRST),
        within("leaderboard again, of samples_df", ratios["leaderboard, again"], AGAIN),
        within("reading, of samples_df", ratios["reading"], FIRST),
        within("reading again, of samples_df", ratios["reading, again"], AGAIN),
        within("memory, of samples_df", memory / theirs.memory, MEMORY),
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
