"""A leaderboard with a name that every format must escape."""

from pathlib import Path

import pytest
from inspect_ai.log import read_eval_log, write_eval_log

from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.logs.frame import read_results


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
