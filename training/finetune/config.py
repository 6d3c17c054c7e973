"""The settings of a training run: one YAML or JSON file, checked key by key.

Beside the keys of `TrainConfig` the file takes every argument of TRL's `SFTConfig` (with
`method: grpo`, of `GRPOConfig`), at the top level::

    data: out/data                      # folder written by `vlmguard export`
    output_dir: out/rewriter
    model: Qwen/Qwen2-VL-7B-Instruct
    per_device_train_batch_size: 4      # TRL's

Where our defaults differ from TRL's: `max_length` is none (a cut among image tokens breaks the
forward pass), `bf16` follows the hardware, evaluation and saving happen once per epoch (`grpo`:
saving every 50 steps, no evaluation), and the learning rate follows method and peft.
"""

import dataclasses
import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_json
from vlmguard.guard.paths import user_path
from vlmguard.guard.yaml_files import CarefulLoader, parse_yaml, read_yaml

CONFIGS: Final = Path(__file__).parents[1] / "configs"
"""The ready configurations."""

LEARNING_RATES: Final = {
    ("sft", "lora"): 1e-4,
    ("sft", "none"): 1e-5,
    ("grpo", "lora"): 1e-5,
    ("grpo", "none"): 1e-6,
}

# TRL would ignore these, or they would break the rewriter's one chat layout.
_OURS: Final = {
    "model_init_kwargs": "model, revision, dtype and attn_implementation",
    "resume_from_checkpoint": "resume",
    "chat_template_path": "the checkpoint's own chat template",
    "hub_strategy": "push_to_hub, which uploads the finished result and nothing before it,",
    "hub_always_push": "push_to_hub, which uploads the finished result and nothing before it,",
}

ModelSpec = str | dict[str, Any]
"""An Inspect model: its name, or a mapping with `model`, `model_args`, `base_url` and generation
settings (`temperature`, `max_tokens`, ...)."""


@dataclass
class TrainConfig:
    """One training run.

    Attributes:
        data: Folder written by `vlmguard export`: splits `train` and `validation`.
        output_dir: Where checkpoints and the result go.
        method: `sft` (imitate the exported rewrites) or `grpo` (second stage on judged answers).
        model: Image-text-to-text checkpoint, hub id or folder.
        revision: Branch, tag or commit of the checkpoint.
        trust_remote_code: Run code that comes with the checkpoint.
        dtype: `auto`, `float32`, `bfloat16` or `float16`. `auto` loads in bfloat16 for LoRA on
            hardware that has it, otherwise in float32.
        attn_implementation: `sdpa`, `flash_attention_2`, ...; None for the default.
        min_pixels: Lower bound of the image size in pixels, where the processor has one.
        max_pixels: Upper bound; larger images cost more memory and time.
        peft: `lora` (the language model's linear layers) or `none` (all weights).
        adapter: PEFT adapter to go on from, made for the same base; `peft: lora` only.
        lora_r: Rank. vLLM takes up to 16 unless told otherwise.
        lora_alpha: Scale.
        lora_dropout: Dropout, 0 to 1.
        train_vision: Train the vision tower too; `peft: none` only.
        targets: `reasoning` or `direct` (the rewrite alone); None for what the data hold. Data
            with reasoning can be trained either way.
        resume: Go on from the last complete checkpoint in `output_dir`, if there is one.
        strict_text: Let test texts (without their image) among the training rows block, too.
        quality_rows: Validation rows that are rewritten at each evaluation; 0 for none.
        quality_batch_size: How many of them at a time.
        quality_max_tokens: Most new tokens of such a rewrite.
        target: `grpo`: the Inspect model that answers the rewritten requests.
        grader: `grpo`: the judge or judges.
        judge_template: `grpo`: file with a judge prompt that replaces ours.
        threshold: `grpo`: safety grade from which an answer counts as safe, 0 to 10.
        answer_max_tokens: `grpo`: most tokens of the target's answer.
        failed_calls: `grpo`: share of the last 200 calls to target and judges that may fail, 0 to
            1; beyond it the run ends.
        format_penalty: `grpo`: taken off where a reply cannot be used.
        benign_penalty: `grpo`: taken off where a benign request was changed.
        trainer: The arguments for TRL's own configuration.
    """

    data: str
    output_dir: str
    method: Literal["sft", "grpo"] = "sft"
    model: str = "Qwen/Qwen2-VL-7B-Instruct"
    revision: str | None = None
    trust_remote_code: bool = False
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attn_implementation: str | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    peft: Literal["lora", "none"] = "lora"
    adapter: str | None = None
    lora_r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.05
    train_vision: bool = False
    targets: Literal["reasoning", "direct"] | None = None
    resume: bool = True
    strict_text: bool = False
    quality_rows: int = 64
    quality_batch_size: int = 8
    quality_max_tokens: int = 512
    target: ModelSpec | None = None
    grader: ModelSpec | list[ModelSpec] | None = None
    judge_template: str | None = None
    threshold: float = 7.0
    answer_max_tokens: int = 1024
    failed_calls: float = 0.1
    format_penalty: float = 1.0
    benign_penalty: float = 1.0
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        hints = get_type_hints(TrainConfig)
        values = dataclasses.asdict(self)
        for name, hint in hints.items():
            value = values[name]
            if not _fits(value, hint):
                raise UserError(f"{name}: {value!r} does not fit; it must be {_spelled(hint)}.")
        for name, good in (
            ("data", self.data),
            ("output_dir", self.output_dir),
            ("lora_r", self.lora_r >= 1),
            ("quality_rows", self.quality_rows >= 0),
            ("quality_batch_size", self.quality_batch_size >= 1),
            ("quality_max_tokens", self.quality_max_tokens >= 1),
            ("answer_max_tokens", self.answer_max_tokens >= 1),
            ("lora_dropout", 0 <= self.lora_dropout < 1),
            ("threshold", 0 <= self.threshold <= 10),
            ("failed_calls", 0 <= self.failed_calls <= 1),
            ("format_penalty", self.format_penalty >= 0),
            ("benign_penalty", self.benign_penalty >= 0),
        ):
            if not good:
                raise UserError(f"{name}: {values[name]!r} is out of range.")
        if self.peft == "none" and self.adapter:
            raise UserError("adapter goes with peft: lora. Merge it into its base, or drop it.")
        if self.peft == "lora" and self.train_vision:
            raise UserError("train_vision goes with peft: none; LoRA trains the language model.")
        if self.method == "grpo" and not (self.target and self.grader):
            raise UserError(
                "method: grpo needs target (whose answers are judged) and grader (the judge), "
                "both Inspect models, e.g. `grader: openai/gpt-4o`."
            )


def load_config(source: str, overrides: dict[str, Any] | None = None) -> TrainConfig:
    """Read a configuration.

    Args:
        source: A YAML or JSON file, or the name of a ready one (`qwen2-vl-7b-lora`).
        overrides: Values that win over the file's.

    Returns:
        The configuration; keys that are TRL's are in `trainer`.

    Raises:
        UserError: No such file, a syntax error, a key that nobody knows, a value that does not
            fit.
    """
    values = config_values(source, overrides)
    try:
        return from_dict(values)
    except UserError as error:
        raise UserError(f"Configuration {config_path(source)}: {error}") from error


def config_values(source: str, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """The values of a configuration, not yet compared with what TRL knows (which takes seconds).

    Args:
        source: As for `load_config`.
        overrides: As for `load_config`.

    Returns:
        Value by key.

    Raises:
        UserError: No such file, a syntax error, or no pairs in it.
    """
    path = config_path(source)
    values = read_json(path) if path.suffix == ".json" else read_yaml(path, _Loader)
    if not isinstance(values, dict):
        raise UserError(f"Configuration {path} must hold `key: value` pairs.")
    return values | (overrides or {})


def from_dict(values: dict[str, Any]) -> TrainConfig:
    """Build a configuration from plain values, TRL's keys among ours.

    Args:
        values: Value by key.

    Returns:
        The configuration.

    Raises:
        UserError: An unknown or missing key, or a value that does not fit.
    """
    ours = {each.name for each in dataclasses.fields(TrainConfig)} - {"trainer"}
    method = str(values.get("method", "sft"))
    known = trl_keys(method) if method in ("sft", "grpo") else set()
    for key in values:
        if key not in ours and key not in known:
            raise UserError(_unknown(str(key), method, ours | known))
    for key in ("data", "output_dir"):
        if values.get(key) is None:
            raise UserError(f"{key} is missing. Add `{key}: FOLDER`.")
    own = {key: value for key, value in values.items() if key in ours}
    return TrainConfig(**own, trainer={k: v for k, v in values.items() if k not in ours})


def read_value(text: str) -> Any:
    """Read a value as the configuration file would: `1e-4` is a number, `true` a truth value.

    Args:
        text: YAML.

    Returns:
        The value.

    Raises:
        UserError: Not YAML.
    """
    return parse_yaml(text, f"{text[:100]!r}", _Loader)


def config_path(source: str) -> Path:
    """The file that `--config` names.

    Args:
        source: A file, or the name of a ready configuration.

    Returns:
        The file, which exists.

    Raises:
        UserError: Neither a file nor a ready configuration.
    """
    path = user_path(source)
    ready = CONFIGS / f"{source}.yaml"
    if path.is_file():
        return path
    if ready.is_file():
        return ready
    names = ", ".join(sorted(each.stem for each in CONFIGS.glob("*.yaml")))
    raise UserError(f"--config {source}: no such file. Ready configurations: {names}.")


def trl_keys(method: str) -> set[str]:
    """Names of TRL's own arguments for a method.

    Args:
        method: `sft` or `grpo`.

    Returns:
        Those that a configuration file may hold.

    Raises:
        UserError: TRL is not installed.
    """
    kind = _kind(method)
    return {each.name for each in dataclasses.fields(kind) if each.init} - _OURS.keys()


def trl_arguments(config: TrainConfig) -> Any:
    """TRL's configuration object: the user's arguments over our defaults.

    Args:
        config: The run.

    Returns:
        An `SFTConfig` or a `GRPOConfig`.

    Raises:
        UserError: TRL refuses the arguments.
    """
    import torch

    kind = _kind(config.method)
    accelerated = torch.accelerator.is_available()
    bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    values: dict[str, Any] = {
        "bf16": bf16 and not config.trainer.get("fp16"),
        "use_cpu": not accelerated,
        "learning_rate": LEARNING_RATES[config.method, config.peft],
        "save_total_limit": 2,
        "hub_strategy": "end",  # what is uploaded, and when, is in `hub.py`
    }
    if config.method == "sft":
        values |= {"max_length": None, "eval_strategy": "epoch", "save_strategy": "epoch"}
    else:
        values |= {"save_strategy": "steps", "save_steps": 50}
    values |= config.trainer
    values |= {
        "output_dir": str(user_path(config.output_dir)),
        "trust_remote_code": config.trust_remote_code,
    }
    try:
        return kind(**values)
    except (ValueError, TypeError, ImportError) as error:
        raise UserError(f"TRL refuses the configuration: {error}") from error


def _kind(method: str) -> Any:
    try:
        import trl
    except ImportError as error:
        raise UserError("Training needs TRL: `pip install 'vlmguard[train]'`.") from error
    return trl.GRPOConfig if method == "grpo" else trl.SFTConfig


def _unknown(key: str, method: str, known: set[str]) -> str:
    if key in _OURS:
        return f"{key} has no effect here; use {_OURS[key]} instead."
    other = "grpo" if method == "sft" else "sft"
    if key in trl_keys(other):
        return f"{key} goes with method: {other}, not with {method}."
    close = difflib.get_close_matches(key, known, 3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    return f"unknown key {key}.{hint} Known are the keys of TrainConfig and of TRL's configuration."


def _fits(value: object, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (UnionType, Union):
        return any(_fits(value, each) for each in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin is list:
        return isinstance(value, list) and all(_fits(each, get_args(hint)[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _spelled(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    return str(hint.__name__ if isinstance(hint, type) else hint).replace("NoneType", "None")


class _Loader(CarefulLoader):
    """YAML 1.2 where it matters: `1e-4` is a number, `no` (a strategy of TRL's) a word."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [each for each in resolvers if each[0] != "tag:yaml.org,2002:bool"]
        for first, resolvers in CarefulLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+(?:\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)
