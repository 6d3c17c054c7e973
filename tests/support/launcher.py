"""Runs command lines as processes, forked from one that has imported everything.

A start of `vlmguard` or `inspect` costs seconds of processor time; tests that kill and resume
runs need dozens.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Launcher:
    """Starts one command at a time.

    Attributes:
        pid: Process id of the running command, which leads its own process group; 0 before the
            first.
    """

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._number = 0
        self.pid = 0

    def start(self, *words: str) -> None:
        """Start a command.

        Args:
            words: `vlmguard` or `inspect`, and its arguments.
        """
        self._number += 1
        self._tell({"words": words, "output": str(self._output)})
        self.pid = int(self._line())

    def wait(self) -> int:
        """Wait for its end.

        Returns:
            Its exit status; the negative number of the signal that ended it.
        """
        return int(self._line())

    def run(self, *words: str) -> int:
        """Start a command and wait for its end."""
        self.start(*words)
        return self.wait()

    def interrupt(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the command's process group, as a terminal does."""
        os.killpg(self.pid, number)

    @property
    def output(self) -> str:
        """The output of the last command."""
        return self._output.read_text(errors="replace")

    @property
    def _output(self) -> Path:
        return self._folder / f"{self._number}.txt"

    def _tell(self, message: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def launcher(cwd: Path, folder: Path, environment: dict[str, str]) -> Iterator[Launcher]:
    """A launcher until the block ends.

    Args:
        cwd: Where commands run.
        folder: Folder for their output and Inspect's own data (buffers of samples).
        environment: Variables in addition to this process's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, __file__],
        cwd=cwd,
        env={**os.environ, "XDG_DATA_HOME": str(folder / "data"), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Launcher(process, folder)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def _serve() -> None:
    # Not at the top of the file, since tests import it only for the class.
    import inspect_ai._cli.main
    import openai  # noqa: F401
    import support.third_party  # noqa: F401

    from vlmguard.cli import main

    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.setsid()
            output = os.open(request["output"], os.O_CREAT | os.O_WRONLY)
            os.dup2(output, 1)
            os.dup2(output, 2)
            program, *words = request["words"]
            try:
                if program == "vlmguard":
                    sys.exit(main(words))
                sys.argv = [program, *words]
                inspect_ai._cli.main.main()
            finally:
                sys.stdout.flush()
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    _serve()
