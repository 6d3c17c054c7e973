"""A process that draws figures for another one: sketches come in, figures go out."""

import os
import pickle
import signal
import sys

from vlmguard.results.leaderboard.figures.kept import digest_of
from vlmguard.results.leaderboard.figures.pictures import drawn, packed


def main() -> None:
    """Draw all that the asking process wants."""
    # Ctrl-C goes to all processes of a terminal; the asking one ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print must not come between the figures.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Bytes of the process that started this one, and of nobody else.
    for number, sketch in pickle.loads(sys.stdin.buffer.read()):
        content = packed(drawn(sketch, number), digest_of(sketch, number))
        out.write(str(len(content)).encode() + b"\n" + content)
        out.flush()


if __name__ == "__main__":
    main()
