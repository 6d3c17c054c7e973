"""The parts of `make bench-gpu` in their tiny mode, and the script that runs them."""

import importlib
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from bench.gpu import wheels
from bench.gpu.checkpoint import shape
from bench.gpu.machine import check_device
from bench.gpu.scale import FULL
from support.checkpoints import checkpoint

GPU = Path(__file__).parent
REPO = GPU.parents[2]

FIGURES = {
    "machine": [r"^device: \S", r"torch \d", r"vlmguard \d"],
    "checkpoint": [r"qwen2-vl-tiny: 0\.\d+ GB, \d"],
    "inference": [
        r"^hf-vlm/ loads in \d+\.\d s",
        r"^hf-vlm/,  1 at a time: +\d+\.\d tokens/s \(1 requests, 4 tokens",
        r"^hf-vlm/,  4 at a time: +\d+\.\d tokens/s \(4 requests, 16 tokens",
        r"^raw, batch of  4: +\d+\.\d tokens/s, \d+\.\d with preparing",
        r"^hf-vlm/ over raw generate .*: 1: \d+\.\d\d, 4: \d+\.\d\d$",
    ],
    "decoding": [r"^2 at a time, 2 sentences: \d+\.\d s, \d+\.\d tokens/s"],
    "sft": [
        r"^SFT: a step of 2 rows takes \d+\.\d\d s \(median of 1",
        r"^SFT: \d{3,} tokens a step, loss \d",
    ],
    "grpo": [
        r"^GRPO: a step of 8 rewrites takes \d+\.\d\d s",
        r"^GRPO: rewrites of 8 tokens, reward -1\.0",
    ],
}

STUB = """\
#!/bin/bash
echo "python $*"
[[ -n $FAILING && "$*" == *$FAILING* ]] || exit 0
echo "what went wrong" >&2
exit ${STATUS:-3}
"""

Gpu = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_a_part_gives_its_figures(
    name: str, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--tiny", "--work", str(work)])
    importlib.import_module(f"bench.gpu.{name}").main()
    printed = capsys.readouterr().out
    for figure in FIGURES[name]:
        assert re.search(figure, printed, re.MULTILINE), (figure, printed)


def test_the_full_size_has_the_parameters_of_qwen2_vl_7b() -> None:
    config = shape(checkpoint("qwen2_vl"), FULL)
    with torch.device("meta"):
        model = transformers.AutoModelForImageTextToText.from_config(config)
    assert round(model.num_parameters() / 1e9, 2) == 8.29


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_the_full_size_needs_a_gpu() -> None:
    with pytest.raises(SystemExit, match="--tiny"):
        check_device(FULL)


@pytest.fixture
def gpu(tmp_path: Path) -> Gpu:
    """Run the script with an interpreter that prints its arguments."""
    stub = tmp_path / "python"
    stub.write_text(STUB)
    stub.chmod(0o755)
    places = {"PYTHON": stub, "OUT": tmp_path / "out", "WORK": tmp_path / "work"}

    def run(*words: str, failing: str = "", **env: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [str(GPU.parent / "gpu.sh"), *words],
            cwd=tmp_path,
            env={**os.environ, **{k: str(v) for k, v in places.items()}, "FAILING": failing, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert (tmp_path / "out/bench-gpu.log").read_text() == done.stdout
        return done

    return run


def test_all_parts_run(gpu: Gpu) -> None:
    done = gpu()
    assert done.returncode == 0
    modules = re.findall(r"^python -m bench\.gpu\.(\w+)", done.stdout, re.MULTILINE)
    assert modules == [name for name in FIGURES if (GPU / f"{name}.py").is_file()]
    (tests,) = re.findall(r"^python -m pytest .* (\S+)$", done.stdout, re.MULTILINE)
    assert (REPO / tests).is_file()
    assert "skipped: none; failed: none" in done.stdout


def test_named_parts_run_alone(gpu: Gpu) -> None:
    done = gpu("--tiny", "sft")
    ran = re.findall(r"^python .*$", done.stdout, re.MULTILINE)
    assert [line.split()[2] for line in ran] == ["bench.gpu.machine", "bench.gpu.sft"]
    assert all(line.endswith("--tiny") for line in ran)


def test_a_part_that_fails_fails_the_whole_and_the_others_run(gpu: Gpu) -> None:
    done = gpu(failing="gpu.inference")
    assert done.returncode == 1
    assert "what went wrong\ninference: FAILED (exit status 3)" in done.stdout
    assert "python -m bench.gpu.grpo" in done.stdout
    assert done.stdout.endswith("skipped: none; failed: inference\n")


def test_a_part_that_takes_too_long_is_said_to(gpu: Gpu) -> None:
    done = gpu("decoding", failing="gpu.decoding", STATUS="124")  # the status of `timeout`
    assert done.returncode == 1
    assert "decoding: stopped after 70 s\n" in done.stdout


def test_a_part_that_does_not_fit_is_skipped(gpu: Gpu) -> None:
    done = gpu(BUDGET="150")
    assert done.returncode == 0
    assert re.search(r"== inference: skipped, it may take 160 s and 1\d\d s are left", done.stdout)
    assert "bench.gpu.inference" not in done.stdout
    assert "python -m bench.gpu.grpo" in done.stdout
    assert done.stdout.endswith("skipped: inference; failed: none\n")


@pytest.mark.parametrize(("words", "failing"), [((), "gpu.machine"), (("sfd",), "")])
def test_without_a_device_or_with_a_wrong_word_nothing_runs(
    gpu: Gpu, words: tuple[str, ...], failing: str
) -> None:
    done = gpu(*words, failing=failing)
    assert done.returncode != 0
    assert "bench.gpu.checkpoint" not in done.stdout


def test_packages_that_are_not_carried_are_pinned_ones() -> None:
    constraints = wheels.CONSTRAINTS.read_text()
    pinned = [line for line in constraints.splitlines() if "==" in line]
    out = {*wheels.THERE, *wheels.SPARED}
    carried = wheels.wanted(constraints, ["AioHTTP"])
    assert len(carried) == len(pinned) - len(out) - 1
    names = {line.partition("==")[0] for line in carried}
    assert {"inspect_ai", "transformers", "trl", "pytest-asyncio", "setuptools"} <= names
    assert {"torch", "aiohttp"}.isdisjoint(names)
    assert set(wheels.CUT) <= names


def test_pip_installs_a_wheel_that_was_cut(tmp_path: Path) -> None:
    wheel = tmp_path / "made_up-1-py3-none-any.whl"
    files = {
        "made_up/__init__.py": "",
        "made_up/data/large.bin": "0" * 1000,
        "made_up-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: made-up\nVersion: 1\n",
        "made_up-1.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, "made_up-1.dist-info/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in (files | {"made_up-1.dist-info/RECORD": record}).items():
            archive.writestr(name, text)
    wheels.cut(wheel, "made_up/data/")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
            *("--disable-pip-version-check", "--target", str(tmp_path / "site"), str(wheel)),
        ],
        check=True,
    )
    assert (tmp_path / "site/made_up/__init__.py").is_file()
    assert not (tmp_path / "site/made_up/data").exists()


def test_make_runs_it_with_wheels_and_without() -> None:
    # A `make` with its own arguments may run these tests.
    by_make = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "ARGS")
    environment = {name: each for name, each in os.environ.items() if name not in by_make}
    made = {
        words: subprocess.run(
            ["make", "--dry-run", "bench-gpu", *words],
            cwd=REPO,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[-1]
        for words in [("ARGS=sft",), ("WHEELS=out/w", "PYTHON=python3.12")]
    }
    without, carried = made.values()
    assert without == "PYTHON=.venv/bench/bin/python WHEELS= tests/bench/gpu.sh sft"
    assert carried.strip() == "PYTHON=python3.12 WHEELS=out/w tests/bench/gpu.sh"
