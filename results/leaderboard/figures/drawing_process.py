"""A process that draws figures for another one: a sketch comes in, a figure goes out."""

import os
import pickle
import signal
import sys

from vlmguard.guard.garbage import rarely_collected
from vlmguard.results.leaderboard.figures.kept import digest_of
from vlmguard.results.leaderboard.figures.pictures import drawn, packed


def main() -> None:
    """Draw one figure after the other, until nothing more is asked."""
    # Ctrl-C goes to all processes of a terminal; the asking one ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print must not come between the figures.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with rarely_collected():
        while line := sys.stdin.buffer.readline():
            # Bytes of the process that started this one, and of nobody else.
            number, sketch = pickle.loads(sys.stdin.buffer.read(int(line)))
            content = packed(drawn(sketch, number), digest_of(sketch, number))
            out.write(b"%d\n" % len(content) + content)
            out.flush()


if __name__ == "__main__":
    main()
