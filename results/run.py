r"""Running a matrix: benchmarks x defenses x targets, as Inspect eval sets.

    vlmguard run --config results/configs/paper_main.yaml --dry-run
    vlmguard run --config results/configs/paper_main.yaml
    vlmguard run --benchmark siuo --defense none --defense vlmguard --target M \\
        --role grader=G --role rewriter=R

A thin loop over `inspect_ai.eval_set`: one set, and one log folder, for each
defense (`LOG_DIR/DEFENSE`). Running it again resumes what is unfinished and does
nothing where everything is there.

Beyond one machine: targets on vLLM or SGLang (`model: vllm/NAME` with `model_args:
{tensor_parallel_size: 8}`, `data_parallel_size`, or a server on a Ray cluster through
`openai-api/`); judges through batch APIs (`generate: {batch: true}` of the role, half
the price, hours later); logs on S3 (`log_dir: s3://BUCKET/FOLDER`, which all commands
read); several runners, each with its own `--defense`, below one `log_dir`.
"""

from collections.abc import Sequence
from inspect import signature
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import yaml
from inspect_ai import Task, eval_set

# Inspect has no public name for what it raises where it cannot start.
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import GenerateConfig, Model
from inspect_ai.solver import SolverSpec
from inspect_ai.util import registry_create
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from rich.text import Text

from vlmguard.errors import UserError, check_number
from vlmguard.redaction import redact
from vlmguard.results.changed import NAMED_FILES, changed_runs, named_files
from vlmguard.results.models import make_model
from vlmguard.results.needs import missing_roles

UNDEFENDED: Final = "none"
FILL_IN: Final = "FILL_IN"
# What `run` passes to eval_set itself, and where a configuration says it.
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
}
AnyStep = TypeVar("AnyStep", bound="Step")


class UnknownName(UserError):
    """A task or a solver that is not there, or has no such argument."""


class ModelChoice(BaseModel):
    """A model: its name, arguments and generation settings."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: str
    model_args: dict[str, Any] = Field(default_factory=dict)
    generate: GenerateConfig = Field(default_factory=GenerateConfig)

    @field_validator("generate", mode="before")
    @classmethod
    def _known(cls, generate: Any) -> Any:
        # Inspect's class passes over what it does not know.
        if isinstance(generate, dict):
            _check_keys(generate, set(GenerateConfig.model_fields))
        return generate


class Step(BaseModel):
    """A benchmark or a defense and its arguments."""

    model_config = ConfigDict(extra="forbid")

    name: str
    args: dict[str, Any] = Field(default_factory=dict)
    label: str | None = None


class Defense(Step):
    """A defense; its roles are bound for it alone, on top of the matrix's."""

    roles: dict[str, ModelChoice | list[ModelChoice]] = Field(default_factory=dict)


class Prices(BaseModel):
    """Prices per million tokens, and the tokens that a call is assumed to take."""

    model_config = ConfigDict(extra="forbid")

    input: float
    output: float
    input_tokens: int = 1500
    output_tokens: int = 300


class Matrix(BaseModel):
    """A configuration file.

    Attributes:
        log_dir: Where logs go, a folder for each defense.
        targets: Models to evaluate.
        benchmarks: Tasks, with arguments as for `-T`.
        defenses: Solvers, with arguments as for `-S`; `none` for undefended.
        roles: Models by role (`grader`, `rewriter`, ...).
        limit: Samples a benchmark, for a trial.
        options: Further options of `inspect_ai.eval_set`, generation settings of the targets
            included.
        prices: Prices by model, for the plan.
    """

    model_config = ConfigDict(extra="forbid")

    log_dir: str = "logs/matrix"
    targets: list[ModelChoice] = Field(min_length=1)
    benchmarks: list[Step] = Field(min_length=1)
    defenses: list[Defense] = Field(min_length=1)
    roles: dict[str, ModelChoice | list[ModelChoice]] = Field(default_factory=dict)
    limit: int | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    prices: dict[str, Prices] = Field(default_factory=dict)

    @field_validator("limit")
    @classmethod
    def _not_below_one(cls, limit: int | None) -> int | None:
        if limit is not None:
            check_number("limit", limit, 1)
        return limit

    @field_validator("options")
    @classmethod
    def _free(cls, options: dict[str, Any]) -> dict[str, Any]:
        for name in options:
            if name in _SET_HERE:
                raise ValueError(f"{name} has a place of its own: {_SET_HERE[name]}")
        known = {*signature(eval_set).parameters, *GenerateConfig.model_fields} - {"kwargs"}
        _check_keys(options, known)
        epochs = options.get("epochs", 1)
        if not isinstance(epochs, int) or epochs < 1:
            raise ValueError(f"epochs: {epochs} is no whole number of at least 1")
        return options


def read_config(path: Path) -> Matrix:
    """Read a configuration.

    Args:
        path: YAML file.

    Returns:
        The matrix.

    Raises:
        UserError: Unreadable, or a field is unknown, missing or of the wrong
            type; names it.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({error}).") from error
    try:
        return Matrix.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        said = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: {where}: {said}.") from error


def from_flags(
    targets: list[str], benchmarks: list[str], defenses: list[str], roles: list[str]
) -> Matrix:
    """The common case without a file.

    Args:
        targets: Models.
        benchmarks: Names of tasks.
        defenses: Names of solvers.
        roles: `ROLE=MODEL` each; several models of one role are several judges.

    Returns:
        The matrix.

    Raises:
        UserError: Something is missing; says which option gives it.
    """
    for option, given in (("target", targets), ("benchmark", benchmarks)):
        if not given:
            raise UserError(f"name a --{option}, or a --config that does.")
    bound: dict[str, list[ModelChoice]] = {}
    for role in roles:
        name, _, model = role.partition("=")
        if not model:
            raise UserError(f"--role {role}: write ROLE=MODEL, e.g. grader=openai/gpt-4o.")
        bound.setdefault(name, []).append(ModelChoice(model=model))
    return Matrix(
        targets=[ModelChoice(model=model) for model in targets],
        benchmarks=[Step(name=name) for name in benchmarks],
        defenses=[Defense(name=name) for name in defenses or [UNDEFENDED]],
        roles={**bound},
    )


def select(
    matrix: Matrix, targets: list[str], benchmarks: list[str], defenses: list[str]
) -> Matrix:
    """A part of a matrix.

    Args:
        matrix: The whole.
        targets: Models to keep; empty keeps all.
        benchmarks: Labels or names to keep.
        defenses: Labels or names to keep.

    Returns:
        The part.

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
                listed = ", ".join(sorted(known))
                raise UserError(f"--{option} {name} is not in the configuration: {listed}.")
    return matrix.model_copy(
        update={
            "targets": [m for m in matrix.targets if not targets or m.model in targets],
            "benchmarks": _chosen(matrix.benchmarks, benchmarks),
            "defenses": _chosen(matrix.defenses, defenses),
        }
    )


def run(matrix: Matrix) -> bool:
    """Run or resume a matrix.

    Args:
        matrix: The configuration.

    Returns:
        Whether everything finished.

    Raises:
        UserError: A placeholder was not filled in, two defenses share a
            folder, a role that is needed has no model, or Inspect refuses to start.
    """
    unfilled = [
        f"{model.model} {redact(model.model_args) or ''}".strip()
        for model in [*matrix.targets, *chain(*(models(matrix, each) for each in matrix.defenses))]
        if FILL_IN in f"{model.model} {model.model_args}"
    ]
    if unfilled:
        raise UserError(f"{', '.join(dict.fromkeys(unfilled))}: fill that in first.")
    folders = [defense.label or defense.name for defense in matrix.defenses]
    if len(set(folders)) < len(folders):
        raise UserError("two defenses share a log folder: give each a label: of its own.")
    tasks = _checked_tasks(matrix)
    _refuse_changed(matrix, tasks, folders)
    finished = True
    for number, (defense, folder) in enumerate(zip(matrix.defenses, folders, strict=True)):
        if number:
            # Inspect may have changed what it ran.
            tasks = [make_task(step) for step in matrix.benchmarks]
        finished = _run_defense(matrix, defense, tasks, folder) and finished
    return finished


def _refuse_changed(matrix: Matrix, tasks: list[Task], folders: list[str]) -> None:
    """Stop where a log was begun under other files than there are now."""
    steps = [
        (step.name, step.args, task) for step, task in zip(matrix.benchmarks, tasks, strict=True)
    ]
    changed = [
        line
        for defense, folder in zip(matrix.defenses, folders, strict=True)
        for line in changed_runs(
            _place(matrix, folder), steps, _named_files(matrix, defense, tasks)
        )
    ]
    if changed:
        listed = "\n".join(f"  {line}" for line in changed)
        raise UserError(
            f"files have changed since these runs began, so their answers are to something else "
            f"(log: what changed):\n{listed}\nRestore the files, or name another log_dir."
        )


def _named_files(matrix: Matrix, defense: Defense, tasks: list[Task]) -> dict[str, str]:
    """Content of all that the configuration names by path under a defense."""
    benchmarks = {}
    for step, task in zip(matrix.benchmarks, tasks, strict=True):
        # Our tasks say themselves what they have read from their folder.
        read = {"data_dir"} if "data" in (task.metadata or {}) else set()
        benchmarks[step.label or step.name] = {
            name: value for name, value in step.args.items() if name not in read
        }
    bound = roles(matrix, defense)
    return named_files(
        {
            "benchmarks": benchmarks,
            "defense": defense.args,
            "targets": {each.model: [each.model, each.model_args] for each in matrix.targets},
            "roles": {
                role: [[each.model, each.model_args] for each in models]
                for role, models in bound.items()
            },
        }
    )


def _place(matrix: Matrix, folder: str) -> str:
    """Where the logs of a defense lie."""
    return f"{matrix.log_dir.rstrip('/')}/{folder}"


def _run_defense(matrix: Matrix, defense: Defense, tasks: list[Task], folder: str) -> bool:
    """One eval set; whether everything in it finished."""
    # The folder may hold other parts of the matrix, which were run before.
    options = {"display": "plain", "log_dir_allow_dirty": True, **matrix.options}
    options["metadata"] = {
        **options.get("metadata", {}),
        NAMED_FILES: _named_files(matrix, defense, tasks),
    }
    try:
        done, _ = eval_set(
            tasks=tasks,
            log_dir=_place(matrix, folder),
            model=[_model(target) for target in matrix.targets],
            model_roles={name: _role(bound) for name, bound in roles(matrix, defense).items()},
            solver=None
            if defense.name == UNDEFENDED
            else SolverSpec(_qualified(defense.name), defense.args, defense.args),
            limit=matrix.limit,
            **options,
        )
    except UserError:
        raise
    except PrerequisiteError as error:
        raise UserError(Text.from_markup(str(error)).plain) from error
    return done


def _checked_tasks(matrix: Matrix) -> list[Task]:
    """The tasks; a wrong name or a missing role is found before anything has been paid for."""
    for defense in matrix.defenses:
        if defense.name != UNDEFENDED:
            _created("solver", defense)
    tasks = [make_task(step) for step in matrix.benchmarks]
    problems = [
        f"{defense.label or defense.name} on {step.label or step.name}: {', '.join(missing)}"
        for step, task in zip(matrix.benchmarks, tasks, strict=True)
        for defense in matrix.defenses
        if (missing := missing_roles(task, defense.name, defense.args, roles(matrix, defense)))
    ]
    if problems:
        raise UserError(
            f"roles without a model: {'; '.join(problems)}. Bind them: roles: in the "
            f"configuration, or --role ROLE=MODEL without one."
        )
    return tasks


def roles(matrix: Matrix, defense: Defense) -> dict[str, list[ModelChoice]]:
    """The models of each role under a defense.

    Args:
        matrix: The configuration.
        defense: One of its defenses.

    Returns:
        The matrix's roles, with those of the defense in their place.
    """
    bound = {**matrix.roles, **defense.roles}
    return {name: each if isinstance(each, list) else [each] for name, each in bound.items()}


def models(matrix: Matrix, defense: Defense) -> list[ModelChoice]:
    """All models of all roles under a defense."""
    return [model for bound in roles(matrix, defense).values() for model in bound]


def make_task(step: Step) -> Task:
    """The task of a benchmark, with its arguments.

    Args:
        step: The benchmark.

    Returns:
        The task, its data read.

    Raises:
        UnknownName: There is no such task, or it has no such argument.
        UserError: The task cannot be made, for want of data as a rule.
    """
    task: Task = _created("task", step)
    # What a task brings would win over the configuration's targets.
    task.model = None
    return task


def _created(kind: Literal["task", "solver"], step: Step) -> Any:
    try:
        return registry_create(kind, _qualified(step.name), **step.args)
    except (LookupError, TypeError) as error:
        raise UnknownName(
            f"{kind} {step.name} with {redact(step.args) or 'no arguments'}: {error}. The README "
            "names ours and their arguments; others are written package/name."
        ) from error


def _qualified(name: str) -> str:
    """Ours by their short names, others by `package/name`."""
    return name if "/" in name else f"vlmguard/{name}"


def _model(given: ModelChoice) -> Model:
    return make_model(given.model, given.model_args, given.generate)


def _check_keys(given: dict[str, Any], known: set[str]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"Inspect knows no {', '.join(map(str, unknown))}")


def _role(bound: list[ModelChoice]) -> Model | list[Model]:
    made = [_model(each) for each in bound]
    return made[0] if len(made) == 1 else made


def _names(steps: Sequence[Step]) -> set[str]:
    return {step.label or step.name for step in steps} | {step.name for step in steps}


def _chosen(steps: Sequence[AnyStep], names: list[str]) -> list[AnyStep]:
    return [step for step in steps if not names or {step.label, step.name} & set(names)]
