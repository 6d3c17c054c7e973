"""Whether vLLM will serve an adapter, told from what PEFT wrote."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from support.adapters import make_adapter
from support.checkpoints import checkpoint

from vlmguard.guard.errors import UserError
from vlmguard.training.finetune import vllm_adapters
from vlmguard.training.finetune.vllm_adapters import RANKS, faults, read_adapters, serve_command


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the language model's layers, by PEFT."""
    folder = tmp_path_factory.mktemp("real") / "adapter"
    return make_adapter(checkpoint("qwen2_vl"), folder, targets=("q_proj", "v_proj"))


@pytest.fixture
def changed(real: Path, tmp_path: Path) -> Callable[..., Path]:
    """The same adapter with other words in its configuration."""

    def change(name: str = "changed", **fields: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        config = json.loads((real / "adapter_config.json").read_text()) | fields
        (folder / "adapter_config.json").write_text(json.dumps(config))
        (folder / "adapter_model.safetensors").symlink_to(real / "adapter_model.safetensors")
        return folder

    return change


def told(*given: str) -> list[str]:
    return faults(read_adapters(given))


def test_a_plain_adapter_is_served_under_its_name(
    real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vllm_adapters._main([f"rewriter={real}", f"other={real}"]) == 0
    command, *more = capsys.readouterr().out.splitlines()
    words = shlex.split(command)
    assert words[:3] == ["vllm", "serve", str(checkpoint("qwen2_vl"))]
    # Rank 4 is none that vLLM takes; the next one is.
    assert words[words.index("--max-lora-rank") + 1] == "8"
    assert words[words.index("--lora-modules") + 1 :] == [f"rewriter={real}", f"other={real}"]
    assert "nothing was served" in more[0]
    assert "openai-api/vllm/other" in more[-1]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"bias": "all"}, "bias=all"),
        ({"modules_to_save": ["score"]}, "modules_to_save"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern is not read"),
        ({"alpha_pattern": {"q_proj": 8}}, "scale these layers wrongly"),
        ({"r": 513}, "ends at 512"),
        ({"peft_type": "IA3"}, "LORA alone"),
    ],
)
def test_what_vllm_refuses_or_reads_otherwise_is_told_with_a_way_out(
    changed: Callable[..., Path], fields: dict[str, Any], said: str
) -> None:
    (fault,) = told(f"a={changed(**fields)}")
    assert said in fault
    assert "Train" in fault or "erge" in fault


def test_layers_of_the_vision_tower_are_named(tmp_path: Path) -> None:
    folder = make_adapter(checkpoint("qwen2_vl"), tmp_path / "tower", targets=("q_proj", "qkv"))
    (fault,) = told(f"a={folder}")
    assert "visual" in fault
    assert "--enable-tower-connector-lora" in fault


def test_adapted_embeddings_are_named(tmp_path: Path) -> None:
    targets = ("q_proj", "embed_tokens")
    folder = make_adapter(checkpoint("qwen2_vl"), tmp_path / "embeddings", targets=targets)
    (fault,) = told(f"a={folder}")
    assert "embed_tokens" in fault


@pytest.mark.parametrize("architecture", ["qwen2_vl", "llava"])
def test_the_language_model_is_known_in_each_architecture(
    architecture: str, tmp_path: Path
) -> None:
    folder = make_adapter(checkpoint(architecture), tmp_path / "adapter", targets=("up_proj",))
    assert told(f"a={folder}") == []


def test_weights_that_are_no_lora_are_named(changed: Callable[..., Path]) -> None:
    folder = changed()
    weights = load_file(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    name = next(iter(weights)).replace("lora_A.weight", "bias").replace("lora_B.weight", "bias")
    first = weights[next(iter(weights))]
    save_file({**weights, name: first.clone()}, folder / "adapter_model.safetensors")
    (fault,) = told(f"a={folder}")
    assert name in fault


def test_names_that_a_server_or_inspect_reads_otherwise(changed: Callable[..., Path]) -> None:
    folder = changed(base_model_name_or_path="base")
    for name in ("a,b", "org/a", "base:a", "a b"):
        (fault,) = told(f"{name}={folder}")
        assert "plain" in fault
    (fault,) = told(f"base={folder}")
    assert "base's own" in fault
    (fault,) = told(f"a={folder}", f"a={folder}")
    assert "two adapters are called a" in fault
    other = changed("other", base_model_name_or_path="another")
    (fault,) = told(f"a={folder}", f"b={other}")
    assert "base, another" in fault
    (fault,) = told(f"a={changed('x,y')}")
    assert "Rename the folder" in fault


def test_the_rank_and_revision_are_those_of_the_adapters(changed: Callable[..., Path]) -> None:
    first = changed("first", r=16, base_model_name_or_path="org/m", revision="abc")
    second = changed("second", r=100, base_model_name_or_path="org/m", revision="abc")
    command = serve_command(read_adapters([f"a={first}", f"b={second}"]))
    assert command.startswith("vllm serve org/m --revision abc --enable-lora --max-lora-rank 128 ")
    assert "--max-loras 2 " in command
    assert sorted(RANKS) == list(RANKS)


def test_what_is_no_adapter_is_refused(
    tmp_path: Path, changed: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert vllm_adapters._main([]) == 2
    for given, said in (
        ("out/lora", "NAME=FOLDER"),
        (f"a={tmp_path}", "adapter_config.json"),
        (f"a={changed('no-rank', r=None)}", "r (its rank)"),
        (f"a={changed('no-base', base_model_name_or_path=None)}", "base_model_name_or_path"),
    ):
        with pytest.raises(UserError, match=said.replace("(", r"\(").replace(")", r"\)")):
            read_adapters([given])
    broken = changed("broken")
    (broken / "adapter_model.safetensors").unlink()
    (broken / "adapter_model.safetensors").write_bytes(b"\x01")
    with pytest.raises(UserError, match=r"adapter_model\.safetensors"):
        read_adapters([f"a={broken}"])
    assert vllm_adapters._main([f"a={changed('dora', use_dora=True)}"]) == 1
    assert "DoRA" in capsys.readouterr().err
