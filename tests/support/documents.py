"""What our documents tell people to copy, wherever in them it stands."""

import re
from pathlib import Path

from support.markdown import Block, Table, blocks, headings, tables

REPO = Path(__file__).resolve().parents[2]
README = REPO / "README.md"
SERVING = REPO / "guard/serving/README.md"


def user_pages(repo: Path = REPO) -> list[Path]:
    """The front page and the pages of `docs/`; a section may stand in any of them."""
    return [repo / "README.md", *sorted((repo / "docs").glob("*.md"))]


def user_text(repo: Path = REPO) -> str:
    """All of these pages."""
    return "\n".join(page.read_text(encoding="utf-8") for page in user_pages(repo))


def found_blocks(language: str, *words: str, pages: list[Path] | None = None) -> list[Block]:
    """The blocks with all these words in them."""
    places = user_pages() if pages is None else pages
    return [
        block
        for page in places
        for block in blocks(page)
        if block.language == language and all(word in block.text for word in words)
    ]


def the_block(language: str, *words: str, pages: list[Path] | None = None) -> str:
    """The text of the block with these words; where several have them, they are the same."""
    found = found_blocks(language, *words, pages=pages)
    places = [f"{block.page.relative_to(REPO)}:{block.line}" for block in found]
    assert found, f"no page has a block of {language} with {words}"
    assert len({block.text for block in found}) == 1, f"blocks with {words} differ: {places}"
    return found[0].text


def the_table(*header: str) -> Table:
    """The only table whose header begins with these cells."""
    found = [
        table
        for page in user_pages()
        for table in tables(page)
        if table.header[: len(header)] == header
    ]
    assert len(found) == 1, f"{len(found)} tables begin with {header}"
    return found[0]


def section(word: str, page: Path | None = None) -> str:
    """What stands below the headings, of any level, that have a word in them."""
    found = []
    for place in user_pages() if page is None else [page]:
        lines = place.read_text(encoding="utf-8").splitlines(keepends=True)
        there = list(headings(place))
        for number, heading in enumerate(there):
            if word.lower() in re.findall(r"\w+", heading.text.lower()):
                ends = (each for each in there[number + 1 :] if each.level <= heading.level)
                end = next(ends, None)
                found.append("".join(lines[heading.line : None if end is None else end.line - 1]))
    assert found, f"no heading has the word {word}"
    return "\n".join(found)
