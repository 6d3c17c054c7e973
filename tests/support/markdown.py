"""What stands in a Markdown page: blocks, tables, headings and links, each with its line."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: The file that it stands in.
        line: The first line of its text.
        language: The first word behind the fence.
        text: Its lines.
        headings: The headings above it, outermost first.
    """

    page: Path
    line: int
    language: str
    text: str
    headings: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table; cells as they are written, but for the backslash before a bar."""

    page: Path
    line: int
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Heading:
    """A heading, as text without marks."""

    page: Path
    line: int
    level: int
    text: str


@dataclass(frozen=True)
class Span:
    """A link, an image, or a text in backticks; `text` is the address or what stands there."""

    page: Path
    line: int
    kind: str
    text: str


@cache
def tokens(page: Path, text: str | None = None) -> list[Token]:
    """The page as GitHub reads it, as far as we write it: CommonMark with tables."""
    text = page.read_text(encoding="utf-8") if text is None else text
    return MarkdownIt("commonmark").enable("table").parse(text)


def blocks(page: Path) -> Iterator[Block]:
    """All fenced blocks, in order."""
    above: list[tuple[int, str]] = []
    read = tokens(page)
    for place, token in enumerate(read):
        if token.type == "heading_open":
            level = int(token.tag[1])
            above = [each for each in above if each[0] < level]
            above.append((level, plain(read[place + 1])))
        elif token.type == "fence":
            assert token.map is not None
            language = token.info.split()[0] if token.info.split() else ""
            headings = tuple(text for _, text in above)
            yield Block(page, token.map[0] + 2, language, token.content, headings)


def headings(page: Path) -> Iterator[Heading]:
    """All headings, in order."""
    read = tokens(page)
    for token, inline in pairwise(read):
        if token.type == "heading_open":
            assert token.map is not None
            yield Heading(page, token.map[0] + 1, int(token.tag[1]), plain(inline))


def tables(page: Path) -> Iterator[Table]:
    """All tables, in order."""
    rows: list[list[str]] = []
    line = 0
    for token in tokens(page):
        if token.type == "table_open":
            assert token.map is not None
            rows, line = [], token.map[0] + 1
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "table_close":
            header, *body = map(tuple, rows)
            yield Table(page, line, header, tuple(body))
            rows = []
        elif token.type == "inline" and rows:
            rows[-1].append(token.content)


def spans(page: Path) -> Iterator[Span]:
    """All links, images and texts in backticks, in order."""
    for token in tokens(page):
        if token.type != "inline":
            continue
        assert token.map is not None
        line = token.map[0] + 1
        for child in token.children or []:
            if child.type in ("softbreak", "hardbreak"):
                line += 1
            elif child.type == "link_open":
                yield Span(page, line, "link", str(child.attrs["href"]))
            elif child.type == "image":
                yield Span(page, line, "image", str(child.attrs["src"]))
            elif child.type == "code_inline":
                yield Span(page, line, "code", child.content)


def plain(inline: Token) -> str:
    """The text of a line, without marks and addresses."""
    kept = ("text", "code_inline")
    return "".join(child.content for child in inline.children or [] if child.type in kept)
