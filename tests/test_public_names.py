"""Public names: `__all__` of each module, and the list of them for users."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from support.documents import found_blocks, the_table, user_pages
from support.scaffolds import written

FOLDERS = ("guard", "tasks", "solvers", "scorers", "training", "results")


@pytest.fixture(scope="module")
def listed() -> dict[str, list[str]]:
    """Names by module, from the list for users."""
    rows = the_table("module", "names", "for").rows
    assert len(rows) > 10
    for module, names, _ in rows:
        assert re.fullmatch(r"`vlmguard[\w.]*`", module), module
        assert re.fullmatch(r"(`\w+`(, )?)+", names), names
    return {module.strip("`"): re.findall(r"\w+", names) for module, names, _ in rows}


@pytest.fixture(scope="module")
def modules(repo: Path) -> dict[str, ast.Module]:
    """Our modules, parsed."""
    files = [file for folder in FOLDERS for file in (repo / folder).rglob("*.py")]
    found = {module_name(repo, file): file for file in files}
    found |= {module_name(repo, file): file for file in (repo / "src" / "vlmguard").glob("*.py")}
    return {name: ast.parse(file.read_text()) for name, file in found.items()}


def module_name(repo: Path, file: Path) -> str:
    parts = file.relative_to(repo).with_suffix("").parts
    parts = parts[1:] if parts[0] == "src" else ("vlmguard", *parts)
    return ".".join(parts).removesuffix(".__init__")


def exported(tree: ast.Module) -> set[str] | None:
    """A module's `__all__`, None without one."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return None


def taken(tree: ast.Module, modules: dict[str, ast.Module]) -> Iterator[tuple[str, str]]:
    """Names that a file takes from our modules: imported, or as `module.name`."""
    whole: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in modules:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in modules and alias.name not in (exported(modules[node.module]) or ()):
                    whole[alias.asname or alias.name] = inner
                else:
                    yield node.module, alias.name
    # Elsewhere in a file a module's name may be a variable.
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            whole.pop(node.id, None)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in whole:
            yield whole[ast.unparse(node.value)], node.attr


def test_the_readme_lists_public_names_that_import(listed: dict[str, list[str]]) -> None:
    for name, names in listed.items():
        module = import_module(name)
        for each in names:
            assert each in module.__all__, f"{name}.{each}"
            assert getattr(module, each) is not None


def test_everything_in_all_exists(modules: dict[str, ast.Module]) -> None:
    public = {name: names for name, tree in modules.items() if (names := exported(tree))}
    assert len(public) > 40
    for name, names in public.items():
        assert names <= set(dir(import_module(name))), name


def test_modules_use_of_each_other_what_is_public(modules: dict[str, ast.Module]) -> None:
    hidden = [
        f"{user}: {module}.{name}"
        for user, tree in modules.items()
        for module, name in taken(tree, modules)
        if (public := exported(modules[module])) is not None and name not in public
    ]
    assert not hidden


def test_examples_build_on_what_is_listed(
    repo: Path, listed: dict[str, list[str]], modules: dict[str, ast.Module], tmp_path: Path
) -> None:
    # CONTRIBUTING names tasks/siuo.py as an example, and starts from what `vlmguard new` writes.
    files = {"tasks/siuo.py": (repo / "tasks" / "siuo.py").read_text()}
    for kind in ("defense", "benchmark"):
        files[f"vlmguard new {kind}"] = written(kind, "example", tmp_path).read_text()
    pages = [*user_pages(repo), repo / "CONTRIBUTING.md"]
    examples = found_blocks("python", pages=pages)
    assert examples
    files |= {f"{block.page.name}:{block.line}": block.text for block in examples}
    missing = [
        f"{file}: {module}.{name}"
        for file, text in files.items()
        for module, name in taken(ast.parse(text), modules)
        if name not in listed.get(module, [])
    ]
    assert not missing
