"""Every command of the pages beside the code runs as it stands there."""

from pathlib import Path

import pytest
from support.documents import REPO
from support.howtos.parts import PARTS
from support.howtos.running import commands_of, run_page
from support.howtos.words import badly_said
from support.howtos.world import World
from support.links import all_pages
from support.markdown import blocks

MANUAL = ("README.md", "docs/")


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_the_commands_of_a_page_run(name: str, outside: World, tmp_path: Path) -> None:
    failed = run_page(REPO / name, PARTS[name], outside, tmp_path)
    assert not failed, "\n".join(failed)


def test_what_is_not_run_has_a_reason_and_is_said_as_the_program_takes_it(outside: World) -> None:
    faults = [each for name in PARTS for each in badly_said(REPO / name, PARTS[name], outside)]
    assert not faults, "\n".join(faults)


def test_no_table_speaks_of_what_is_gone() -> None:
    gone = [
        f"{name} has no command: {begins}"
        for name, tables in PARTS.items()
        for begins in tables.unused(commands_of(REPO / name))
    ]
    assert not gone, "\n".join(gone)


def test_no_page_with_commands_is_left_out() -> None:
    left_out = [
        name
        for page in all_pages()
        if not (name := str(page.relative_to(REPO))).startswith(MANUAL) and name not in PARTS
        if any(block.language in ("bash", "python", "yaml") for block in blocks(page))
    ]
    # What changed between versions shows lines of older ones.
    assert set(left_out) <= {"CHANGELOG.md"}
