"""What our pages point at is there: files, headings, options; addresses have the right form."""

import argparse
import contextlib
from pathlib import Path
from typing import Any

import click
import pytest
from accelerate.commands.launch import launch_command_parser
from inspect_ai._cli.main import inspect as inspect_command
from support.documents import REPO
from support.links import (
    all_pages,
    anchors,
    bad_addresses,
    dead_links,
    missing_files,
    unknown_options,
)

from vlmguard.cli import main

PAGES = all_pages()


def click_options(command: click.Command) -> set[str]:
    """All options of a command and of those below it."""
    found = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    if isinstance(command, click.Group):
        found = found.union(*map(click_options, command.commands.values()))
    return found


@pytest.fixture(scope="module")
def options() -> set[str]:
    """Options of `vlmguard`, `inspect`, `accelerate launch`, and of our benches."""
    declared: set[str] = set()
    add = argparse._ActionsContainer.add_argument

    def noting(self: Any, *names: Any, **more: Any) -> Any:
        action = add(self, *names, **more)
        # What `--no-x` is made of, too.
        declared.update(action.option_strings)
        return action

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SystemExit):
        patch.setattr(argparse._ActionsContainer, "add_argument", noting)
        main(["--help"])
    declared |= click_options(inspect_command)
    for action in launch_command_parser()._actions:
        declared |= set(action.option_strings)
    for bench in (REPO / "tests" / "bench").glob("*.py"):
        declared |= {"--write"} if '"--write"' in bench.read_text() else set()
    return declared


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_links_lead_somewhere(page: Path) -> None:
    found = list(dead_links(page))
    assert not found, "\n".join(found)


def test_addresses_have_the_right_form_and_one_spelling() -> None:
    found = list(bad_addresses(PAGES))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_what_stands_in_backticks_exists(page: Path, options: set[str]) -> None:
    found = [*missing_files(page), *unknown_options(page, options)]
    assert not found, "\n".join(found)


def test_headings_are_named_as_github_names_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A *new* `--flag`, and more: why?\n## Twice\n## Twice\n## snake_case – Ü\n"
        "```bash\n# no heading\n```\n<a name='here'></a>\n"
    )
    assert anchors(page) == {
        *("a-new---flag-and-more-why", "twice", "twice-1", "snake_case--ü", "here")
    }
