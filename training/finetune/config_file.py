"""Reads the settings of a training run from one YAML or JSON file, checked key by key.

Beside the keys of `TrainConfig` the file takes every argument of TRL's `SFTConfig` (with
`method: grpo`, of `GRPOConfig`), at the top level::

    data: out/data                      # folder written by `vlmguard export`
    output_dir: out/rewriter
    model: Qwen/Qwen2-VL-7B-Instruct
    per_device_train_batch_size: 4      # TRL's
"""

import re
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_json
from vlmguard.guard.paths import missing, user_path
from vlmguard.guard.redaction import redact
from vlmguard.guard.yaml_files import CarefulLoader, parse_yaml, read_yaml
from vlmguard.training.finetune.config import TrainConfig
from vlmguard.training.finetune.trl_options import check_trl_keys

CONFIGS: Final = Path(__file__).parents[1] / "configs"
"""The ready configurations."""


def load_config(source: str, overrides: dict[str, Any] | None = None) -> TrainConfig:
    """Read a configuration.

    Args:
        source: A YAML or JSON file, or the name of a ready one (`qwen2-vl-7b-lora`).
        overrides: Values that override the file's.

    Returns:
        The configuration; keys that are TRL's are in `trainer`.

    Raises:
        UserError: No such file, a syntax error, an unknown key, a value that does not fit.
    """
    values = config_values(source, overrides)
    try:
        return from_dict(values)
    except UserError as error:
        raise UserError(f"Configuration {config_path(source)}: {error}") from error


def config_values(source: str, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """The values of a configuration, not yet compared with TRL's keys (which takes seconds).

    Args:
        source: As for `load_config`.
        overrides: As for `load_config`.

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

    Raises:
        UserError: An unknown or missing key, or a value that does not fit.
    """
    ours = TrainConfig.model_fields.keys() - {"trainer"}
    for key in ("data", "output_dir"):
        if values.get(key) is None:
            raise UserError(f"{key} is missing. Add `{key}: FOLDER`.")
    own = {key: value for key, value in values.items() if key in ours}
    trls = {key: value for key, value in values.items() if key not in ours}
    try:
        config = TrainConfig(**own, trainer=trls)
    except ValidationError as error:
        raise UserError(_fault(error, values)) from error
    check_trl_keys(trls, config.method, ours)
    return config


def read_value(text: str) -> Any:
    """Read a value as the configuration file would: `1e-4` is a number, `true` a truth value.

    Args:
        text: YAML.

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
    names = sorted(each.stem for each in CONFIGS.glob("*.yaml"))
    raise UserError(
        f"--config: {missing(path)}{did_you_mean(source, names)} Ready configurations: "
        f"{', '.join(names)}."
    )


def _fault(error: ValidationError, values: dict[str, Any]) -> str:
    """The fault of the first key; if a key takes several kinds of values, the fault for each."""
    faults = error.errors(include_url=False)
    key = str(faults[0]["loc"][0])
    said = [each["msg"].removeprefix("Value error, ") for each in faults if each["loc"][0] == key]
    wanted = [each.rstrip(".") for each in dict.fromkeys(said)]
    return f"{key}: {redact(values[key], key)!r} does not fit. {'. Or: '.join(wanted)}."


class _Loader(CarefulLoader):
    """YAML with two rules of version 1.2: `1e-4` is a number, `no` (a strategy of TRL) a word."""

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
