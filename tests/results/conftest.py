"""Real logs of toy benchmarks, run in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inspect_ai.log import read_eval_log, write_eval_log
from support.toy import Toy, rewriting, run_toy, say

from vlmguard.cli import main
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.logs.frame import read_results


@pytest.fixture(autouse=True, scope="module")
def no_outside_data() -> Iterator[None]:
    """The refusal scorer must not find a phrase list itself; tests in other folders may."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VLMGUARD_DATA", raising=False)
        yield


@pytest.fixture(scope="session")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two targets with and without a guard on a small and a larger benchmark.

    Safety grades on the small one (six samples, two to an image, the last two benign):
    alpha 2 2 4 4 6 6 undefended, 9 9 8 8 6 6 guarded; beta 5 5 5 5 5 5 undefended,
    6 6 6 6 6 and one unusable verdict guarded. The guard fails on question 1 of alpha.
    On the larger one (24 samples) alpha goes from 3 to 9 throughout.
    """
    folder = tmp_path_factory.mktemp("matrix")
    with pytest.MonkeyPatch.context() as patch:
        # This may be made before the fixture above, which lasts for a module only.
        patch.delenv("VLMGUARD_DATA", raising=False)
        make_matrix(folder)
    return folder


@pytest.fixture(scope="session")
def board(matrix: Path) -> Leaderboard:
    """The leaderboard of `matrix`, to be read only."""
    return build(read_results([str(matrix)]))


@pytest.fixture(scope="session")
def name_with_markup() -> str:
    return "</script><b>x</b>|`[bold]_%&$\\{=1"


@pytest.fixture(scope="session")
def evil(
    matrix: Path, name_with_markup: str, tmp_path_factory: pytest.TempPathFactory
) -> Leaderboard:
    """The leaderboard of `matrix` with a target whose name holds markup; read only."""
    folder = tmp_path_factory.mktemp("evil")
    for number, path in enumerate(sorted(matrix.rglob("*.eval"))):
        log = read_eval_log(str(path))
        log.eval.model = log.eval.model.replace("mockllm/alpha", name_with_markup)
        write_eval_log(log, str(folder / f"{number}.eval"))
    return build(read_results([str(folder)]))


def make_matrix(folder: Path) -> None:
    small = Toy(size=6, benign=2)
    large = Toy(size=24, name="large", variant="hard")

    def stumbling(text: str) -> str:
        return "no tags" if "Question 1?" in text else rewriting(text)

    def answers(*grades: float, refuse: tuple[int, ...] = ()) -> list[str]:
        return [say(each, True, number in refuse) for number, each in enumerate(grades)]

    run_toy(folder / "none", small, answers(2, 2, 4, 4, 6, 6), target="alpha")
    guarded = answers(9, 9, 8, 8, 6, 6, refuse=(0, 5))
    run_toy(folder / "guard", small, guarded, target="alpha", defended=True, guard=stumbling)
    run_toy(folder / "none", small, answers(5, 5, 5, 5, 5, 5), target="beta")
    unusable = [*answers(6, 6, 6, 6, 6), "no grade in here"]
    run_toy(folder / "guard", small, unusable, target="beta", defended=True)
    run_toy(folder / "none", large, answers(*[3.0] * 24), target="alpha")
    run_toy(folder / "guard", large, answers(*[9.0] * 24), target="alpha", defended=True)


@pytest.fixture
def gate(tmp_path: Path) -> Callable[..., int]:
    """`vlmguard gate` on a folder, with the baseline `baseline.json.gz`."""

    def run(folder: str, *options: str) -> int:
        baseline = str(tmp_path / "baseline.json.gz")
        return main(["gate", str(tmp_path / folder), "--baseline", baseline, *options])

    return run
