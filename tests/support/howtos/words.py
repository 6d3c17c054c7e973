"""Checks of commands that are not run: the program takes these words, and something covers them."""

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

from accelerate.commands.launch import launch_command_parser
from support.documents import REPO
from support.howtos.commands import bound
from support.howtos.pages import Tables
from support.howtos.running import commands_of
from support.howtos.world import World


def badly_said(page: Path, tables: Tables, world: World) -> Iterator[str]:
    """What is wrong with the commands of a page that are not run."""
    for command in commands_of(page):
        left_out = tables.left_out(command)
        if left_out is None:
            continue
        place = f"{page.relative_to(REPO)}:{command.line}"
        if not _covered(left_out.covered):
            yield f"{place}: nothing is at {left_out.covered}"
        if command.language == "bash":
            for part in bound(command.words, tables.bindings).split(" && "):
                if fault := _fault(part, world):
                    yield f"{place}: {part}: {fault}"


def _covered(by: str) -> bool:
    """Whether a test, or a line of a file, is there."""
    if "::" in by:
        file, name = by.split("::")
        path = REPO / file
        return path.is_file() and f"def {name}(" in path.read_text()
    file, line = by.split(": ", 1)
    return line in (REPO / file).read_text()


def _fault(words: str, world: World) -> str:
    """What a program says of words that it does not take; nothing if it takes them."""
    program, *rest = shlex.split(words)
    if program in ("inspect", "vlmguard"):
        return _said(["bash", "-c", words], {**world.environment, "HOWTOS_PARSE": "1"})
    if program == "make":
        return _said(["make", "-n", *rest], world.environment)
    if program == "accelerate":
        launched = launch_command_parser().parse_args(rest[1:])
        file = REPO / launched.config_file
        return "" if file.is_file() else f"{launched.config_file} is not there"
    if program == "python" and rest[0].endswith(".py"):
        options = [word for word in rest[1:] if word.startswith("--")]
        text = (REPO / rest[0]).read_text()
        return "".join(f"no option {each}" for each in options if f'"{each}"' not in text)
    if program == "pip":
        return _pip(words)
    known = program in (".", "python3", "docker")
    return "" if known else f"nothing here knows the program {program}"


def _said(words: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        words, env=environment, cwd=REPO, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout[-500:] + done.stderr[-1000:]


def _pip(words: str) -> str:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for group in re.findall(r"\[([\w,]+)\]", words):
        if lacking := set(group.split(",")) - extras.keys():
            return f"no extra {', '.join(lacking)}"
    file = re.search(r"-c (\S+)", words)
    return "" if file is None or (REPO / file[1]).is_file() else f"{file[1]} is not there"
