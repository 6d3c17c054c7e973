"""Reads the wordings of a benchmark's authors from a clone of their repository.

Such texts define a benchmark and are not ours to copy. A user who has cloned the repository has
them, in a README or in Python code. The code is parsed here and never run.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_text

__all__ = ["block_below", "list_named", "text_named", "text_returned_for"]

_HEADING: Final = re.compile(r"#{1,6}[ \t]+(.+)")
_FENCE: Final = "```"


def block_below(path: Path, heading: str) -> str | None:
    """The first fenced block below a heading of a Markdown file.

    Args:
        path: The file.
        heading: The heading without its marks, e.g. `2.1 FigStep`.

    Returns:
        The text between the fences; None if there is no such heading, no block before the next
        heading, or a blank block.

    Raises:
        UserError: The file cannot be read.
    """
    below = False
    block: list[str] | None = None
    for line in read_text(path).splitlines():
        fence = line.strip().startswith(_FENCE)
        if block is not None and not fence:
            block.append(line)
        elif fence and block is not None:
            text = "\n".join(block).strip()
            if below:
                return text or None
            block = None
        elif fence:
            block = []
        elif found := _HEADING.match(line):
            if below:
                return None
            below = " ".join(found[1].strip(" \t#").split()) == heading
    return None


def list_named(path: Path, name: str) -> tuple[str, ...] | None:
    """The first list of texts that a Python file assigns to a name.

    Args:
        path: The file.
        name: The name, e.g. `reject_list`, anywhere in the file.

    Returns:
        The texts; None if there is no such list of texts, all of them not blank.

    Raises:
        UserError: The file cannot be read, or is not Python.
    """
    for node in _nodes(path):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.List | ast.Tuple):
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in node.targets):
            texts = [_text(element) for element in node.value.elts]
            if texts and all(texts):
                return tuple(texts)
    return None


def text_named(path: Path, name: str) -> str | None:
    """The last text that a Python file assigns to a name; None if there is none that is not blank.

    Args:
        path: The file.
        name: The name, e.g. `PROMPT`, anywhere in the file.

    Raises:
        UserError: The file cannot be read, or is not Python.
    """
    found = [
        _text(node.value)
        for node in _nodes(path)
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    ]
    return (found[-1] or None) if found else None


def text_returned_for(path: Path, member: str) -> str | None:
    """The text that Python code returns if a value equals a member of an enumeration.

    Args:
        path: The file.
        member: The member, e.g. `QueryType.figstep`, in a comparison by `==` in an `if`.

    Returns:
        The first complete text in the first `return` of that branch; None if there is none.

    Raises:
        UserError: The file cannot be read, or is not Python.
    """
    for node in _nodes(path):
        if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
            continue
        compared = [ast.unparse(each) for each in (node.test.left, *node.test.comparators)]
        if member not in compared or not isinstance(node.test.ops[0], ast.Eq):
            continue
        returned = [each.value for each in node.body if isinstance(each, ast.Return)]
        value = returned[0] if returned else None
        parts = value.elts if isinstance(value, ast.Tuple) else [value]
        return next((text for part in parts if (text := _text(part))), None)
    return None


def _nodes(path: Path) -> Iterator[ast.AST]:
    try:
        tree = ast.parse(read_text(path))
    # The last three: a NUL character, and nesting that is too deep.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(
            f"{path}: not readable as Python ({type(error).__name__}). Clone the authors' "
            f"repository again."
        ) from error
    return ast.walk(tree)


def _text(node: ast.AST | None) -> str:
    """The text of a literal; empty for any other node."""
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) and value.strip() else ""
