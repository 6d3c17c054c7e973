"""Writes the first version of a defense or benchmark, which works, and its test."""

import keyword
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

# Inspect has no public name for this.
from inspect_ai._util.registry import registry_lookup
from jinja2 import Environment, PackageLoader, StrictUndefined

from vlmguard.guard.cards import cards
from vlmguard.guard.errors import UserError
from vlmguard.guard.package import PACKAGE

Kind = Literal["defense", "benchmark"]

_FOLDERS: Final = {"defense": "solvers", "benchmark": "tasks"}
_REGISTERED: Final[dict[str, Literal["solver", "task"]]] = {
    "defense": "solver",
    "benchmark": "task",
}


def write_new(kind: Kind, name: str, clone: Path) -> list[Path]:
    """Write the file of a defense or benchmark, and its test, into a clone of the repository.

    Args:
        kind: Which of the two.
        name: Its name: small letters, digits and `_`.
        clone: Root of the clone.

    Returns:
        The two files, relative to the root.

    Raises:
        UserError: The name is unusable or taken, or the folder is not a clone.
    """
    folder = _FOLDERS[kind]
    _check_name(kind, name)
    files = {
        Path(folder) / f"{name}.py": f"{kind}.py.j2",
        Path("tests") / folder / f"test_{name}.py": f"test_{kind}.py.j2",
    }
    if not (clone / "src" / PACKAGE).is_dir() or not (clone / folder).is_dir():
        raise UserError(f"{clone} is not a clone of {PACKAGE}'s repository: go to its root first.")
    for file in files:
        if (clone / file).exists():
            raise UserError(f"{file} is there already. Take another name, or move the file away.")
    title = name.replace("_", " ").capitalize()
    class_name = "".join(word.capitalize() for word in name.split("_"))
    for file, template in files.items():
        text = (
            _environment()
            .get_template(template)
            .render(name=name, title=title, class_name=class_name)
        )
        (clone / file).write_text(text, encoding="utf-8")
    return list(files)


def next_steps(kind: Kind, name: str) -> list[str]:
    """What is left to do to ship it."""
    folder = _FOLDERS[kind]
    shared = (
        f'give it to the tests of all defenses: "{name}": Script() in SCRIPTS of '
        f'tests/support/defense_scripts.py, "{name}": Trial() in TRIALS of '
        f"tests/test_figstep_tiny.py"
    )
    return [
        f"import it in {folder}/__init__.py: "
        f"from {PACKAGE}.{folder}.{name} import {name} as {name}",
        "renew the manual's tables: make readme",
        *([shared] if kind == "defense" else []),
    ]


def _check_name(kind: Kind, name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower() or name[0] == "_":
        raise UserError(
            f"{name!r} cannot be the name of a {kind}: use small letters, digits and _, with a "
            "letter first."
        )
    known = cards()
    registered = registry_lookup(_REGISTERED[kind], name)
    if registered or name in {*known.benchmarks, *known.defenses}:
        raise UserError(f"There is a benchmark or defense of the name {name}. Take another.")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    # Code, not HTML: nothing is escaped.
    return Environment(
        loader=PackageLoader("vlmguard.results"),
        autoescape=False,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
