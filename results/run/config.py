"""The configuration of a matrix: benchmarks, defenses, targets and attacks, as a file or flags."""

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any, Final, TypeVar

from inspect_ai import eval_set
from inspect_ai.model import GenerateConfig
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import UserError, check_number, first_fault
from vlmguard.guard.paths import missing, user_path
from vlmguard.guard.redaction import redact
from vlmguard.guard.yaml_files import read_yaml
from vlmguard.results.run.attack_choice import UNATTACKED, AttackChoice, Named
from vlmguard.results.run.resources import check_resources

UNDEFENDED: Final = "none"
FILL_IN: Final = "FILL_IN"
CONFIGS: Final = Path(__file__).parents[1] / "configs"
"""The ready configurations."""
SUITES: Final = CONFIGS / "suites"
"""The ready lists of benchmarks, without targets, defenses and roles."""
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
AnyStep = TypeVar("AnyStep", bound="Step")


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


class Suite(BaseModel):
    """A ready list of benchmarks and attacks; targets, defenses and roles come from elsewhere."""

    model_config = ConfigDict(extra="forbid")

    benchmarks: list[Step] = Field(min_length=1)
    attacks: list[AttackChoice] = Field(default_factory=list)


class Matrix(BaseModel):
    """A configuration file.

    Attributes:
        log_dir: Folder of the logs; each defense has a folder in it.
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
        default="logs/matrix", min_length=1, max_length=1000, pattern=r"^[^\x00]*$"
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


def read_suite(name: str) -> Suite:
    """The benchmarks and attacks of a ready suite.

    Raises:
        UserError: There is none of this name; names them all.
    """
    known = sorted(path.stem for path in SUITES.glob("*.yaml"))
    if name not in known:
        raise UserError(
            f"--suite {name}: there is none of this name.{did_you_mean(name, known)} Ours: "
            f"{', '.join(known)}."
        )
    return Suite.model_validate(read_yaml(SUITES / f"{name}.yaml"))


def read_config(path: Path) -> Matrix:
    """Read a configuration from a YAML file.

    Raises:
        UserError: Unreadable, or a field is unknown, missing or of the wrong type; names it.
    """
    return _validated(path, read_yaml(path))


def read_config_for(
    suite: str, path: Path, targets: list[str], defenses: list[str], given_roles: list[str]
) -> Matrix:
    """A suite with what a file has beside benchmarks (`prices:` alone will do), and flags.

    Args:
        suite: Name of the suite, whose benchmarks and attacks replace those of the file.
        path: The file.
        targets: Models, as the file has them or new ones; none: all of the file.
        defenses: Labels or names, as the file has them or new ones; none: all of the file, or
            undefended.
        given_roles: `ROLE=MODEL` each, instead of that role in the file.

    Raises:
        UserError: As for `read_config`, or there is no such suite, or no target.
    """
    ready = read_suite(suite).model_dump()
    content = read_yaml(path)
    if isinstance(content, dict):
        if not (targets or content.get("targets")):
            raise UserError(f"name a --target, or targets: in {path}.")
        content = {
            "log_dir": f"logs/{suite}",
            "targets": targets,
            "defenses": defenses or [UNDEFENDED],
            **content,
            **{name: values for name, values in ready.items() if values},
        }
    matrix = _validated(path, content)
    chosen = {
        "targets": [
            model
            for name in targets
            for model in [each for each in matrix.targets if each.model == name]
            or [Target(model=name)]
        ],
        "defenses": [
            each
            for name in defenses
            for each in _chosen(matrix.defenses, [name]) or [Defense(name=name)]
        ],
    }
    kept = {field: values for field, values in chosen.items() if values}
    return matrix.model_copy(update={**kept, "roles": {**matrix.roles, **_bound(given_roles)}})


def config_path(typed: str) -> Path:
    """The file of a configuration: a path, or the bare name of a ready one (`paper_main`).

    Raises:
        UserError: It is a bare name, but there is no such file and none of ours.
    """
    path, ready = user_path(typed), CONFIGS / f"{typed}.yaml"
    if path.is_file() or path.suffix or ready.parent != CONFIGS:
        return path
    if not ready.is_file():
        ours = sorted(each.stem for each in CONFIGS.glob("*.yaml"))
        raise UserError(
            f"--config: {missing(path)}{did_you_mean(typed, ours)} Ready configurations: "
            f"{', '.join(ours)}."
        )
    return ready


def unfilled(matrix: Matrix) -> list[str]:
    """Placeholders for models that the user must still fill in, each once."""
    found = [
        f"{model.model} {redact(model.model_args) or ''}".strip()
        for model in all_models(matrix)
        if FILL_IN in f"{model.model} {model.model_args}"
    ]
    return list(dict.fromkeys(found))


def from_flags(
    targets: list[str],
    benchmarks: list[Step],
    defenses: list[str],
    roles: list[str],
    attacks: Sequence[AttackChoice] = (),
) -> Matrix:
    """A matrix from flags, the common case without a file.

    Args:
        targets: Models.
        benchmarks: Tasks with their arguments.
        defenses: Names of solvers.
        roles: `ROLE=MODEL` each; several models of one role are several judges.
        attacks: Attacks, those of a suite.

    Raises:
        UserError: Something is missing; says which option gives it.
    """
    given: tuple[tuple[str, Sequence[object]], ...]
    given = (("target", targets), ("benchmark", benchmarks))
    for option, named in given:
        if not named:
            raise UserError(
                f"name a --{option}, or a --config that does (benchmarks: or a --suite)."
            )
    return Matrix(
        targets=[Target(model=model) for model in targets],
        benchmarks=benchmarks,
        defenses=[Defense(name=name) for name in defenses or [UNDEFENDED]],
        attacks=list(attacks),
        roles={**_bound(roles)},
    )


def with_attacks(matrix: Matrix, names: list[str]) -> Matrix:
    """A matrix under these attacks and no others.

    Args:
        matrix: The matrix.
        names: Labels or names, as the matrix has them, or new ones; none keeps all of the matrix.

    Raises:
        UserError: Two of them share a folder.
    """
    if not names:
        return matrix
    known = {key: each for each in matrix.attacks for key in (each.folder, each.name)}
    # Who names an attack wants it to run.
    chosen = [
        known[name].model_copy(update={"optional": False})
        if name in known
        else AttackChoice(name=name)
        for name in dict.fromkeys(names)
    ]
    try:
        return Matrix.model_validate({**dict(matrix), "attacks": chosen})
    except ValidationError as error:
        raise UserError(f"--attack: {first_fault(error, Matrix)[1]}.") from error


def select(
    matrix: Matrix, targets: list[str], benchmarks: list[str], defenses: list[str]
) -> Matrix:
    """A part of a matrix.

    Args:
        matrix: The whole.
        targets: Models to keep; empty keeps all.
        benchmarks: Labels or names to keep.
        defenses: Labels or names to keep.

    Raises:
        UserError: A name is not in the matrix.
    """
    for option, wanted, known in (
        ("target", targets, {each.model for each in matrix.targets}),
        ("benchmark", benchmarks, _names(matrix.benchmarks)),
        ("defense", defenses, _names(matrix.defenses)),
    ):
        for name in wanted:
            if name not in known:
                meant = did_you_mean(name, known)
                listed = ", ".join(sorted(known))
                raise UserError(f"--{option} {name} is not in the configuration: {listed}.{meant}")
    return matrix.model_copy(
        update={
            "targets": [m for m in matrix.targets if not targets or m.model in targets],
            "benchmarks": _chosen(matrix.benchmarks, benchmarks),
            "defenses": _chosen(matrix.defenses, defenses),
        }
    )


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


def _validated(path: Path, content: Any) -> Matrix:
    try:
        return Matrix.model_validate(content)
    except ValidationError as error:
        where, said = first_fault(error, Matrix)
        end = "" if said.endswith((".", "?")) else "."
        raise UserError(f"{path}: {where or 'the file'}: {said}{end}") from error


def _bound(given: list[str]) -> dict[str, list[ModelChoice]]:
    """The models of roles, from `ROLE=MODEL` each."""
    bound: dict[str, list[ModelChoice]] = {}
    for role in given:
        name, _, model = role.partition("=")
        if not model:
            raise UserError(f"--role {role}: write ROLE=MODEL, e.g. grader=openai/gpt-4o.")
        bound.setdefault(name, []).append(ModelChoice(model=model))
    return bound


def _check_keys(given: dict[str, Any], known: set[str]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        meant = did_you_mean(unknown[0], known)
        raise ValueError(f"Inspect knows no {', '.join(map(str, unknown))}.{meant}")


def _names(steps: Sequence[Step]) -> set[str]:
    return {step.label or step.name for step in steps} | {step.name for step in steps}


def _chosen(steps: Sequence[AnyStep], names: list[str]) -> list[AnyStep]:
    return [step for step in steps if not names or {step.label, step.name} & set(names)]
