"""The configuration of a matrix: benchmarks, defenses, targets and attacks."""

from inspect import signature
from pathlib import Path
from typing import Any, Final

from inspect_ai import eval_set
from inspect_ai.model import GenerateConfig
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import UserError, check_number
from vlmguard.guard.paths import user_path
from vlmguard.guard.redaction import redact
from vlmguard.results.run.attack_choice import UNATTACKED, AttackChoice, Named
from vlmguard.results.run.resources import check_resources

UNDEFENDED: Final = "none"
FILL_IN: Final = "FILL_IN"
# Inspect takes the paths of logs for addresses, in which these have a meaning.
_NOT_IN_PATHS: Final = frozenset("%#?")
# Options that `run` itself passes to eval_set, and the fields that set them.
_SET_HERE: Final = {
    "tasks": "benchmarks:",
    "task_args": "args: of a benchmark",
    "solver": "defenses:",
    "model": "targets:",
    "model_args": "model_args: of a target",
    "model_base_url": "base_url in model_args: of a target",
    "model_roles": "roles:",
    "log_dir": "log_dir: beside options:",
    "limit": "limit: beside options:",
    "retry_immediate": "retry_attempts: and retry_wait:, for whole rounds",
    "retry_connections": "retry_attempts: and retry_wait:, for whole rounds",
}


class ModelChoice(BaseModel):
    """A model: its name, arguments and generation settings; in a file, the name alone will do."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: str = Field(min_length=1)
    model_args: dict[str, Any] = Field(default_factory=dict)
    generate: GenerateConfig = Field(default_factory=GenerateConfig)

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: Any) -> Any:
        return {"model": given} if isinstance(given, str) else given

    @field_validator("generate", mode="before")
    @classmethod
    def _known(cls, generate: Any) -> Any:
        # Inspect's class ignores unknown fields.
        if isinstance(generate, dict):
            _check_keys(generate, set(GenerateConfig.model_fields))
        return generate


class Target(ModelChoice):
    """A model to evaluate.

    Attributes:
        resources: What a process that runs it takes of a cluster (`--ray`), by the names of
            `ray.remote`: `num_cpus` (1), `num_gpus` (0), `memory` (bytes), and those of the
            cluster's own.
    """

    resources: dict[str, float] = Field(default_factory=dict)

    @field_validator("resources")
    @classmethod
    def _can_be_asked(cls, resources: dict[str, float]) -> dict[str, float]:
        check_resources(resources)
        return resources


class Step(Named):
    """A benchmark or a defense and its arguments."""

    args: dict[str, Any] = Field(default_factory=dict)


class Defense(Step):
    """A defense; its own roles are added to the matrix's, for this defense only."""

    roles: dict[str, ModelChoice | list[ModelChoice]] = Field(default_factory=dict)


class Prices(BaseModel):
    """Prices per million tokens, and the tokens that a call is assumed to take."""

    model_config = ConfigDict(extra="forbid")

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    input_tokens: int = Field(default=1500, ge=0)
    output_tokens: int = Field(default=300, ge=0)


class Matrix(BaseModel):
    """A configuration file.

    Attributes:
        log_dir: Folder of the logs, see `log_folder`; each defense has a folder in it.
        targets: Models to evaluate.
        benchmarks: Tasks, with arguments as for `-T`.
        defenses: Solvers, with arguments as for `-S`; `none` for undefended.
        attacks: Attacks on all of these, as for `-T attack`; searches and dialogues too. The
            run without one, `none`, comes first and is always among them.
        roles: Models by role (`grader`, `rewriter`, ...).
        limit: Samples per benchmark, for a trial.
        shards: Parts into which each benchmark is split by a hash of its samples' ids, for
            `--ray`.
        options: Further options of `inspect_ai.eval_set`, with generation settings of the targets.
        prices: Prices by model, for the plan.
    """

    model_config = ConfigDict(extra="forbid")

    log_dir: str = Field(
        default="logs/matrix",
        min_length=1,
        max_length=1000,
        pattern=r"^[^\x00]*$",
        validate_default=True,
    )
    targets: list[Target] = Field(min_length=1)
    benchmarks: list[Step] = Field(min_length=1)
    defenses: list[Defense] = Field(min_length=1)
    attacks: list[AttackChoice] = Field(
        default_factory=lambda: [AttackChoice(name=UNATTACKED)], validate_default=True
    )
    roles: dict[str, ModelChoice | list[ModelChoice]] = Field(default_factory=dict)
    limit: int | None = None
    shards: int = Field(default=1, ge=1, le=10_000)
    options: dict[str, Any] = Field(default_factory=dict)
    prices: dict[str, Prices] = Field(default_factory=dict)

    @field_validator("log_dir")
    @classmethod
    def _usable(cls, log_dir: str) -> str:
        return log_folder(log_dir)

    @field_validator("limit")
    @classmethod
    def _not_below_one(cls, limit: int | None) -> int | None:
        if limit is not None:
            check_number("limit", limit, 1)
        return limit

    @field_validator("attacks")
    @classmethod
    def _beside_none(cls, attacks: list[AttackChoice]) -> list[AttackChoice]:
        # What an attack changes shows beside the run without one.
        real = [each for each in attacks if each.name != UNATTACKED]
        folders = [UNATTACKED, *(each.folder for each in real)]
        if twice := [name for name in dict.fromkeys(folders) if folders.count(name) > 1]:
            raise ValueError(f"two attacks share the folder {twice[0]}: give each a label")
        return [AttackChoice(name=UNATTACKED), *real]

    @field_validator("options")
    @classmethod
    def _free(cls, options: dict[str, Any]) -> dict[str, Any]:
        for name in options:
            if name in _SET_HERE:
                raise ValueError(f"{name} has a place of its own: {_SET_HERE[name]}")
        known = {*signature(eval_set).parameters, *GenerateConfig.model_fields} - {"kwargs"}
        _check_keys(options, known)
        epochs = options.get("epochs", 1)
        if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
            raise ValueError(f"epochs: {epochs} is no whole number of at least 1")
        retries = options.get("retry_attempts", 0)
        if not isinstance(retries, int) or retries < 0:
            raise ValueError(f"retry_attempts: {retries} is no whole number of at least 0")
        return options


def log_folder(typed: str) -> str:
    """The folder of the logs as all that reads and writes them names it.

    Args:
        typed: A local folder, where `~` is expanded, or an address.

    Raises:
        UserError: It is in the home of an unknown user, or Inspect could not read its logs there.
    """
    folder = str(user_path(typed)) if typed.startswith("~") else typed
    here = folder.removeprefix("file://")
    if "://" not in here and (marks := _NOT_IN_PATHS & set(str(Path(here).absolute()))):
        raise UserError(
            f"log_dir: {Path(here).absolute()}: Inspect cannot read logs below a folder with "
            f"{' or '.join(sorted(marks))} in its name. Name another one (log_dir:, --log-dir)."
        )
    return folder


def unfilled(matrix: Matrix) -> list[str]:
    """Placeholders for models that the user must still fill in, each once."""
    found = [
        f"{model.model} {redact(model.model_args) or ''}".strip()
        for model in all_models(matrix)
        if FILL_IN in f"{model.model} {model.model_args}"
    ]
    return list(dict.fromkeys(found))


def roles(matrix: Matrix, defense: Defense) -> dict[str, list[ModelChoice]]:
    """The models of each role under a defense, whose own roles replace those of the matrix."""
    bound = {**matrix.roles, **defense.roles}
    return {name: each if isinstance(each, list) else [each] for name, each in bound.items()}


def models(matrix: Matrix, defense: Defense) -> list[ModelChoice]:
    """All models of all roles under a defense."""
    return [model for bound in roles(matrix, defense).values() for model in bound]


def all_models(matrix: Matrix) -> list[ModelChoice]:
    """All targets, and all models of all roles under all defenses."""
    return [*matrix.targets, *(m for each in matrix.defenses for m in models(matrix, each))]


def _check_keys(given: dict[str, Any], known: set[str]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        meant = did_you_mean(unknown[0], known)
        raise ValueError(f"Inspect knows no {', '.join(map(str, unknown))}.{meant}")
