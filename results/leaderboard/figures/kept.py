"""The figures of a leaderboard: from the cache, else drawn, by two processes if they are many.

Drawing takes most of the time of a leaderboard, and equal data give equal figures. A figure is
known by all that is drawn: its data to the last digit, the settings of matplotlib, and the files of
this package.
"""

import contextlib
import hashlib
import json
import pickle
import subprocess
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import matplotlib

from vlmguard.results.leaderboard.figures.pictures import Picture, drawn, packed, unpacked
from vlmguard.results.leaderboard.figures.sketches import Sketch
from vlmguard.results.logs.cache_folder import cache_folder
from vlmguard.results.logs.kept import source_digest
from vlmguard.results.programs import processors, started

__all__ = ["digest_of", "pictures_of"]

_MANY: Final = 6
"""From so many figures on another process saves time: its start takes as long as two or three."""
_PATIENCE: Final = 60.0
"""Seconds that its last figure is waited for; then this process draws it."""
_PROGRAM: Final = "vlmguard.results.leaderboard.figures.drawing_process"

Numbered = tuple[int, Sketch]
"""A figure to draw, and its number among those of the page."""


def pictures_of(sketches: Mapping[str, Sketch]) -> dict[str, Picture]:
    """The figures by title."""
    cache = cache_folder()
    known = {number: digest_of(each, number) for number, each in enumerate(sketches.values())}
    found: dict[int, Picture] = {}
    for number, digest in known.items():
        content = cache.read(f"figure-{digest}") if cache else None
        picture = unpacked(content, digest) if content else None
        found |= {number: picture} if picture else {}
    missing = [pair for pair in enumerate(sketches.values()) if pair[0] not in found]
    made: dict[int, Picture] = {}
    if len(missing) >= _MANY and processors() > 1:
        made = _drawn_by_two(missing, known)
    for number, sketch in missing:
        picture = made.get(number) or drawn(sketch, number)
        found[number] = picture
        if cache:
            # That a cache cannot be written was said when the logs were read.
            with contextlib.suppress(OSError):
                cache.write(f"figure-{known[number]}", packed(picture, known[number]))
    if cache:
        cache.tidy()
    return {title: found[number] for number, title in enumerate(sketches)}


def digest_of(sketch: Sketch, number: int) -> str:
    """What tells a figure from all others."""
    # A user's matplotlibrc may set what our style leaves open.
    settings = repr(sorted(matplotlib.rcParams.items()))
    facts = [sketch.described(), number, source_digest(), matplotlib.__version__, settings]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:40]


def _drawn_by_two(missing: list[Numbered], known: Mapping[int, str]) -> dict[int, Picture]:
    """Draw figures here and in another process; what that one does not give is left out."""
    try:
        program = started(_PROGRAM)
    except OSError:  # Where no program can be started, as in some sandboxes.
        return {}
    left = deque(missing)
    made: dict[int, Picture] = {}
    with program, ThreadPoolExecutor(1) as pool:
        try:
            others = pool.submit(_drawn_elsewhere, program, left, known)
            # This process takes from the front, the other from the back, until nothing is left.
            while taken := _taken(left.popleft):
                made[taken[0]] = drawn(taken[1], taken[0])
            with contextlib.suppress(TimeoutError):
                made |= others.result(_PATIENCE)
        finally:
            program.kill()
    return made


def _drawn_elsewhere(
    program: "subprocess.Popen[bytes]", left: deque[Numbered], known: Mapping[int, str]
) -> dict[int, Picture]:
    """Have a program draw what is left, from the back, until it fails.

    What is known of the figures was noted before: who draws changes the settings of matplotlib
    meanwhile, in all threads.
    """
    made: dict[int, Picture] = {}
    assert program.stdin is not None
    assert program.stdout is not None
    with contextlib.suppress(OSError):  # It has ended.
        while taken := _taken(left.pop):
            asked = pickle.dumps(taken)
            program.stdin.write(b"%d\n" % len(asked) + asked)
            program.stdin.flush()
            line = program.stdout.readline()
            content = program.stdout.read(int(line)) if line.strip().isdigit() else b""
            picture = unpacked(content, known[taken[0]])
            if picture is None:
                break
            made[taken[0]] = picture
    # Here, since what was not written would be an error of whoever closes it.
    with contextlib.suppress(OSError):
        program.stdin.close()
    return made


def _taken(take: Callable[[], Numbered]) -> Numbered | None:
    """The next figure; None if none is left. Two threads take from one queue."""
    try:
        return take()
    except IndexError:
        return None
