"""Defenses and benchmarks are named on their cards, and nowhere else in results/ and training/."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlmguard import solvers, tasks
from vlmguard.guard.cards import cards
from vlmguard.guard.package import PACKAGE

ROOT = Path(__file__).resolve().parents[1]
FILES = [path for top in ("results", "training") for path in sorted((ROOT / top).rglob("*"))]
READERS = [path for path in FILES if path.suffix == ".py"]
"""Modules that know defenses and benchmarks by their cards alone."""
TEMPLATES = [path for path in FILES if path.suffix in (".html", ".j2")]
PARTNER = re.compile(r"\bpartner=Partner\(.*\),")
OWN = {
    "training/adashield": ("adashield",),
    "training/microworld": ("microworld",),
    "training/synthesis/sources.py": ("vlguard", "vlsbench", "spa_vl"),
}
"""Where names are the module's own: the benchmark's parts, what makes a defense's prompts, and the
readers of published rows, which users name as sources of training data (of two of them the train
split, of one the test rows).
"""


def names() -> set[str]:
    """All names and titles of the package's defenses and benchmarks."""
    # Other tests register cards of their own.
    ours = vars(tasks)
    defenses = [card for name, card in cards().defenses.items() if name in vars(solvers)]
    benchmarks = [each for each in cards().benchmarks.values() if (each.task or each.name) in ours]
    listed = [*defenses, *benchmarks]
    published = {card.published_as for card in defenses if card.published_as}
    return {name for card in listed for name in (card.name, card.title)} | published


def repeated(source: str, known: set[str], own: tuple[str, ...] = ()) -> Iterator[str]:
    """Where a module names a defense or a benchmark, or imports it; not in docstrings and examples.

    Args:
        source: The module.
        known: The names.
        own: The benchmarks whose module it is, if it is theirs.
    """
    words = sorted(known - {PACKAGE, *own, *map(str.title, own)})
    named = as_words(words)
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    prose |= {id(part) for node in ast.walk(tree) for part in examples_in(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            # One of the defenses is called as the package: only alone is it the defense.
            if node.value == PACKAGE or named.search(node.value):
                yield f"{node.lineno}: {node.value!r}"
        elif words_of := {identifier(node)} & set(words):
            yield f"{node.lineno}: {words_of.pop()}"  # type: ignore[attr-defined]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            start = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for path in (f"{start}{each.name}" for each in node.names):
                # `defended` makes a solver of any defense.
                but = "|".join(("defended", *own))
                if re.match(rf"{PACKAGE}\.(solvers|tasks)\b(?!\.(?:{but})\b)", path):
                    yield f"{node.lineno}: {path}"


def examples_in(node: ast.AST) -> Iterator[ast.AST]:
    """The examples that a subcommand shows: a reader wants real names there."""
    if isinstance(node, ast.keyword) and node.arg == "examples":
        yield from ast.walk(node.value)


def as_words(listed: list[str]) -> re.Pattern[str]:
    """Finds any of the names as a whole word."""
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, listed))})(?![\w-])")


def identifier(node: ast.AST) -> str | None:
    """The name that a node of code gives, uses or passes, if it does."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
            return name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.keyword(arg=name):
            return name
    return None


@pytest.mark.parametrize("path", READERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_defense_or_benchmark_is_named_but_on_its_card(path: Path) -> None:
    own = next((name for place, name in OWN.items() if path.is_relative_to(ROOT / place)), ())
    assert list(repeated(path.read_text(), names(), own)) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_template_names_one(path: Path) -> None:
    # What the scaffold writes is a card, and cards name partners.
    text = PARTNER.sub("", path.read_text())
    assert as_words(sorted(names() - {PACKAGE})).findall(text) == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('"""eta is named in a docstring."""\nBETA = 1', []),
        ('add("run", examples=("vlmguard run eta",), help="as eta")', ["1: 'as eta'"]),
        ('LOG = "vlmguard gate"\nFILE = "theta.txt"\nMODEL = "a-eta-b"', []),
        ('FIRST = {"vlmguard": 1}', ["1: 'vlmguard'"]),
        ('if name == "eta":\n    print(f"{name}: run vlmguard/siuo")',
         ["1: 'eta'", "2: ': run vlmguard/siuo'"]),
        ('TITLES = ("MM-SafetyBench sd", "Microworld")',
         ["1: 'MM-SafetyBench sd'", "1: 'Microworld'"]),
        ("from vlmguard.solvers.eta import x\nfrom vlmguard import tasks",
         ["1: vlmguard.solvers.eta.x", "2: vlmguard.tasks"]),
        ("found = dict(ecso=1)\ndef siuo(eta): return card.figstep",
         ["1: ecso", "2: eta", "2: figstep", "2: siuo"]),
        ("import vlmguard.tasks.siuo", ["1: vlmguard.tasks.siuo"]),
        ("from vlmguard.tasks.microworld import V", ["1: vlmguard.tasks.microworld.V"]),
    ],
)  # fmt: skip
def test_a_name_is_found(source: str, lines: list[str]) -> None:
    assert sorted(repeated(source, names())) == lines


def test_the_microworld_may_name_itself() -> None:
    source = 'from vlmguard.tasks.microworld import V\nNAME = "microworld"\nOTHER = "figstep"'
    assert list(repeated(source, names(), ("microworld",))) == ["3: 'figstep'"]
