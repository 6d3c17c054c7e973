"""Two defenses of one run ask a guard model about the same content once."""

from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log
from inspect_ai.model import GenerateConfig, ModelCost, ModelInfo, set_model_info
from support.counting_api import counting_api
from support.siuo_folder import write_siuo

from vlmguard.guard.record import DefenseRecord
from vlmguard.results.leaderboard.build import build
from vlmguard.results.logs.frame import read_results
from vlmguard.results.run.config import Matrix, ModelChoice
from vlmguard.results.run.guard_cache import with_guard_cache
from vlmguard.results.run.latency import latency_matrix
from vlmguard.results.run.matrix import run

CALLS = counting_api("shared", '{"violation": false}')


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    CALLS.clear()
    data = str(write_siuo(tmp_path / "siuo", 3))

    def matrix(folder: str, **guard: Any) -> Matrix:
        return Matrix.model_validate(
            {
                "log_dir": str(tmp_path / folder),
                "targets": [{"model": "shared/target"}],
                "benchmarks": [{"name": "siuo", "args": {"data_dir": data, "judge": "none"}}],
                "defenses": [
                    {"name": "guard_model", "label": "refuse"},
                    {"name": "guard_model", "label": "warn", "args": {"on_flag": "safe_prompt"}},
                ],
                "roles": {"guard": {"model": "shared/guard", **guard}},
                "options": {"display": "none"},
            }
        )

    return matrix


def costs(folder: Path) -> list[tuple[Any, ...]]:
    """Calls and tokens of each sample's record, with its verdicts."""
    found = []
    for info in list_eval_logs(str(folder)):
        for sample in read_eval_log(info).samples or []:
            stages = DefenseRecord.of(sample).stages
            found.append(
                (
                    str(sample.id),
                    [(s.name, s.calls, s.input_tokens, s.output_tokens, s.output) for s in stages],
                )
            )
    return sorted(found)


def test_the_guard_is_asked_once_about_one_content_and_counted_twice(
    make: Any, tmp_path: Path
) -> None:
    assert run(make("cached"))
    assert CALLS.count("guard") == 3
    assert CALLS.count("target") == 6
    # The same command again has nothing to do, though its cache is another.
    CALLS.clear()
    assert run(make("cached"))
    assert CALLS == []
    assert run(make("uncached", generate={"cache": False}))
    assert CALLS.count("guard") == 6
    assert costs(tmp_path / "cached") == costs(tmp_path / "uncached")
    assert len(costs(tmp_path / "cached")) == 6
    # A second run asks again: its server may have other weights.
    CALLS.clear()
    assert run(make("second"))
    assert CALLS.count("guard") == 3


def test_a_cached_check_is_billed_as_a_call(make: Any, tmp_path: Path) -> None:
    """Two tokens in and one out: 7 millionths of the target, 700 of the guard."""
    for name, price in (("target", 1.0), ("guard", 100.0)):
        cost = ModelCost(input=price, output=5 * price, input_cache_write=0, input_cache_read=0)
        set_model_info(f"shared/{name}", ModelInfo(cost=cost))
    assert run(make("cached"))
    assert CALLS.count("guard") == 3
    assert run(make("uncached", generate={"cache": False}))
    for folder in ("cached", "uncached"):
        entries = build(read_results([str(tmp_path / folder)])).entries
        assert [entry.overhead.cost for entry in entries] == [pytest.approx(707e-6)] * 2


def test_two_adapters_of_one_base_share_nothing(make: Any) -> None:
    cached = with_guard_cache(make("logs"))
    (one, other) = (
        with_guard_cache(make("logs", model_args={"adapter": name})).defenses[0].roles["guard"]
        for name in ("a", "b")
    )
    assert isinstance(one, list)
    assert isinstance(other, list)
    assert one[0].generate.cache != other[0].generate.cache
    scopes = [each.roles["guard"][0].generate.cache.scopes for each in cached.defenses]  # type: ignore[index, union-attr]
    assert scopes[0] == scopes[1]


def test_one_defense_latency_and_the_users_choice_have_no_cache(make: Any) -> None:
    matrix = make("logs")
    alone = matrix.model_copy(update={"defenses": matrix.defenses[:1]})
    for each in (alone, latency_matrix(matrix, 2)):
        assert with_guard_cache(each) == each
    off = ModelChoice(model="shared/guard", generate=GenerateConfig(cache=False))
    kept = with_guard_cache(matrix.model_copy(update={"roles": {"guard": off}}))
    assert [each.roles["guard"] for each in kept.defenses] == [[off], [off]]
