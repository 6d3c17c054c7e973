"""What an export costs as rows grow: time, memory, and the exponent with which time grows.

Each part runs in a process of its own, at 1,000, 10,000 and 100,000 rows (or up to MOST): an
exponent of 1 is linear, 2 is each with each. `texts` and `looks` are the searches for
near-duplicates, on what real sets are like and on the worst that is known; `leaks` compares rows
with 20,000 test items; `rows` makes the samples of a synthesis; `export` is the whole command on a
log of ten rows an image. Worst cases are shown without a limit, and at 10,000 rows at most. Memory
is what the process holds of its own: files that it maps are not counted, Linux takes them back.

    python tests/bench/export.py [MOST [MOST_EXPORTED]]     # about 6 minutes
"""

import gc
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.pairs import show, within

EXPONENT = 1.35
"""Of time, from the second largest number of rows to the largest."""
BYTES = 1500
"""Memory a row, at the largest number of rows."""
WORST = 10_000


@dataclass(frozen=True)
class Cost:
    """Processor seconds, and the growth of memory in MB."""

    seconds: float
    memory: float


def texts(number: int, kind: str) -> Callable[[], object]:
    """Rows about shared images, about one image, or of a hundred words about one image."""
    from vlmguard.training.dataset.duplicates import Taught, near_duplicates

    drawn = random.Random(0)
    # Few words are frequent and most are rare, as in any language.
    many = [f"w{int(20_000 * drawn.random() ** 4)}" for _ in range(200_000)]
    few = [f"w{each}" for each in range(100)]

    def text() -> str:
        words = few if kind == "worst" else many
        start = drawn.randrange(len(words) - 40)
        return " ".join(
            drawn.choices(words, k=20) if kind == "worst" else words[start : start + 20]
        )

    def image() -> str:
        return f"i{drawn.randrange(max(1, number // 10))}" if kind == "shared" else "i"

    made = [Taught(image(), text(), text()) for _ in range(number)]
    return lambda: near_duplicates(made)


def looks(number: int, kind: str) -> Callable[[], object]:
    """Photos, or writing on white: nearly all bits are those of a flat picture."""
    from vlmguard.training.dataset.fingerprints import Fingerprint, ImageIndex

    drawn = random.Random(0)

    def bits() -> bytes:
        if kind == "photos":
            return drawn.randbytes(32)
        return sum({1 << drawn.randrange(256) for _ in range(40)}).to_bytes(32)

    made = [Fingerprint(bits(), drawn.randbytes(48)) for _ in range(number)]

    def work() -> None:
        index = ImageIndex(made)
        for each in made:
            index.near_indices(each)

    return work


def leaks(number: int, kind: str) -> Callable[[], object]:
    """Rows with their own pictures beside ten test sets; or all with one picture of these."""
    from vlmguard.training.dataset.fingerprints import Fingerprint
    from vlmguard.training.dataset.items import Item
    from vlmguard.training.dataset.leaks import find_leaks

    drawn = random.Random(0)

    def item(name: str, place: int) -> Item:
        blank = kind == "one picture"
        look = Fingerprint(bytes(32), bytes(48)) if blank else None
        look = look or Fingerprint(drawn.randbytes(32), drawn.randbytes(48))
        shown = "blank" if blank else f"{name}{place}"
        return Item(f"{name}/{place}", shown, f"Request {name} {place}?", None, shown, look)

    sets = {f"t{each}": [item(f"t{each}", place) for place in range(2000)] for each in range(10)}
    made = (item("r", place) for place in range(number))
    return lambda: find_leaks(made, sets)


def rows(number: int, kind: str) -> Callable[[], object]:
    """The samples of a synthesis, or those of one of four shards."""
    from support.synthesis import draw_image, raw_row

    from vlmguard.guard.shards import only, shards_of
    from vlmguard.training.synthesis.record import to_samples
    from vlmguard.training.synthesis.sources import read_sources

    folder = Path(tempfile.mkdtemp())
    for each in range(10):
        draw_image(folder / f"images/{each}.png", each)
    with (folder / "rows.jsonl").open("w") as file:
        for each in range(number):
            file.write(json.dumps(raw_row(each, image=f"images/{each % 10}.png")) + "\n")
    ids = [f"rows/r{each}" for each in range(number)]
    shard = shards_of(ids, 4)[0] if kind == "shard" else None

    def work() -> object:
        with only(shard):
            return to_samples(read_sources(f"{folder}/rows.jsonl"), contrast=True, sampled=False)

    return work


def export(number: int, kind: str) -> Callable[[], object]:
    """The whole command, on a log of ten rows an image."""
    from support.synthetic_logs import MadeRow, mixed_rows, template, write_log

    from vlmguard.training.dataset.export import export as written

    folder = Path(tempfile.mkdtemp())
    drawn = random.Random(0)

    def row(place: int) -> MadeRow:
        (like,) = mixed_rows(1, place)
        return MadeRow(
            f"made/{place}", drawn.randrange(number // 10), like.original, like.rewritten
        )

    log = write_log(folder / "a.eval", template(folder / "made"), map(row, range(number)))
    import datasets

    datasets.disable_progress_bars()
    return lambda: written([log], folder / "out")


PARTS: dict[str, tuple[Callable[[int, str], Callable[[], object]], str, bool]] = {
    "texts, ten rows an image": (texts, "shared", True),
    "texts, all about one image": (texts, "one image", True),
    "texts, of 100 words about one image: worst": (texts, "worst", False),
    "looks, photos": (looks, "photos", True),
    "looks, writing on white: worst": (looks, "writing", False),
    "leaks, 20,000 test items": (leaks, "photos", True),
    "leaks, all with one picture": (leaks, "one picture", True),
    "rows, samples of a synthesis": (rows, "whole", True),
    "rows, samples of one of four shards": (rows, "shard", True),
    "export": (export, "", True),
}


def play(part: str, number: int) -> None:
    """One part in this process: prints processor seconds and the growth of memory in MB."""
    make, kind, _ = PARTS[part]
    work = make(number, kind)
    gc.collect()
    before = held()
    with watched() as looks:
        started = time.process_time()
        kept = work()
        seconds = time.process_time() - started
        looks.append(held())
    del kept
    print(f"\n{seconds} {(max(looks) - before) / 1024}")


def held() -> int:
    """Memory of this process in KB, without mapped files, which Linux takes back at need."""
    return int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0])


@contextmanager
def watched() -> Iterator[list[int]]:
    """What is held, looked at every 50 ms."""
    looks: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            looks.append(held())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield looks
    finally:
        over.set()
        thread.join()


def cost_of(part: str, number: int) -> Cost:
    """A part in a process of its own."""
    command = [sys.executable, __file__, "--part", part, str(number)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    seconds, memory = done.stdout.split()[-2:]
    return Cost(float(seconds), float(memory))


def main(most: int = 100_000, most_exported: int = 100_000) -> int:
    """Measure all parts; 1 if one grows faster than its limit."""
    good = True
    for part, (_, _, limited) in PARTS.items():
        end = most_exported if part == "export" else most if limited else min(most, WORST)
        sizes = [10**power for power in range(3, 10) if 10**power <= end]
        costs = [cost_of(part, size) for size in sizes]
        named = dict(zip(sizes, costs, strict=True))
        show(part, {f"{size:,} rows": [cost.seconds] for size, cost in named.items()}, "s")
        show(part, {f"{size:,} rows": [cost.memory] for size, cost in named.items()}, "MB")
        if len(costs) > 1 and limited:
            grown = math.log10(costs[-1].seconds / costs[-2].seconds)
            good &= within(f"{part}: exponent of time", grown, EXPONENT)
            if part.startswith(("texts", "looks", "export")):
                a_row = (costs[-1].memory - costs[-2].memory) * 2**20 / (sizes[-1] - sizes[-2])
                good &= within(f"{part}: bytes of memory a row", a_row, BYTES)
    return 0 if good else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        play(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(main(*map(int, sys.argv[1:])))
