"""The process that has imported everything, and runs each command of a page in a fork of itself.

A plain start of `inspect` or `vlmguard` costs 5 to 8 seconds of a processor, most of it imports; a
fork costs next to nothing, and the command is the same code with the same arguments, environment,
folder and files. `shim.py` stands on the reader's PATH for `inspect`, `vlmguard` and `python`.

Nothing here reaches a network: names that the world does not know have no address.
"""

import array
import asyncio
import json
import os
import runpy
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

FDS = 3


def main(place: str, world: str) -> None:
    """Serve on a socket until the parent ends, whichever way: the pipe to our input ends with it.

    Args:
        place: Path of the socket.
        world: JSON: `hosts` (name to port on this machine), `ca` (a file of certificates), `sets`
            (numbers of samples of benchmarks, which are smaller here than at their authors),
            `suites` (a folder of suites that ask for no more than these).
    """
    # Before anything else asks for an address.
    known = json.loads(world)
    _only_these(known["hosts"])
    _imports()
    _trust(known["ca"])
    _smaller(known["sets"], Path(known["suites"]))
    # Who waits for a fork's end is the fork's own parent, below.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(place)
    listening.listen(16)
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listening, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        client, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _handle(client)
        client.close()


def _imports() -> None:
    import datasets  # noqa: F401
    import inspect_ai._cli.main  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import openai.resources.chat  # noqa: F401
    import pandas as pd  # noqa: F401
    import peft  # noqa: F401
    import torch  # noqa: F401
    import uvicorn  # noqa: F401
    from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: F401

    import vlmguard._registry
    import vlmguard.cli
    import vlmguard.guard.hf_vlm.api
    import vlmguard.guard.hf_vlm.engine_process
    import vlmguard.results.leaderboard.build  # noqa: F401


def _only_these(hosts: dict[str, int]) -> None:
    """Names of servers that are replaced lead to this machine, and others nowhere."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name in hosts:
            return real("127.0.0.1", hosts[name], *more, **named)
        if name in (None, "", "localhost", "127.0.0.1", "0.0.0.0", "::1", socket.gethostname()):
            return real(host, port, *more, **named)
        raise socket.gaierror(f"a how-to asked for {name}, which nothing stands in for")

    socket.getaddrinfo = getaddrinfo
    # anyio takes the address alone, and connects to the port that it was asked for.
    (port,) = set(hosts.values())
    connect = asyncio.BaseEventLoop.create_connection

    async def create_connection(
        self: asyncio.BaseEventLoop, factory: Any, host: Any = None, at: Any = None, **more: Any
    ) -> Any:
        at = port if (host, at) == ("127.0.0.1", 443) else at
        return await connect(self, factory, host, at, **more)

    asyncio.BaseEventLoop.create_connection = create_connection  # type: ignore[method-assign]


def _trust(ca: str) -> None:
    import certifi
    import certifi.core

    certifi.where = certifi.core.where = lambda: ca


def _smaller(sets: dict[str, dict[str, int]], suites: Path) -> None:
    """The authors' data are here in few samples, as the newest commit of their repositories."""
    from dataclasses import replace

    from vlmguard.guard.cards import Card, registry
    from vlmguard.results.run import chosen

    chosen.SUITES = suites  # type: ignore[misc]
    for name, variants in sets.items():
        card = registry._BENCHMARKS[name]
        changed: dict[str, Any] = {"hub_commit": "", "sha256": {}, "variants": variants}
        if card.git is not None:
            changed["git"] = replace(card.git, commit="")
        registry._BENCHMARKS[name] = Card(**{**vars(card), **changed})


def _handle(client: socket.socket) -> NoReturn:
    """Run what a shim asks for, and tell it process id and exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, found, _, _ = socket.recv_fds(client, 1, FDS)
    asked = json.loads(client.makefile().readline())
    pid = os.fork()
    if pid == 0:
        client.close()
        _become(found, asked)
    for each in found:
        os.close(each)
    Thread(target=_end_with_ours, args=(pid,), daemon=True).start()
    client.sendall(f"{pid}\n".encode())
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    client.sendall(f"{status if status >= 0 else 128 - status}\n".encode())
    os._exit(0)


def _end_with_ours(pid: int) -> None:
    """End a command, and what it started, when whoever runs the pages is gone."""
    sys.stdin.read()
    os.killpg(pid, signal.SIGKILL)


def _become(found: "list[int] | array.array[int]", asked: dict[str, Any]) -> NoReturn:
    os.setsid()
    for number, each in enumerate(found):
        os.dup2(each, number)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf-8", buffering=1, closefd=False)
        for number, mode in enumerate("rww")
    )
    _started_here()
    if "vlmguard.guard.hf_vlm.engine_process" in sys.modules:
        _fork_engines()
    program, *words = asked["words"]
    status: object = 1
    try:
        _program(program, words)
        status = 0
    except SystemExit as done:
        status = done.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    # As a process ends: what runs at exit, then nothing of the fork's parents.
    import atexit

    atexit._run_exitfuncs()
    os._exit(int(status or 0) if isinstance(status, int | None) else 1)


def _started_here() -> None:
    """What was noted of the folder in which a process started, when it was imported."""
    import vlmguard.guard.paths

    vlmguard.guard.paths._START = Path.cwd()  # type: ignore[misc]


class _Forked:
    """A fork, as far as it is used like a process of `subprocess`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            _, status = os.waitpid(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def _fork_engines() -> None:
    """Let the process that forks engines of local models be a fork too: it has all imports."""
    from vlmguard.guard.hf_vlm import launching, nursery

    def forked(function: str, sock: socket.socket, errors: int) -> _Forked:
        pid = os.fork()
        if pid:
            return _Forked(pid)
        os.setsid()
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        for standard in (1, 2):
            os.dup2(errors, standard)
        # What else this process had open would stay so, and others would wait for its end.
        keep = os.dup2(sock.fileno(), 3) if sock.fileno() != 3 else 3
        os.closerange(4, 65_536)
        try:
            nursery.main(keep)
        finally:
            os._exit(0)

    launching._python = forked  # type: ignore[assignment]


def _program(program: str, words: list[str]) -> None:
    if os.environ.get("HOWTOS_PARSE") == "1":
        _parse_only()
    if program == "vlmguard":
        from vlmguard.cli import main as run

        sys.argv = [program, *words]
        sys.exit(run())
    if program == "inspect":
        from inspect_ai._cli.main import main as inspect_main

        sys.argv = [program, *words]
        inspect_main()
        return
    _python(words)


def _python(words: list[str]) -> None:
    if words[:1] == ["-m"]:
        sys.argv = words[1:]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[:1] == ["-c"]:
        sys.argv = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")


def _parse_only() -> None:
    """Accept or refuse a command line as the program does, and run nothing of it."""
    import argparse

    import click

    parse = argparse.ArgumentParser.parse_known_args

    def parsed(self: argparse.ArgumentParser, *args: Any, **more: Any) -> Any:
        result = parse(self, *args, **more)
        if self.prog == "vlmguard" and not _left_over(result):
            sys.exit(0)
        return result

    argparse.ArgumentParser.parse_known_args = parsed  # type: ignore[assignment, method-assign]
    nothing: Callable[..., None] = lambda self, ctx: None  # noqa: E731
    click.Command.invoke = nothing  # type: ignore[method-assign]


def _left_over(result: Any) -> bool:
    """Whether words are left that the program refuses; `train` takes any KEY=VALUE."""
    arguments, rest = result
    return bool(rest) and "set" not in arguments


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main(*sys.argv[1:])
