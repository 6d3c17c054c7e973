"""Every command of README.md and of docs/ runs as it stands there."""

from pathlib import Path

import pytest
from support.documents import REPO, user_pages
from support.howtos.manual import MANUAL
from support.howtos.pages import Tables
from support.howtos.running import commands_of, run_page
from support.howtos.words import badly_said
from support.howtos.world import World

PAGES = user_pages()


def tables(page: Path) -> Tables:
    return MANUAL.get(page.name, Tables())


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page: Path, outside: World, tmp_path: Path) -> None:
    failed = run_page(page, tables(page), outside, tmp_path)
    assert not failed, "\n".join(failed)


def test_what_is_not_run_has_a_reason_and_is_said_as_the_program_takes_it(outside: World) -> None:
    faults = [fault for page in PAGES for fault in badly_said(page, tables(page), outside)]
    assert not faults, "\n".join(faults)


def test_no_table_speaks_of_what_is_gone() -> None:
    gone = [f"{name} is no page" for name in MANUAL.keys() - {page.name for page in PAGES}]
    for page in PAGES:
        unused = tables(page).unused(commands_of(page))
        gone += [f"{page.relative_to(REPO)} has no command: {begins}" for begins in unused]
    assert not gone, "\n".join(gone)
