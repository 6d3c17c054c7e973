"""The command that makes a run again, from what its log says was run.

What a command line cannot say (`arguments`), and what is secret, is named beside the command, which
else would quietly run something different.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from inspect_ai.log import EvalConfig, EvalLog, EvalSpec
from inspect_ai.model import GenerateConfig, ModelConfig

from vlmguard.guard.redaction import redact, redact_text
from vlmguard.results.logs.answers import bare
from vlmguard.results.logs.arguments import argument, joined
from vlmguard.results.sanitize import clean

__all__ = ["RunCommand", "command_of"]

# What a machine can bear, how often it tries again, what it keeps: no part of what is asked.
_OF_THE_MACHINE: Final = (
    *("max_retries", "timeout", "attempt_timeout", "stream_idle_timeout"),
    *("max_connections", "adaptive_connections", "batch", "cache"),
)
_LISTS: Final = ("stop_seqs", "fallback_models")
_AS_JSON: Final = ("extra_body", "extra_headers", "response_schema")
# `true` is what goes without saying of these, and their flag says `false`.
_ON: Final = ("parallel_tool_calls", "internal_tools")
_INSPECTS: Final = re.compile(
    r"mean|median|mode|max|majority|collect|(at_least|pass_at|pass_k)_\d+"
)
"""Reducers of Inspect itself."""
_LIMITS: Final = ("message_limit", "turn_limit", "time_limit", "working_limit", "cost_limit")


@dataclass
class RunCommand:
    """A command line.

    Attributes:
        words: Its words.
        lacks: What it cannot say, in words.
    """

    words: list[str] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The line to type, and what it lacks; without words, why there is none."""
        lacking = ", ".join(self.lacks)
        if not self.words:
            return f"none: {lacking}"
        line = shlex.join(self.words)
        return redact_text(f"{line}  # without {lacking}" if lacking else line)

    def add(self, flag: str, value: str | None, what: str = "") -> None:
        """Add an option, or note that its value cannot be written.

        Args:
            flag: The option.
            value: Its value; None if it has no form.
            what: What is lost then; by default the option.
        """
        if value is None or clean(value) != value:
            self.lacks.append(what or flag)
        else:
            self.words += [flag, value]


def command_of(log: EvalLog) -> RunCommand:
    """The command that makes a run again.

    Args:
        log: Its header.
    """
    spec, command = log.eval, RunCommand(["inspect", "eval"])
    task = _task_of(spec)
    if task is None:
        return RunCommand(
            lacks=[f"the log names no file of its task {bare(spec.task)}, which was made in Python"]
        )
    command.words.append(task)
    _arguments(command, "-T", spec.task_args_passed)
    if spec.solver:
        command.words += ["--solver", spec.solver]
        _arguments(command, "-S", spec.solver_args_passed or {})
    command.words += ["--model", spec.model]
    if spec.model_base_url:
        shown = spec.model_base_url
        command.add("--model-base-url", shown if redact(shown) == shown else None)
    _arguments(command, "-M", spec.model_args)
    for role, bound in (spec.model_roles or {}).items():
        command.add("--model-role", _role(role, bound), f"--model-role {role}")
    _settings(command, spec.model_generate_config.merge(log.plan.config))
    _drawn(command, spec.config)
    return command


def _task_of(spec: EvalSpec) -> str | None:
    """The task as a user types it: a file, or a registered name."""
    if spec.task_file:
        return f"{spec.task_file}@{bare(spec.task)}"
    # A task without a package was registered by whoever ran it.
    return spec.task if "/" in spec.task else None


def _arguments(command: RunCommand, flag: str, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        secret = redact({name: value}) != {name: value}
        # Inspect notes an object, which only Python can give, as nothing.
        sayable = not secret and value is not None and not set(name) & {"-", "="}
        text = argument(value) if sayable else None
        what = f"{flag} {name} (a secret)" if secret else f"{flag} {name}"
        command.add(flag, None if text is None else f"{name}={text}", what)


def _role(role: str, bound: ModelConfig | list[ModelConfig]) -> str | None:
    models = bound if isinstance(bound, list) else [bound]
    said = [_bound(each) for each in models]
    if redact(said) != said or any(each is None for each in said):
        return None
    if all(isinstance(each, str) for each in said):
        return f"{role}={','.join(map(str, said))}"
    text = argument(said[0] if len(said) == 1 else said)
    return None if text is None else f"{role}={text}"


def _bound(model: ModelConfig) -> str | dict[str, Any] | None:
    """A model of a role: its name, or a mapping with its settings; None if neither can say it."""
    config = model.config.model_dump(mode="json", exclude_none=True)
    if model.base_url or None in model.args.values():
        return None
    if not config and not model.args:
        return model.model if "," not in model.model else None
    args = {"model_args": dict(model.args)} if model.args else {}
    return {"model": model.model, **args, **config}


def _settings(command: RunCommand, config: GenerateConfig) -> None:
    """The flags of how answers are drawn."""
    given = config.model_dump(mode="json", exclude_none=True, exclude=set(_OF_THE_MACHINE))
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        if name in _LISTS:
            command.add(flag, joined(value))
        elif name in _AS_JSON:
            command.add(flag, json.dumps(value) if redact({name: value}) == {name: value} else None)
        elif name == "logit_bias":
            command.add(flag, joined(f"{token}={bias}" for token, bias in value.items()))
        elif name == "cache_prompt":
            command.add(flag, str(value).lower())
        elif isinstance(value, bool):
            usual = value if name in _ON else not value and name == "logprobs"
            command.words += [] if usual else [flag if value else f"--no-{flag[2:]}"]
        else:
            command.add(flag, str(value) if isinstance(value, str | int | float) else None)


def _drawn(command: RunCommand, config: EvalConfig) -> None:
    """Which samples were run, how often, and within which limits."""
    if isinstance(config.limit, int):
        command.add("--limit", str(config.limit))
    elif config.limit is not None:
        command.add("--limit", f"{config.limit[0] + 1}-{config.limit[1]}")
    if config.sample_id is not None:
        ids = config.sample_id if isinstance(config.sample_id, list) else [config.sample_id]
        command.add("--sample-id", joined(map(str, ids)))
    if config.sample_shuffle:
        shuffled = config.sample_shuffle
        command.add("--sample-shuffle", "true" if shuffled is True else str(shuffled))
    if (config.epochs or 1) > 1:
        command.add("--epochs", str(config.epochs))
        # Others come with their task, and `inspect eval` looks for names before it loads that.
        if config.epochs_reducer and all(map(_INSPECTS.fullmatch, config.epochs_reducer)):
            command.add("--epochs-reducer", joined(config.epochs_reducer))
    if config.token_limit is not None:
        kind = f"{config.token_limit_type}:" if config.token_limit_type not in (None, "all") else ""
        command.add("--token-limit", f"{kind}{config.token_limit}")
    for name in _LIMITS:
        value = getattr(config, name)
        if value is not None:
            command.add(f"--{name.replace('_', '-')}", str(value))
    command.words += _flags(config)


def _flags(config: EvalConfig) -> Iterator[str]:
    """What becomes of failed samples, and of images."""
    if config.fail_on_error is False:
        yield "--no-fail-on-error"
    elif config.fail_on_error not in (None, True):
        yield f"--fail-on-error={config.fail_on_error}"
    if config.continue_on_fail:
        yield "--continue-on-fail"
    if config.retry_on_error:
        yield f"--retry-on-error={config.retry_on_error}"
    if config.score_on_error:
        yield "--score-on-error"
    if config.log_images is False:
        yield "--no-log-images"
