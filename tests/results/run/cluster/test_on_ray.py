"""Runs on a real Ray cluster of one node: sharded, resumed, failing, stopped, with local models."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log
from support.openai_server import Server, openai_server
from support.siuo_folder import write_siuo
from support.synthesis import draw_image, good_reply, raw_row

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.guard.shards import Shard, shards_of
from vlmguard.results.run.cluster.driver import run_on_ray
from vlmguard.results.run.cluster.node import versions_here
from vlmguard.results.run.config import Matrix
from vlmguard.results.run.matrix import run
from vlmguard.training.dataset.export import export

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow

SAMPLES = 12


class Scripted:
    """Answers that depend on the request alone.

    Attributes:
        wait: Seconds before each.
        broken: The request with these words gets none.
        reasons: It plays the reasoner of a synthesis.
    """

    def __init__(self) -> None:
        self.wait = 0.0
        self.broken = ""
        self.reasons = False

    def reply(self, text: str, messages: list[dict[str, Any]]) -> str:
        time.sleep(self.wait)
        if self.reasons:
            if self.broken and self.broken in text:
                raise ConnectionError
            return good_reply(text)
        found = re.search(r"colour (\d+)", text)
        number = int(found[1]) if found else 0
        if "<reasoning>" in text:
            return f"<reasoning>Paint.</reasoning><prompt>Safely, colour {number}?</prompt>"
        if self.broken and self.broken in text:
            raise ConnectionError
        kind = "I'm sorry, I cannot help with" if number % 3 == 1 else "Paint it in"
        return f"{kind} colour {number}{', safely' if 'Safely' in text else ''}."


class Place:
    """A cluster, a server and a benchmark."""

    def __init__(self, folder: Path, address: str, server: Server, scripted: Scripted) -> None:
        self.folder = folder
        self.address = address
        self.server = server
        self.scripted = scripted

    def matrix(self, name: str, **changes: Any) -> Matrix:
        return Matrix.model_validate(
            {
                "log_dir": str(self.folder / name),
                "targets": [{"model": "openai-api/scripted/target"}],
                "roles": {"rewriter": {"model": "openai-api/scripted/rewriter"}},
                "benchmarks": [
                    {
                        "name": "siuo",
                        "args": {"data_dir": str(self.folder / "siuo"), "judge": "none"},
                    }
                ],
                "defenses": [{"name": "none"}, {"name": "vlmguard"}],
                "options": {"temperature": 0.0, "max_retries": 0, "retry_attempts": 0},
                **changes,
            }
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    from ray.cluster_utils import Cluster

    folder = tmp_path_factory.mktemp("ray")
    write_siuo(folder / "siuo", SAMPLES)
    scripted = Scripted()
    with openai_server(scripted.reply) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in {**server.environment(), "RAY_USAGE_STATS_ENABLED": "0"}.items():
            patch.setenv(name, value)
        patch.setenv("VLMGUARD_DATA", "")
        head = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 100 * 2**20}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield Place(folder, cluster.address, server, scripted)
        finally:
            ray.shutdown()
            cluster.shutdown()


def logs_below(folder: Path) -> list[EvalLog]:
    return [read_eval_log(info) for info in list_eval_logs(str(folder))]


def scores(folder: Path) -> dict[tuple[str, str | int], Any]:
    """Answer and scores of each sample, by defense and id; each once."""
    found: dict[tuple[str, str | int], Any] = {}
    for log in logs_below(folder):
        if log.status != "success":
            continue
        solver = str(log.eval.solver).rpartition("/")[2]
        for sample in log.samples or []:
            assert (solver, sample.id) not in found
            values = {name: score.value for name, score in (sample.scores or {}).items()}
            found[solver, sample.id] = (sample.output.completion, values)
    return found


@pytest.fixture(scope="module")
def whole(place: Place) -> dict[tuple[str, str | int], Any]:
    """The scores of a run without Ray."""
    assert run(place.matrix("whole", options={"temperature": 0.0, "display": "none"}))
    return scores(place.folder / "whole")


def test_a_sharded_run_has_the_scores_of_one_process(
    place: Place,
    whole: dict[tuple[str, str | int], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = len(place.server.requests)
    assert run_on_ray([place.matrix("split", shards=2)], place.address)
    assert scores(place.folder / "split") == whole
    # One call undefended, and two with the rewriter's.
    assert len(place.server.requests) - before == 3 * SAMPLES
    assert len(whole) == 2 * SAMPLES
    said = capsys.readouterr().out
    assert re.search(
        r"done \[4 of 4\] (none|vlmguard) / siuo / openai-api/scripted/target / ", said
    )

    shards = [Shard.noted_in(log.eval.metadata) for log in logs_below(place.folder / "split")]
    assert sorted(each.name for each in shards if each) == ["1-of-2"] * 2 + ["2-of-2"] * 2
    # The same again does nothing, and needs no cluster for that.
    assert run_on_ray([place.matrix("split", shards=2)], "127.0.0.1:1")
    assert len(place.server.requests) - before == 3 * SAMPLES
    assert "4 of 4 cells are finished by their logs" in capsys.readouterr().out


def test_attacks_in_shards_ask_what_those_of_one_process_ask(place: Place) -> None:
    """Pictures that an attack draws, and what it draws by lot, do not depend on the shard."""
    attacked = {"attacks": ["typographic", "jood"], "defenses": [{"name": "none"}]}
    quiet = {"temperature": 0.0, "display": "none"}
    assert run(place.matrix("attacked", **attacked, options=quiet))
    assert run_on_ray([place.matrix("attacked-split", shards=2, **attacked)], place.address)

    def asked(name: str) -> dict[tuple[str, str | int], Any]:
        logs = logs_below(place.folder / name)
        return {
            (str(log.eval.task_args.get("attack")), sample.id): [
                (message.role, message.content) for message in sample.messages
            ]
            for log in logs
            for sample in log.samples or []
        }

    whole = asked("attacked")
    assert len(whole) == 3 * SAMPLES
    assert len({str(said) for said in whole.values()}) == 3 * SAMPLES
    assert asked("attacked-split") == whole


def test_a_failing_cell_is_named_and_others_go_on(
    place: Place,
    whole: dict[tuple[str, str | int], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    matrix = place.matrix("failing")
    place.scripted.broken = "Safely, colour 3?"
    try:
        assert not run_on_ray([matrix], place.address)
    finally:
        place.scripted.broken = ""
    said = capsys.readouterr()
    assert "failed" in said.out
    assert "vlmguard / siuo / openai-api/scripted/target: 1 sample failed" in said.err
    assert len(scores(place.folder / "failing")) == SAMPLES
    before = len(place.server.requests)
    assert run_on_ray([matrix], place.address)
    # The rewriter and the target of the one sample that had failed.
    asked = Counter(body["model"] for body in place.server.requests[before:])
    assert asked == {"rewriter": 1, "target": 1}
    assert scores(place.folder / "failing") == whole


def test_ctrl_c_stops_all_cells_and_keeps_what_is_finished(
    place: Place, whole: dict[tuple[str, str | int], Any]
) -> None:
    matrix = place.matrix("stopped", shards=2)
    config = place.folder / "stopped.yaml"
    config.write_text(matrix.model_dump_json(exclude_none=True, exclude_defaults=True))
    place.scripted.wait = 0.5
    before = len(place.server.requests)
    words = ["run", "--config", str(config), "--ray", place.address]
    command = subprocess.Popen(
        [str(Path(sys.executable).parent / "vlmguard"), *words],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while len(place.server.requests) < before + SAMPLES and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(command.pid, signal.SIGINT)
    out, err = command.communicate(timeout=60)
    assert command.returncode == 130, out + err
    assert "run the same command again to go on" in err
    assert "Traceback" not in out + err
    place.scripted.wait = 0
    paid = len(place.server.requests) - before
    assert {log.status for log in logs_below(place.folder / "stopped")} <= {"cancelled", "success"}
    time.sleep(1)
    assert len(place.server.requests) - before == paid  # nobody asks on

    assert run_on_ray([matrix], place.address)
    assert scores(place.folder / "stopped") == whole
    # At most two calls of each sample that was running were paid twice.
    assert len(place.server.requests) - before <= 3 * SAMPLES + 2 * SAMPLES


def test_a_synthesis_in_shards_goes_on_where_one_failed(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [raw_row(number) for number in range(SAMPLES)]
    for number in range(SAMPLES):
        draw_image(place.folder / "raw" / "images" / f"{number}.png", number)
    data = place.folder / "raw" / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes: dict[str, Any] = {
        "targets": ["none/none"],
        "roles": {"reasoner": {"model": "openai-api/scripted/reasoner"}},
        "benchmarks": [{"name": "synthesize", "args": {"data": str(data)}}],
        "defenses": ["none"],
        "options": {"max_retries": 0, "retry_attempts": 0, "display": "none"},
    }
    monkeypatch.setattr(place.scripted, "reasons", True)
    assert run(place.matrix("rows-whole", **changes))
    whole = export([place.folder / "rows-whole"], place.folder / "out-whole", validation=0)

    lost = shards_of([f"rows/{row['id']}" for row in rows], 3)[1]
    row = next(number for number in range(SAMPLES) if lost.holds(f"rows/r{number}"))
    matrix = place.matrix("rows-split", shards=3, **changes)
    with monkeypatch.context() as patch:
        patch.setattr(place.scripted, "broken", f"reach shelf {row}?")
        assert not run_on_ray([matrix], place.address)
    assert "2-of-3" in capsys.readouterr().err
    part = export([place.folder / "rows-split"], place.folder / "out-part", validation=0)
    [unfinished] = part["unfinished_shards"]
    assert "2-of-3" in str(unfinished)
    assert part["rows"]["exported"] < whole["rows"]["exported"]

    before = len(place.server.requests)
    assert run_on_ray([matrix], place.address)
    # The stages of the one row that had failed.
    assert len(place.server.requests) - before == 4
    split = export([place.folder / "rows-split"], place.folder / "out-split", validation=0)
    assert split["unfinished_shards"] == []
    assert split["rows"] == whole["rows"]
    texts = [
        sorted(
            zip(
                *(
                    datasets.load_from_disk(str(place.folder / name))["train"][column]
                    for column in ("id", "rewritten")
                ),
                strict=True,
            )
        )
        for name in ("out-whole", "out-split")
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) == whole["rows"]["exported"]


def test_local_models_stay_loaded_for_all_shards(place: Place) -> None:
    changes: dict[str, Any] = {
        "targets": [{"model": "microworld/qwen2-vl", "resources": {"num_cpus": 2}}],
        "roles": {},
        "benchmarks": [{"name": "microworld"}],
        "defenses": [{"name": "none"}],
        "limit": 8,
        "options": {"temperature": 0.0, "display": "none"},
    }
    assert run(place.matrix("local", **changes))
    assert run_on_ray([place.matrix("local-split", shards=2, **changes)], place.address)
    assert scores(place.folder / "local-split") == scores(place.folder / "local")
    assert len(scores(place.folder / "local")) == 8


def test_a_target_that_no_node_can_take_is_found_before_anything_is_paid_for(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(place.server.requests)
    target = {"model": "openai-api/scripted/target", "resources": {"num_gpus": 1}}
    matrix = place.matrix("no-gpu", targets=[target], shards=2)
    with pytest.raises(UserError, match=r"target asks for 1 CPU, 1 GPU .* no node of the cluster"):
        run_on_ray([matrix], place.address)
    config = place.folder / "no-gpu.yaml"
    config.write_text(matrix.model_dump_json(exclude_none=True, exclude_defaults=True))
    words = ["run", "--config", str(config), "--ray", place.address, "--dry-run"]
    assert main(words) == 2
    said = capsys.readouterr()
    assert f"Ray ({place.address}), 1 node: 2 CPU" in said.out
    assert "Cells: 4, each benchmark in at most 2 shards: 2 runs." in said.out
    assert "asks for 1 CPU, 1 GPU (resources:)" in said.err
    assert len(place.server.requests) == before


def test_cells_that_no_node_is_left_for_are_given_up(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The node was there when the run began.
    monkeypatch.setattr("vlmguard.results.run.cluster.driver.lacking_resources", lambda *_: [])
    monkeypatch.setattr("vlmguard.results.run.cluster.pool._PATIENCE", 2.0)
    target = {"model": "openai-api/scripted/target", "resources": {"num_gpus": 1}}
    matrix = place.matrix("lost-gpu", targets=[target])
    assert not run_on_ray([matrix], place.address)
    said = capsys.readouterr()
    assert "no node is left that has 1 CPU, 1 GPU" in said.out + said.err, said


def test_a_node_with_other_versions_or_without_the_folder_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = place.matrix("checked")
    place_of_checks = "vlmguard.results.run.cluster.checks"
    with monkeypatch.context() as patch:
        patch.setattr(f"{place_of_checks}.versions_here", lambda: {"vlmguard": "9"})
        with pytest.raises(UserError, match=r"node .* has vlmguard .* in the place of 9 \(here\)"):
            run_on_ray([matrix], place.address)
    monkeypatch.setattr(f"{place_of_checks}.look", lambda *_: (versions_here(), False))
    with pytest.raises(UserError, match=r"does not see .*/checked: all nodes write their logs"):
        run_on_ray([matrix], place.address)


def test_a_key_that_only_the_driver_has_is_missed_by_the_node(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in place.server.environment("late", "late-secret").items():
        monkeypatch.setenv(name, value)
    target = "openai-api/late/target"
    matrix = place.matrix("late", targets=[target], defenses=["none"], roles={})
    assert not run_on_ray([matrix], place.address)
    said = capsys.readouterr().err
    assert "LATE_API_KEY" in said
    assert "A node takes keys from its own environment" in said
    assert "late-secret" not in said
