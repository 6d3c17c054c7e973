"""A process that reads logs for another one: paths come in, what they hold goes out."""

import json
import os
import signal
import sys

from vlmguard.results.logs.answers import LeftOut
from vlmguard.results.logs.codec import NotStorable, packed
from vlmguard.results.logs.kept import reader_version
from vlmguard.results.logs.reading import read_one


def _answer(path: str) -> bytes:
    """What a log holds, as bytes; nothing where the asking process must read it itself."""
    found = read_one(path)
    # Only the process that meets an error knows what it came from.
    if isinstance(found, LeftOut) and found.__cause__ is not None:
        return b""
    try:
        return packed(found)
    except NotStorable:
        return b""


def main() -> None:
    """Read until nobody asks any more."""
    # Ctrl-C goes to all processes of a terminal; the asking one ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print must not come between the answers.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    out.write(reader_version().encode() + b"\n")
    out.flush()
    for line in sys.stdin.buffer:
        content = _answer(json.loads(line))
        out.write(str(len(content)).encode() + b"\n" + content)
        out.flush()


if __name__ == "__main__":
    main()
