"""The page of ended faults names tests that exist."""

import ast
import re
from pathlib import Path

_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_named_test_exists(repo: Path) -> None:
    named = _TEST.findall((repo / "tests" / "FAULTS.md").read_text())
    assert named, "the page names no test"
    missing = [f"{file}::{test}" for file, test in named if test not in _tests_in(repo / file)]
    assert not missing


def _tests_in(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
