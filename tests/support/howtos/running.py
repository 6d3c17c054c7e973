"""Runs the commands of a page in one shell, in a copy of the repository."""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir

from filelock import FileLock
from support.documents import REPO
from support.howtos.commands import Command, bound, commands_in
from support.howtos.pages import Tables
from support.howtos.world import World
from support.links import tracked
from support.markdown import blocks

LIMIT = 400
"""Seconds that a page may take."""

NEVER = ("make", "pip", "docker", "accelerate")
"""Programs that would fetch packages, or ask for machines: they stand in a table, or fail."""

PRELUDE = """\
exec 9>>"$HOWTOS_TOLD"
answers() {
    for _ in $(seq 1200); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
        kill -0 "$2" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}
stop() {
    [ -z "$served" ] && return
    { kill -TERM -- "-$served"; wait "$served"; } 2>/dev/null
    # The shell of its own ends before it.
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.05; done
    served=
}
trap stop EXIT
"""


def commands_of(page: Path) -> list[Command]:
    """All commands of a page, in order."""
    return [
        command
        for block in blocks(page)
        if block.language in ("bash", "python")
        for command in commands_in(block)
    ]


def run_page(page: Path, tables: Tables, world: World, folder: Path) -> list[str]:
    """Run a page.

    Args:
        page: The page.
        tables: What is special about it.
        world: What is outside.
        folder: An empty folder.

    Returns:
        What failed, with page, line, command and the end of its output.
    """
    clone = copied(folder / "clone")
    tables.prepare(clone, world)
    failed = list(_unread(page, tables, clone))
    commands = []
    for each in commands_of(page):
        if tables.left_out(each) is not None:
            continue
        if each.words.split()[0] in NEVER:
            failed.append(f"{page.relative_to(REPO)}:{each.line}: in no table: {each.words}")
        else:
            commands.append(each)
    script = folder / "script.sh"
    script.write_text(_script(commands, tables, folder))
    told = folder / "told"
    told.touch()
    environment = {**world.environment, **tables.environment, "HOWTOS_TOLD": str(told)}
    ports = {served.port for each in commands if (served := tables.server(each))}
    with _alone(ports):
        shell = subprocess.Popen(
            ["bash", str(script)], cwd=clone, env=environment, start_new_session=True
        )
        try:
            shell.wait(LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGTERM)
            shell.wait()
        # What a command that failed left in the background.
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)
    statuses = dict(map(_read, told.read_text().splitlines()))
    for number, command in enumerate(commands):
        expected, status = tables.ending(command).status, statuses.get(number)
        if status != expected:
            said = (folder / f"{number}.txt").read_text(errors="replace")[-3000:]
            ended = "was not reached" if status is None else f"ended with {status}"
            place = f"{page.relative_to(REPO)}:{command.line}"
            failed.append(f"{place}: {ended}:\n{command.text}{said}\n")
    shutil.rmtree(clone)
    return failed


def copied(to: Path) -> Path:
    """The working tree with its links."""
    for path in tracked():
        name = path.relative_to(REPO)
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, to / name, follow_symlinks=False)
    return to


def _unread(page: Path, tables: Tables, clone: Path) -> Iterator[str]:
    """What is wrong with the blocks of YAML, which are written where the page's commands look."""
    for block in blocks(page):
        if block.language != "yaml":
            continue
        place = f"{page.relative_to(REPO)}:{block.line}"
        known = next((each for each in tables.yamls if each.has in block.text), None)
        if known is None:
            yield f"{place}: nothing reads this block of YAML\n{block.text}"
            continue
        file = clone / known.name
        file.write_text(block.text)
        try:
            known.read(file)
        except Exception as error:  # whatever is wrong with the page
            yield f"{place}: {error!r}\n{block.text}"


def _script(commands: list[Command], tables: Tables, folder: Path) -> str:
    """One shell for all of them, so that what one exports the next ones have."""
    parts = [PRELUDE]
    for number, command in enumerate(commands):
        text = bound(command.text, tables.bindings)
        if command.language == "python":
            program = folder / f"{number}.py"
            program.write_text(text)
            text = f"python {shlex.quote(str(program))}\n"
        out = shlex.quote(str(folder / f"{number}.txt"))
        own, server = tables.ending(command), tables.server(command)
        given = own.environment
        parts.append("".join(f"export {k}={shlex.quote(v)}; " for k, v in given.items()))
        parts.append(own.first)
        source = f"<<< {shlex.quote(own.typed)}" if own.typed else "</dev/null"
        if server is None:
            parts.append(f"{{\n{text}}} >{out} 2>&1 {source}")
            parts.append(f'printf "{number} %s\\n" $? >&9')
        else:
            parts.append(f"stop; set -m\n{{\n{text}}} >{out} 2>&1 {source} 9>&- &")
            parts.append(f"served=$!; port={server.port}; set +m; answers $port $served")
            parts.append(f'printf "{number} %s\\n" $? >&9\n{server.meanwhile}')
        parts.append("".join(f"unset {name}; " for name in given))
    return "\n".join(parts) + "\n"


def _read(line: str) -> tuple[int, int]:
    number, status = line.split()
    return int(number), int(status)


@contextmanager
def _alone(ports: set[int]) -> Iterator[None]:
    """Pages that serve at one address take turns, those of other test runs on this machine too."""
    locks = [
        FileLock(Path(gettempdir()) / f"vlmguard-how-tos-{port}.lock") for port in sorted(ports)
    ]
    for lock in locks:
        lock.acquire()
    try:
        yield
    finally:
        for lock in reversed(locks):
            lock.release()
