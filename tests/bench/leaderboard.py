"""Time and memory of the leaderboard against Inspect's own `samples_df` on the same logs.

    python tests/bench/leaderboard.py [LOGS] [SAMPLES]      # default: 200 logs of 1,000 samples

At most 1.5 times the time, and under 2 GB. Each side runs in its own process.
"""

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

MOST = 1.5
MEMORY_MB = 2000
DEFENSES = ("none", "vlmguard", "ecso", "eta", "figstep_defense")


def write_logs(folder: Path, logs: int, samples: int) -> None:
    """Logs with all that both sides read: header, summaries, and whole samples for ours."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
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
        with zipfile.ZipFile(folder / f"{number}.eval", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in texts.items():
                archive.writestr(name, text)
            archive.writestr("summaries.json", json.dumps(rows))
            for row in rows:
                archive.writestr(f"samples/{row['id']}_epoch_1.json", whole)


def measure(side: str, folder: Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of one side, in a fresh process."""
    command = [sys.executable, __file__, f"--{side}", str(folder)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds, memory = result.stdout.split()[-2:]
    return float(seconds), float(memory)


def run_side(side: str, folder: str) -> None:
    """Do the work of one side and print CPU seconds and peak memory."""
    started = time.process_time()
    if side == "samples_df":
        from inspect_ai.analysis import samples_df

        print(len(samples_df(folder, quiet=True)))
    else:
        from vlmguard.cli import main

        assert main(["leaderboard", folder, "--out", f"{folder}/out"]) == 0
        board = json.loads(Path(f"{folder}/out/leaderboard.json").read_text())
        assert not board["left_out"], "every log must have been compared"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    # CPU time, so that other work on the machine does not count.
    print(f"\n{time.process_time() - started:.2f} {memory:.0f}")


def main() -> int:
    """Compare, print, and fail above the limits."""
    if sys.argv[1:2] and sys.argv[1].startswith("--"):
        run_side(sys.argv[1].removeprefix("--"), sys.argv[2])
        return 0
    logs, samples = [int(each) for each in [*sys.argv[1:3], *("200", "1000")[len(sys.argv) - 1 :]]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_logs(folder, logs, samples)
        theirs, _ = measure("samples_df", folder)
        ours, memory = measure("leaderboard", folder)
    ratio = ours / theirs
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from support.findings import show, within

    rows = {"leaderboard": [ours], "samples_df": [theirs]}
    show(f"{logs} logs of {samples} samples, processor time", rows, "s")
    good = within("ratio to samples_df, processor time", ratio, MOST)
    return 0 if good & within("peak memory, MB", memory, MEMORY_MB) else 1


if __name__ == "__main__":
    sys.exit(main())
