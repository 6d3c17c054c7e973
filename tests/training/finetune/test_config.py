"""Configuration files: which are read, and the errors of others."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from vlmguard.cli import main as command
from vlmguard.guard.errors import UserError
from vlmguard.training.finetune.config_file import CONFIGS, config_path, from_dict, load_config
from vlmguard.training.finetune.trl_options import trl_arguments

BASE = {"data": "d", "output_dir": "o"}


def write(tmp_path: Path, text: str, name: str = "run.yaml") -> str:
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def test_our_keys_and_trls_stand_side_by_side(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "data: d\noutput_dir: o\nlora_r: 8\nlearning_rate: 3e-4\nnum_train_epochs: 5\n"
        "eval_strategy: no\nresume: false\n",
    )
    config = load_config(file)
    assert config.lora_r == 8
    arguments = trl_arguments(config)
    assert arguments.learning_rate == 0.0003  # YAML 1.1 would read a string
    assert arguments.num_train_epochs == 5
    assert arguments.eval_strategy == "no"  # nor is this a truth value
    assert config.resume is False


def test_only_train_takes_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command(["data", "--json", "--bogus"])
    assert "unrecognized arguments: --bogus" in capsys.readouterr().err


def test_json_is_read_and_the_command_line_wins(tmp_path: Path) -> None:
    file = write(tmp_path, json.dumps({**BASE, "seed": 1, "method": "sft"}), "run.json")
    config = load_config(file, {"seed": 7, "lora_r": 4})
    assert trl_arguments(config).seed == 7
    assert config.lora_r == 4


@pytest.mark.parametrize(
    ("method", "peft", "rate"),
    [("sft", "lora", 1e-4), ("sft", "none", 1e-5), ("grpo", "lora", 1e-5), ("grpo", "none", 1e-6)],
)
def test_the_learning_rate_follows_method_and_peft(method: str, peft: str, rate: float) -> None:
    config = from_dict({**BASE, "method": method, "peft": peft, "target": "t", "grader": "g"})
    assert trl_arguments(config).learning_rate == rate


def test_image_tokens_are_never_cut_unless_asked_for() -> None:
    assert trl_arguments(from_dict(BASE)).max_length is None
    assert trl_arguments(from_dict({**BASE, "max_length": 2048})).max_length == 2048


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lora_rank": 8}, "unknown key lora_rank. Did you mean"),
        ({"xyzzy": 1}, "unknown key xyzzy"),
        ({"num_generations": 4}, "num_generations goes with method: grpo"),
        ({"model_init_kwargs": {}}, "use model, revision, dtype and attn_implementation instead"),
        ({"resume_from_checkpoint": True}, "use resume instead"),
        ({"peft": "qlora"}, "peft: 'qlora' does not fit. Input should be 'lora' or 'none'."),
        ({"lora_r": "many"}, "lora_r: 'many' does not fit. Input should be a valid integer."),
        ({"lora_r": True}, "lora_r: True does not fit"),
        ({"threshold": True}, "threshold: True does not fit"),
        ({"threshold": "7"}, "threshold: '7' does not fit"),
        ({"resume": 0}, "resume: 0 does not fit"),
        ({"lora_r": 0}, "lora_r: 0 does not fit. Input should be greater than or equal to 1."),
        ({"lora_dropout": 1.0}, "lora_dropout: 1.0 does not fit. Input should be less than 1."),
        ({"train_vision": True}, "train_vision goes with peft: none"),
        ({"peft": "none", "adapter": "a"}, "adapter goes with peft: lora"),
        ({"method": "grpo"}, "method: grpo needs target"),
        ({"method": "grpo", "target": "t"}, "method: grpo needs target"),
        (
            {"method": "grpo", "target": "t", "grader": [3]},
            "grader: [3] does not fit. Input should be a valid string. Or: Input should be",
        ),
        ({"method": "dpo"}, "method: 'dpo' does not fit. Input should be 'sft' or 'grpo'."),
        ({"data": None}, "data is missing"),
        ({"data": ""}, "data: '' does not fit. String should have at least 1 character."),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    file = write(tmp_path, yaml.safe_dump({**BASE, **change}))
    with pytest.raises(UserError) as error:
        load_config(file)
    assert words in str(error.value)
    assert file in str(error.value)


@pytest.mark.parametrize(
    ("grader", "words"),
    [
        ({"model": "m", "temprature": 1}, "temprature"),
        ({"temperature": 1}, "model: Field required. Give an Inspect model's name, or a mapping"),
        ({"model": "m", "temperature": "hot"}, "temperature: Input should be a valid number"),
        (["m", {"model": "m", "max_tokens": "many"}], "max_tokens: Input should be a valid int"),
    ],
)
def test_settings_of_a_model_are_checked_before_anything_is_loaded(
    tmp_path: Path, grader: Any, words: str
) -> None:
    values = {**BASE, "method": "grpo", "target": "t", "grader": grader}
    with pytest.raises(UserError) as error:
        load_config(write(tmp_path, yaml.safe_dump(values)))
    assert words in str(error.value)
    assert "run.yaml: grader: " in str(error.value)


def test_no_fault_repeats_a_key(tmp_path: Path) -> None:
    grader = {"model": "m", "model_args": {"api_key": "sk-0123456789abcdef"}, "temprature": 1}
    values = {**BASE, "method": "grpo", "target": "t", "grader": grader}
    with pytest.raises(UserError, match="temprature") as error:
        load_config(write(tmp_path, yaml.safe_dump(values)))
    assert "0123456789" not in str(error.value)


def test_a_whole_number_will_do_for_a_number(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, yaml.safe_dump({**BASE, "threshold": 8}))).threshold == 8


def test_what_trl_refuses_is_passed_on() -> None:
    with pytest.raises(UserError, match="TRL refuses the configuration: sometimes is not a valid"):
        trl_arguments(from_dict({**BASE, "eval_strategy": "sometimes"}))


@pytest.mark.parametrize("text", ["a: [", "- just\n- a list\n", "\x00"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(UserError, match=r"run\.yaml"):
        load_config(file)


def test_an_unknown_name_lists_the_ready_ones() -> None:
    with pytest.raises(UserError, match=r"Ready configurations: .*qwen2-vl-7b-lora"):
        config_path("no-such-thing")


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_ready_configurations_load(file: Path) -> None:
    config = load_config(file.stem)
    tiny = file.stem == "microworld"
    base = "training/microworld/weights/base" if tiny else "Qwen/Qwen2-VL-7B-Instruct"
    assert config.model == base
    config.trainer["bf16"] = False  # needs hardware
    assert trl_arguments(config).gradient_checkpointing is not tiny


@pytest.mark.parametrize(
    "file", sorted((CONFIGS / "accelerate").glob("*.yaml")), ids=lambda file: file.stem
)
def test_accelerate_knows_every_key_of_its_configurations(file: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(file))
    assert config.num_processes == 8
    assert config.num_machines == 1
