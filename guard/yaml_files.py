"""Reads users' YAML, and refuses keys that occur twice and nesting or aliases without bounds."""

from pathlib import Path
from typing import Any, Final

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from vlmguard.guard.errors import UserError, reason_of
from vlmguard.guard.files import MAX_DEPTH, read_text

__all__ = ["CarefulLoader", "parse_yaml", "read_yaml", "read_yaml_list"]

MAX_CHARACTERS: Final = 1_000_000
MAX_VALUES: Final = 100_000


class CarefulLoader(yaml.SafeLoader):
    """Loads plain values only, within the bounds of this module."""

    _depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Compose a node that is not nested too deep."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            # The stubs do not type this method.
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise ConstructorError(None, None, "nested too deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def get_single_node(self) -> Node | None:
        """The document, if its aliases do not expand to too many values."""
        node = super().get_single_node()
        if node is not None and _size(node, {}) > MAX_VALUES:
            raise ConstructorError(
                None, None, "its aliases (*name) add up to too many values", node.start_mark
            )
        return node

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping in which no key occurs twice."""
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, ScalarNode):
                if (key.tag, key.value) in seen:
                    raise ConstructorError(
                        None, None, f"the key {key.value!r} occurs twice", key.start_mark
                    )
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep=deep)


class _ListLoader(CarefulLoader):
    """Loads a list, each entry with its line; anything else is an empty list."""

    def construct_document(self, node: Node) -> Any:
        """Construct the entries."""
        entries = []
        for entry in node.value if isinstance(node, SequenceNode) else ():
            entries.append((entry.start_mark.line + 1, super().construct_document(entry)))
        return entries


def read_yaml(path: Path, loader: type[CarefulLoader] = CarefulLoader) -> Any:
    """Read a YAML file.

    Args:
        path: The file, of at most `MAX_CHARACTERS`.
        loader: The loader of plain values.

    Raises:
        UserError: Unreadable, not YAML, a key occurs twice, or nesting or aliases exceed the
            bounds; names the line.
    """
    return parse_yaml(read_text(path), str(path), loader)


def read_yaml_list(path: Path) -> list[tuple[int, Any]]:
    """Read a YAML file that holds a list.

    Args:
        path: The file.

    Returns:
        The number of the line on which each entry begins, and the entry; nothing if the file holds
        no list.

    Raises:
        UserError: As for `read_yaml`.
    """
    entries: list[tuple[int, Any]] | None = read_yaml(path, _ListLoader)
    return entries or []


def parse_yaml(text: str, where: str, loader: type[CarefulLoader] = CarefulLoader) -> Any:
    """Parse YAML.

    Args:
        text: The YAML.
        where: The name for it in an error.
        loader: The loader of plain values.

    Raises:
        UserError: As for `read_yaml`.
    """
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"{where}: more than {MAX_CHARACTERS:,} characters of YAML. Shorten it.")
    try:
        return yaml.load(text, loader)
    except (yaml.YAMLError, ValueError) as error:
        # Not the library's text, which quotes the line: that may hold a secret.
        raise UserError(
            f"{where}: cannot be read as YAML ({_reason(error)}). Correct it."
        ) from error


def _size(node: Node, known: dict[int, int]) -> int:
    """Number of values if aliases are expanded."""
    if id(node) in known:
        if known[id(node)] < 0:
            raise ConstructorError(None, None, "an alias contains itself", node.start_mark)
        return known[id(node)]
    known[id(node)] = -1
    size = 1
    if isinstance(node, MappingNode):
        size += sum(_size(key, known) + _size(value, known) for key, value in node.value)
    elif isinstance(node, SequenceNode):
        size += sum(_size(value, known) for value in node.value)
    known[id(node)] = size
    return size


def _reason(error: Exception) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return reason_of(error)
    mark = error.problem_mark
    line = f"line {mark.line + 1}: " if mark else ""
    return f"{line}{error.problem or error.context or 'no YAML'}"
