"""What docs/scale.md computes, by hand; and its measured figures, measured again."""

import math
import random
import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from support.documents import REPO
from support.folders import write_figstep

from vlmguard.guard.cards import cards
from vlmguard.guard.errors import UserError
from vlmguard.results.run.chosen import read_config
from vlmguard.results.run.config import Defense, Matrix, Step
from vlmguard.results.run.making import make_solver, make_task
from vlmguard.results.scale import FIGURES, matrix_load, renewed, synthesis_load

PAGE = REPO / "docs/scale.md"
MATRIX = REPO / "docs/cluster/matrix.yaml"


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLMGUARD_DATA", raising=False)


def test_the_page_has_what_is_computed() -> None:
    assert renewed(PAGE.read_text(), PAGE) == PAGE.read_text(), "run `make readme`"


def test_the_matrix_is_13_defenses_x_12_benchmarks_x_6_targets() -> None:
    matrix = read_config(MATRIX)
    assert (len(matrix.defenses), len(matrix.benchmarks), len(matrix.targets)) == (13, 12, 6)
    assert f"| {13 * 12 * 6} |" in PAGE.read_text()


def test_a_small_matrix_by_hand() -> None:
    served = {"model": "openai-api/vllm/m"}
    small = {
        "targets": [served],
        "roles": {"grader": "openai/gpt-4o", "rewriter": served},
        # 50 samples, with two questions to a judge.
        "benchmarks": [{"name": "figstep", "args": {"split": "tiny"}}],
        "defenses": [{"name": "none"}, {"name": "vlmguard"}],
        "prices": {"openai/gpt-4o": {"input": 2, "output": 10, "output_tokens": 100}},
    }
    load = matrix_load(Matrix.model_validate(small))
    most = cards().defenses["vlmguard"].roles[0].calls.most
    assert most is not None
    assert (load.samples, load.logs, load.judge_calls) == (100, 2, 200)
    assert load.calls == 50 * (1 + 1 + most)
    assert load.read == load.calls * 1500
    assert load.written == load.calls * 300
    assert math.isclose(load.judge_money, 200 * (1500 * 2 + 100 * 10) / 1e6)
    seconds = load.read / 10_000 + load.written / 1_500
    assert math.isclose(load.gpu_hours, seconds / 3600)
    assert math.isclose(load.money, load.gpu_hours * 2.5 + load.judge_money)
    assert load.log_bytes == 100 * 3_000 + (load.calls + 200) * 1_500
    processor = 100 * FIGURES["sample_cpu"].value + (load.calls + 200) * FIGURES["call_cpu"].value
    assert math.isclose(load.process_hours, processor / 3600)
    with pytest.raises(UserError, match="no price"):
        matrix_load(Matrix.model_validate({**small, "prices": {}}))
    # Lower bounds, and what nobody counts, are no sums.
    unknown = {**small, "benchmarks": [{"name": "vlm_safety", "args": {"preset": "omnisafebench"}}]}
    with pytest.raises(UserError, match="does not know"):
        matrix_load(Matrix.model_validate(unknown))


def test_a_synthesis_by_hand() -> None:
    load = synthesis_load(9881)
    assert load.calls == 8904 * 4 + 977 * 2
    assert (load.read, load.written) == (load.calls * 1500, load.calls * 600)
    assert load.money == load.gpu_hours * FIGURES["gpu_hour"].value
    assert (
        cards().tasks["synthesize"].roles["reasoner"].startswith("4 a safety row, 2 a benign one")
    )


def test_a_page_without_its_tables_is_an_error() -> None:
    with pytest.raises(UserError, match="figures"):
        renewed("# Scale\n", PAGE)


def test_the_bytes_of_samples_and_calls_are_those_of_real_logs(tmp_path: Path) -> None:
    words = re.findall(r"[a-z]{2,}", (REPO / "docs/defenses.md").read_text())
    chosen = random.Random(0)

    def said(*_: Any) -> ModelOutput:
        # With what each of the askers reads: rewriter, the benchmark's judge, the general one.
        text = " ".join(chosen.choices(words, k=225))
        ends = '<prompt>Draw it</prompt>\n{"safety": 8, "helpful": true, "success": false}'
        output = ModelOutput.from_content("scripted", f"{text}\n{ends}")
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    folder = write_figstep(tmp_path / "figstep", per_category=2)
    sizes = []
    for name in ("none", "ecso"):
        model, grader = (
            get_model("mockllm/model", custom_outputs=said, memoize=False) for _ in range(2)
        )
        (log,) = inspect_eval(
            make_task(Step(name="figstep", args={"data_dir": str(folder), "split": "tiny"})),
            model=model,
            model_roles={"grader": grader},
            solver=make_solver(Defense(name=name)),
            log_images=False,
            log_realtime=False,
            log_dir=str(tmp_path / "logs"),
            display="none",
        )
        assert log.status == "success"
        samples = log.results.completed_samples if log.results else 0
        calls = sum(each.input_tokens for each in log.stats.model_usage.values()) / samples
        with ZipFile(log.location) as whole:
            entries = [e for e in whole.infolist() if e.filename.startswith("samples/")]
        sizes.append((calls, sum(e.compress_size for e in entries) / samples))
    (few, small), (many, large) = sizes
    assert many > few
    call = (large - small) / (many - few)
    assert 0.7 < call / FIGURES["call_bytes"].value < 1.3
    # Half a kilobyte of a sample's 3 kB is in the summaries.
    assert 0.6 < (small - few * call + 500) / FIGURES["sample_bytes"].value < 1.4
