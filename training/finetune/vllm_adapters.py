r"""Says whether vLLM will serve LoRA adapters by name, and prints the command that does.

    python -m vlmguard.training.finetune.vllm_adapters rewriter=out/rewriter strict=out/strict

The rules are those of vLLM's source, as the documentation of its versions 0.14 to 0.26 shows it
(`vllm/config/lora.py`, `vllm/lora/peft_helper.py`, `vllm/lora/lora_model.py`, the parser of
`--lora-modules`). No test here runs vLLM. What it would refuse at its start is found before; so is
what it would take without a word and then serve otherwise than it was trained: ranks and scales of
single layers, which it does not read, and layers outside of the language model, which it leaves out
unless it is told to keep them.
"""

import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open

from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_json
from vlmguard.guard.paths import user_path

__all__ = ["RANKS", "faults", "read_adapters", "serve_command"]

RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` may be."""

_CONFIG: Final = "adapter_config.json"
_WEIGHTS: Final = "adapter_model.safetensors"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# After the prefix of PEFT. Names before transformers 4.52 have the language model elsewhere.
_LANGUAGE: Final = re.compile(r"(?:.+\.)?language_model\.|(?:model\.)?layers\.")
_EMBEDDINGS: Final = ("embed_tokens", "lm_head")
_PREFIX: Final = "base_model.model."


@dataclass(frozen=True)
class Adapter:
    """An adapter as it lies in a folder.

    Attributes:
        name: What requests call it.
        folder: Its folder.
        config: Its `adapter_config.json`.
        tensors: The names of its weights.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    tensors: tuple[str, ...]


def read_adapters(given: Sequence[str]) -> list[Adapter]:
    """The adapters of `NAME=FOLDER` each.

    Raises:
        UserError: A word is no such pair, or a folder is none of an adapter; names the file.
    """
    adapters = []
    for words in given:
        name, _, folder = words.partition("=")
        if not name or not folder:
            raise UserError(f"{words}: write NAME=FOLDER, e.g. rewriter=out/rewriter.")
        adapters.append(_read(name, user_path(folder)))
    return adapters


def faults(adapters: Sequence[Adapter]) -> list[str]:
    """What is wrong with these adapters behind one server.

    Returns:
        A sentence for each fault, with the way out; none if vLLM takes them all.
    """
    found = [f"{each.folder}: {fault}" for each in adapters for fault in _faults(each)]
    names = [each.name for each in adapters]
    found += [
        f"two adapters are called {name}: give one of them another name."
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    bases = dict.fromkeys(map(_base, adapters))
    if len(bases) > 1:
        found.append(
            f"they were made for different models ({', '.join(bases)}): start a server for each."
        )
    return found


def serve_command(adapters: Sequence[Adapter]) -> str:
    """The command that serves adapters by their names.

    Args:
        adapters: Adapters for one base and without faults.

    Returns:
        The command; the base is what the adapters were trained on.
    """
    first = adapters[0]
    rank = next(rank for rank in RANKS if rank >= max(each.config["r"] for each in adapters))
    words = ["vllm", "serve", _base(first)]
    if first.config.get("revision"):
        words += ["--revision", first.config["revision"]]
    words += ["--enable-lora", "--max-lora-rank", str(rank), "--max-loras", str(len(adapters))]
    words += ["--lora-modules", *(f"{each.name}={each.folder.resolve()}" for each in adapters)]
    return shlex.join(words)


def _read(name: str, folder: Path) -> Adapter:
    for file in (_CONFIG, _WEIGHTS):
        if not (folder / file).is_file():
            raise UserError(
                f"{folder}: there is no {file}. Name the folder that `vlmguard train` or PEFT's "
                "save_pretrained wrote."
            )
    config = read_json(folder / _CONFIG)
    if not isinstance(config, dict) or not isinstance(config.get("r"), int):
        raise UserError(f"{folder / _CONFIG}: it is no LoRA adapter's: r (its rank) is missing.")
    if not config.get("base_model_name_or_path"):
        raise UserError(
            f"{folder / _CONFIG}: base_model_name_or_path is missing: write there which model the "
            "adapter was trained on."
        )
    try:
        with safe_open(folder / _WEIGHTS, framework="pt") as weights:
            tensors = tuple(weights.keys())
    except SafetensorError as error:
        raise UserError(f"{folder / _WEIGHTS}: {error}. Copy or train it again.") from error
    return Adapter(name, folder, config, tensors)


def _faults(adapter: Adapter) -> Iterator[str]:
    """What vLLM refuses in one adapter, or would serve otherwise than it was trained."""
    config, name = adapter.config, adapter.name
    if not _NAME.fullmatch(name):
        yield (
            f"the name {name!r} has other signs than letters, digits, '.', '_' and '-': "
            "--lora-modules splits at '=' and reads what has a ',' as JSON, and Inspect splits "
            "names of models at '/' and ':'. Choose a plain one."
        )
    if name == _base(adapter):
        yield f"the name {name} is the base's own: requests may reach the base. Choose another."
    if any(sign in str(adapter.folder.resolve()) for sign in "=,"):
        yield "its path has a '=' or ',', which --lora-modules does not take. Rename the folder."
    if config.get("peft_type", "LORA") != "LORA":
        yield f"it is {config['peft_type']}; vLLM serves LORA alone. Merge it into its base."
    if config.get("use_dora"):
        yield "DoRA is not served by vLLM. Train without use_dora, or merge it into its base."
    if config.get("bias", "none") != "none":
        yield f"bias={config['bias']}: vLLM takes none. Train with bias=none, or merge it."
    for option in ("modules_to_save", "trainable_token_indices"):
        if config.get(option):
            yield f"{option}={config[option]}: vLLM takes none. Merge the adapter into its base."
    for option in ("rank_pattern", "alpha_pattern"):
        if config.get(option):
            yield (
                f"{option} is not read by vLLM, which would scale these layers wrongly and say "
                "nothing. Train with one rank and scale, or merge the adapter into its base."
            )
    if config["r"] > RANKS[-1]:
        yield f"rank {config['r']}: vLLM's --max-lora-rank ends at {RANKS[-1]}. Merge it."
    yield from _layer_faults(adapter.tensors)


def _layer_faults(tensors: Sequence[str]) -> Iterator[str]:
    modules = list(
        dict.fromkeys(re.sub(r"\.lora_.*$", "", each.removeprefix(_PREFIX)) for each in tensors)
    )
    embeddings = [each for each in modules if each.rpartition(".")[2] in _EMBEDDINGS]
    if embeddings:
        yield (
            f"{embeddings[0]}: few models take adapted embeddings in vLLM. Train without them, or "
            "merge the adapter into its base."
        )
    outside = [
        each for each in modules if each not in embeddings and not _LANGUAGE.match(f"{each}.")
    ]
    if outside:
        yield (
            f"{len(outside)} layers are outside of the language model ({outside[0]}): vLLM leaves "
            "them out and says so only in its log. For models that support it, add "
            "--enable-tower-connector-lora (which its source calls experimental), or merge the "
            "adapter into its base."
        )
    odd = [each for each in tensors if "lora_A" not in each and "lora_B" not in each]
    if odd and not embeddings:
        yield f"{odd[0]} is no LoRA weight, which vLLM refuses. Save the adapter by PEFT again."


def _base(adapter: Adapter) -> str:
    return str(adapter.config["base_model_name_or_path"])


def _main(given: Sequence[str]) -> int:
    try:
        if not given:
            raise UserError("name adapters: NAME=FOLDER ...")
        adapters = read_adapters(given)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    found = faults(adapters)
    for fault in found:
        print(fault, file=sys.stderr)
    if found:
        return 1
    print(serve_command(adapters))
    print("# By the rules of vLLM's source; nothing was served. Then, with VLLM_BASE_URL and")
    print("# VLLM_API_KEY in the environment and the sampling stated that vLLM would fill in:")
    body = "extra_body: {top_k: -1, min_p: 0, repetition_penalty: 1}"
    for each in adapters:
        model = f"{{model: openai-api/vllm/{each.name}, {body}}}"
        print(f'#   --model-role rewriter="{model}"')
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
