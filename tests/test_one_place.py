"""What was once written in several places has one, which the others use."""

import ast
from pathlib import Path

import pytest

FOLDERS = ("guard", "tasks", "solvers", "scorers", "training", "results")


@pytest.fixture(scope="module")
def names(repo: Path) -> dict[str, set[str]]:
    """The names and attributes of each of our files, imported ones included."""
    found = {}
    for file in (file for folder in FOLDERS for file in (repo / folder).rglob("*.py")):
        tree = list(ast.walk(ast.parse(file.read_text())))
        found[str(file.relative_to(repo))] = {
            *(node.id for node in tree if isinstance(node, ast.Name)),
            *(node.attr for node in tree if isinstance(node, ast.Attribute)),
            *(node.name for node in tree if isinstance(node, ast.alias)),
        }
    return found


@pytest.mark.parametrize(
    ("name", "places"),
    [
        # Chat messages are built and read in guard/messages.py. The second turns any into a prompt,
        # the third from and into the bodies of APIs.
        ("ContentImage", {"guard/messages.py", "guard/hf_vlm/messages.py", "guard/serving/"}),
        ("pyarrow.parquet", {"guard/packed_images.py"}),
        # Several judges are asked and joined in two places: the general ones, a benchmark's own.
        ("ask_together", {"scorers/judging.py", "scorers/official.py"}),
        ("PeftConfig", {"guard/adapters.py"}),
        # The second loads a checkpoint of the run itself.
        ("load_adapter", {"guard/adapters.py", "training/finetune/resume.py"}),
    ],
)
def test_a_name_is_used_where_its_work_is_done(
    name: str, places: set[str], names: dict[str, set[str]]
) -> None:
    files = [file for file, used in names.items() if name in used]
    assert {next((each for each in places if file.startswith(each)), file) for file in files} == (
        places
    )
