"""The figures of a leaderboard."""

from pathlib import Path

from inspect_ai.log import EvalLog
from support.clones import clone, template_log

from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.figures import as_bytes, figures
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.logs.frame import read_results


def test_figures_are_drawn_and_reproducible(evil: Leaderboard) -> None:
    drawn = figures(evil)
    assert list(drawn) == ["frontier", "gains", "categories", "cost"]
    assert as_bytes(drawn["frontier"], "png").startswith(b"\x89PNG")
    assert as_bytes(drawn["cost"], "svg") == as_bytes(figures(evil)["cost"], "svg")


def test_targets_lose_their_provider_and_keep_their_name(tmp_path: Path) -> None:
    log = template_log(tmp_path / "template", 6)
    names = {
        "microworld/qwen2-vl/low": "qwen2-vl/low",
        "hf-vlm/Qwen/Qwen2-VL-7B-Instruct": "Qwen2-VL-7B-Instruct",
        "mockllm/model": "model",
    }
    for number, target in enumerate(names):
        path = tmp_path / "logs" / f"{number}.eval"
        clone(log, path, lambda _: (5.0, 1.0, 0.0), defense="none", target=target)
    axes = figures(build(read_results([str(tmp_path / "logs")])))["frontier"].axes
    shown = {axis.get_title(loc="left").splitlines()[0] for axis in axes if axis.get_title("left")}
    assert shown == set(names.values())


def test_gains_without_safety_have_no_empty_axes(tmp_path: Path) -> None:
    log = template_log(tmp_path / "template", 6)
    for defense in ("none", "ecso"):

        def unjudged(log: EvalLog) -> None:
            for sample in log.samples or []:
                assert sample.scores
                del sample.scores["judge"]

        path = tmp_path / "logs" / f"{defense}.eval"
        clone(log, path, lambda _: (5.0, 1.0, 0.0), defense=defense, change=unjudged)
    board = build(read_results([str(tmp_path / "logs")]))
    assert board.entries[1].cells["dsr"].difference is not None
    assert "gains" not in figures(board)
