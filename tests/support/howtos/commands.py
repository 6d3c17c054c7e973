"""Cuts blocks of bash into commands, as bash itself reads them."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from support.markdown import Block

CUT_SHORT = re.compile(r"unexpected end of file|unexpected EOF|here-document")


@dataclass(frozen=True)
class Command:
    """A command, or a program in a block of Python.

    Attributes:
        page: The page.
        line: Its first line there.
        language: `bash` or `python`.
        text: As it stands there.
    """

    page: Path
    line: int
    language: str
    text: str

    @property
    def words(self) -> str:
        """On one line, without what a comment says, to be told from others by its beginning."""
        bare = re.sub(r"(?m)(^|\s)#.*$", "", self.text.replace("\\\n", " "))
        return re.sub(r"\s+", " ", bare).strip()


def commands_in(block: Block) -> Iterator[Command]:
    """The commands of a block; a block of Python is one."""
    if block.language == "python":
        yield Command(block.page, block.line, "python", block.text)
        return
    begun, start = "", 0
    for number, line in enumerate(block.text.splitlines(keepends=True)):
        if not begun:
            start = number
        begun += line
        if line.rstrip("\n").endswith("\\") or not _whole(begun):
            continue
        command = Command(block.page, block.line + start, "bash", begun)
        if command.words:
            yield command
        begun = ""
    assert not begun.strip(), f"{block.page}:{block.line + start}: bash cannot read\n{begun}"


def bound(text: str, bindings: Mapping[str, str]) -> str:
    """A command with real values in the place of what stands for any (`MODEL`, `LOG`)."""
    for name, value in sorted(bindings.items(), key=lambda each: -len(each[0])):
        text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", lambda _, v=value: v, text)
    return text


@cache
def _whole(text: str) -> bool:
    read = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return not CUT_SHORT.search(read.stderr)
