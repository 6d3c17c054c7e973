"""Whatever name a command of ours refuses, it proposes the one that was probably meant."""

from pathlib import Path

import pytest
from support.siuo_folder import write_siuo

from vlmguard.cli import main
from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.defense import defense_named
from vlmguard.guard.errors import UserError, check_choice
from vlmguard.guard.guard_models.formats import guard_format
from vlmguard.guard.guarded_names import defense_of, guarded_name

MATRIX = """\
targets: [mockllm/a]
benchmarks: [{name: siuo, args: {data_dir: DATA}}]
defenses: [none]
roles: {grader: mockllm/judge}
"""


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("eat", ["eta", "ecso"], "eta"),
        ("SIUO", ["siuo", "pope"], "siuo"),
        ("mm-safetybench", ["mm_safetybench"], "mm_safetybench"),
        ("vlmguard/figstep_defence", ["figstep_defense"], "figstep_defense"),
        (True, [False, "true"], "true"),
        ("weather", ["siuo", "pope", "eta"], ""),
        ("", ["siuo"], ""),
        ("siuo", [], ""),
    ],
)
def test_the_name_that_is_alike_or_none(name: object, known: list[object], meant: str) -> None:
    assert did_you_mean(name, known) == (f" Did you mean {meant}?" if meant else "")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("lst", "list"),
        ("microworld biuld", "build"),
        ("leaderboard logs --layout papr", "paper"),
        ("leaderboard logs --publishd", "--published"),
        ("run --benchmrk siuo", "--benchmark"),
        ("microworld demo --targt llava", "--target"),
        ("list defences", "defenses"),
        ("list suio", "siuo"),
        ("list roels", "roles"),
        ("list graderr", "grader"),
        ("list synthesise", "synthesize"),
        ("data mosbench", "mossbench"),
        ("data fecth siuo", "fetch"),
        ("data fetch mosbench --dry-run", "mossbench"),
        ("run --suite cor --target mockllm/a", "core"),
        ("run --config paper_mian", "paper_main"),
        ("run --config paper_main --benchmark suio", "siuo"),
        ("run --config paper_main --defense escoo", "ecso"),
        (
            "run --config paper_main --target hf-vlm/Qwen/Qwen2-VL-7B-Instrct",
            "hf-vlm/Qwen/Qwen2-VL-7B-Instruct",
        ),
        ("run --benchmark suio --target mockllm/a", "siuo"),
        ("run --benchmark siuo --defense vlmgaurd --target mockllm/a --dry-run", "vlmguard"),
        ("run --benchmark siuo --target guarded/escoo/mockllm/a --dry-run", "ecso"),
        ("run --benchmark siuo --target mockllm/a --role gradr=mockllm/a --dry-run", "grader"),
        ("calibrate mllm_protecter logs", "mllm_protector"),
        ("train --config qwen2-vl-7b-lroa data=a output_dir=b", "qwen2-vl-7b-lora"),
        ("microworld flags etta", "eta"),
        ("microworld build lava", "llava"),
        ("microworld demo --target lava", "llava"),
        ("new defence mine", "defense"),
    ],
)
def test_every_command(words: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(words.split())
    except SystemExit as end:
        status = int(str(end.code))
    told = capsys.readouterr().err
    assert status == 2, told
    shown = " ".join(told.split())
    if meant:
        assert f"Did you mean {meant}?" in shown
    else:
        assert "Did you mean" not in shown


@pytest.mark.parametrize(
    "words",
    [
        "zebra",
        "list zebra",
        "data zebra",
        "run --suite zebra --target mockllm/a",
        "run --config zebra",
        "run --benchmark zebra --target mockllm/a",
        "run --benchmark siuo --defense zebra --target mockllm/a --dry-run",
        "calibrate zebra logs",
        "train --config zebra data=a output_dir=b",
        "microworld flags zebra",
        "microworld build zebra",
    ],
)
def test_a_name_unlike_any_gets_no_proposal(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(words.split())
    except SystemExit as end:
        status = int(str(end.code))
    told = capsys.readouterr().err
    assert status == 2
    assert "zebra" in told
    assert "Did you mean" not in told


@pytest.mark.parametrize(
    ("right", "wrong", "meant"),
    [
        ("targets:", "tragets:", "targets"),
        ("name: siuo", "nmae: siuo", "name"),
        ("name: siuo", "name: suio", "siuo"),
        ("data_dir", "data_dri", "data_dir"),
        ("[none]", "[{name: ecso, args: {keep_imag: true}}]", "keep_image"),
        ("[none]", "[{name: guard_model, args: {adapter: nemtron}}]", "nemotron"),
        ("[none]", "[{name: guard_model, args: {polcy: a.yaml}}]", "policy"),
        ("[none]", "[{name: guard_model, args: {adaptor: nemotron}}]", "adapter"),
        ("[none]", "[{name: ecso, args: {verdict: exakt}}]", "exact"),
        ("grader: mockllm/judge", "gradre: mockllm/judge", "grader"),
        ("grader: mockllm/judge", "grader: {modle: mockllm/judge}", "model"),
        (
            "grader: mockllm/judge",
            "grader: {model: mockllm/judge, generate: {temprature: 0}}",
            "temperature",
        ),
        ("defenses:", "options: {max_connection: 1}\ndefenses:", "max_connections"),
        ("defenses:", "prices: {a: {input: 1, ouput: 1}}\ndefenses:", "output"),
    ],
)
def test_a_configuration(
    right: str, wrong: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_siuo(tmp_path / "siuo", 2)
    config = tmp_path / "matrix.yaml"
    config.write_text(MATRIX.replace(right, wrong).replace("DATA", str(tmp_path / "siuo")))
    assert main(["run", "--config", str(config), "--dry-run"]) == 2
    assert f"Did you mean {meant}?" in " ".join(capsys.readouterr().err.split())


def test_from_python() -> None:
    with pytest.raises(UserError, match="Did you mean ecso"):
        defense_named("escoo")
    with pytest.raises(UserError, match="Did you mean qwen3guard"):
        guard_format("qwen3gaurd")
    with pytest.raises(UserError, match="Did you mean policy"):
        guard_format("custom", {"polcy": "x"})
    with pytest.raises(UserError, match="Did you mean refuse"):
        check_choice("-S on_failure", "refues", ("original", "refuse", "raise"))
    name = guarded_name("guarded/ecso/mockllm/a", {"keep_imag": True})
    assert name is not None
    with pytest.raises(UserError, match="Did you mean keep_image"):
        defense_of(name)
