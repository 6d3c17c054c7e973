"""`tasks/README.md` has a section for each task, with what a reader must know before it is run."""

import re
from pathlib import Path

import pytest
from inspect_ai._util.registry import registry_find, registry_info

import vlmguard.tasks
from vlmguard.guard.package import PACKAGE

PAGE = Path(vlmguard.tasks.__file__).resolve().parent / "README.md"


def sections() -> dict[str, str]:
    """The text of each section by its heading."""
    parts = re.split(r"(?m)^## (\w+)$", PAGE.read_text(encoding="utf-8"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def task_names() -> list[str]:
    """The package's own tasks, as Inspect has them."""
    names = [
        registry_info(each).name.partition("/")[2]
        for each in registry_find(lambda info: info.type == "task")
        if registry_info(each).name.startswith(f"{PACKAGE}/")
    ]
    return sorted(name for name in names if name in vars(vlmguard.tasks))


def test_the_page_describes_every_task_in_the_order_of_names() -> None:
    assert list(sections()) == task_names()


@pytest.mark.parametrize("name", [name for name in task_names() if name != "microworld"])
def test_a_section_says_how_it_is_scored_what_differs_and_what_to_expect(name: str) -> None:
    section = sections()[name]
    assert {"Scored", "Differs", "Published"} <= {*re.findall(r"\*\*(\w+)\*\*", section)}
