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

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]
from inspect_ai import Task, eval_set
from inspect_ai.model import GenerateConfig, Model, get_model
from inspect_ai.solver import SolverSpec
from inspect_ai.util import registry_create
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlmguard.errors import UserError
from vlmguard.results.sheets import Sheet

UNDEFENDED: Final = "none"
FILL_IN: Final = "FILL_IN"

# Calls a sample at most: of the target, and of models bound to other roles.
_CALLS: Final = {
    "none": (1, 0),
    "vlmguard": (1, 1),
    "ecso": (4, 0),
    "figstep_defense": (1, 0),
    "mllm_protector": (1, 2),
}


class ModelChoice(BaseModel):
    """A model: its name, arguments and generation settings."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: str
    model_args: dict[str, Any] = Field(default_factory=dict)
    generate: dict[str, Any] = Field(default_factory=dict)


class Step(BaseModel):
    """A benchmark or a defense and its arguments."""

    model_config = ConfigDict(extra="forbid")

    name: str
    args: dict[str, Any] = Field(default_factory=dict)
    label: str | None = None


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
        options: Further options of `inspect_ai.eval_set`.
        prices: Prices by model, for the plan.
    """

    model_config = ConfigDict(extra="forbid")

    log_dir: str = "logs/matrix"
    targets: list[ModelChoice] = Field(min_length=1)
    benchmarks: list[Step] = Field(min_length=1)
    defenses: list[Step] = Field(min_length=1)
    roles: dict[str, ModelChoice | list[ModelChoice]] = Field(default_factory=dict)
    limit: int | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    prices: dict[str, Prices] = Field(default_factory=dict)


@dataclass(frozen=True)
class Planned:
    """What one benchmark under one defense on one target will take."""

    benchmark: str
    defense: str
    target: str
    samples: int | None
    target_calls: int | None
    guard_calls: int | None
    judge_calls: int | None
    cost: float | None


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
        raise UserError(f"{path}: {where}: {first['msg']}.") from error


def from_flags(
    targets: list[str], benchmarks: list[str], defenses: list[str], roles: list[str]
) -> Matrix:
    """The common case without a file.

    Args:
        targets: Models.
        benchmarks: Names of tasks.
        defenses: Names of solvers.
        roles: `ROLE=MODEL` each.

    Returns:
        The matrix.

    Raises:
        UserError: Something is missing; says which option gives it.
    """
    for option, given in (("target", targets), ("benchmark", benchmarks)):
        if not given:
            raise UserError(f"name a --{option}, or a --config that does.")
    bound = {}
    for role in roles:
        name, _, model = role.partition("=")
        if not model:
            raise UserError(f"--role {role}: write ROLE=MODEL, e.g. grader=openai/gpt-4o.")
        bound[name] = ModelChoice(model=model)
    return Matrix(
        targets=[ModelChoice(model=model) for model in targets],
        benchmarks=[Step(name=name) for name in benchmarks],
        defenses=[Step(name=name) for name in defenses or [UNDEFENDED]],
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


def plan(matrix: Matrix) -> list[Planned]:
    """What a run would take, before anything is paid for.

    Args:
        matrix: The configuration.

    Returns:
        A line for each run. Samples are counted from the data where they are
        here; calls are an upper bound; None where nothing can be said.
    """
    counted = [_size(step, matrix.limit) for step in matrix.benchmarks]
    graders = _as_list(matrix.roles.get("grader"))
    lines = []
    for defense in matrix.defenses:
        calls = _CALLS.get(defense.name, (None, None))
        for step, samples in zip(matrix.benchmarks, counted, strict=True):
            for target in matrix.targets:
                of_target, of_guard = _times(samples, calls[0]), _times(samples, calls[1])
                # The judge and the benchmark's own: two questions at most, but SIUO's three.
                questions = (
                    0 if step.args.get("judge") == "none" else 3 if step.name == "siuo" else 2
                )
                judged = _times(samples, questions * len(graders))
                guards = [m.model for r, m in _single_roles(matrix) if r != "grader"]
                cost = _cost(
                    matrix,
                    {target.model: of_target, **dict.fromkeys(guards, of_guard)}
                    | {grader.model: judged for grader in graders},
                )
                lines.append(
                    Planned(
                        step.label or step.name,
                        defense.label or defense.name,
                        target.model,
                        samples,
                        of_target,
                        of_guard,
                        judged,
                        cost,
                    )
                )
    return lines


def plan_sheet(lines: list[Planned]) -> Sheet:
    """The plan as a table."""

    def show(value: float | None) -> str:
        return (
            "?" if value is None else f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
        )

    header = ["Benchmark", "Defense", "Target", "Samples", "Target calls", "Guard calls"]
    sheet = Sheet("Plan (calls at most)", [*header, "Judge calls", "Cost"], [], labels=3)
    for line in lines:
        numbers = [line.samples, line.target_calls, line.guard_calls, line.judge_calls, line.cost]
        sheet.rows.append([line.benchmark, line.defense, line.target, *map(show, numbers)])
    sheet.notes.append(
        "?: the data are not here, the defense's number of calls depends on the answers, or no "
        "price is given (prices: in the configuration)."
    )
    return sheet


def run(matrix: Matrix) -> bool:
    """Run or resume a matrix.

    Args:
        matrix: The configuration.

    Returns:
        Whether everything finished.

    Raises:
        UserError: A placeholder was not filled in, or two defenses share a folder.
    """
    unfilled = [
        model.model
        for model in [*matrix.targets, *(model for _, model in _single_roles(matrix))]
        if FILL_IN in model.model
    ]
    if unfilled:
        raise UserError(f"{', '.join(unfilled)}: write the model's name there first.")
    folders = [defense.label or defense.name for defense in matrix.defenses]
    if len(set(folders)) < len(folders):
        raise UserError("two defenses share a log folder: give each a label: of its own.")
    finished = True
    for defense, folder in zip(matrix.defenses, folders, strict=True):
        options = {"display": "plain", **matrix.options}
        done, _ = eval_set(
            tasks=[_task(step) for step in matrix.benchmarks],
            log_dir=f"{matrix.log_dir.rstrip('/')}/{folder}",
            model=[_model(target) for target in matrix.targets],
            model_roles={name: _role(bound) for name, bound in matrix.roles.items()},
            solver=None
            if defense.name == UNDEFENDED
            else SolverSpec(_qualified(defense.name), defense.args, defense.args),
            limit=matrix.limit,
            **options,
        )
        finished = finished and done
    return finished


def _task(step: Step) -> Task:
    created: Task = registry_create("task", _qualified(step.name), **step.args)
    return created


def _size(step: Step, limit: int | None) -> int | None:
    try:
        task = _task(step)
    except UserError:
        return None
    size = len(task.dataset)
    return min(size, limit) if limit else size


def _qualified(name: str) -> str:
    """Ours by their short names, others by `package/name`."""
    return name if "/" in name else f"vlmguard/{name}"


def _model(given: ModelChoice) -> Model:
    config = GenerateConfig.model_validate(given.generate)
    return get_model(given.model, config=config, memoize=False, **given.model_args)


def _role(bound: ModelChoice | list[ModelChoice]) -> Model | list[Model]:
    if isinstance(bound, list):
        return [_model(each) for each in bound]
    return _model(bound)


def _as_list(bound: ModelChoice | list[ModelChoice] | None) -> list[ModelChoice]:
    if bound is None:
        return []
    return bound if isinstance(bound, list) else [bound]


def _single_roles(matrix: Matrix) -> list[tuple[str, ModelChoice]]:
    return [(role, each) for role, bound in matrix.roles.items() for each in _as_list(bound)]


def _names(steps: list[Step]) -> set[str]:
    return {step.label or step.name for step in steps} | {step.name for step in steps}


def _chosen(steps: list[Step], names: list[str]) -> list[Step]:
    return [step for step in steps if not names or {step.label, step.name} & set(names)]


def _times(samples: int | None, calls: int | None) -> int | None:
    return None if samples is None or calls is None else samples * calls


def _cost(matrix: Matrix, calls: dict[str, int | None]) -> float | None:
    total = 0.0
    for model, number in calls.items():
        if number == 0:
            continue
        price = matrix.prices.get(model)
        if price is None or number is None:
            return None
        tokens = price.input * price.input_tokens + price.output * price.output_tokens
        total += number * tokens / 1e6
    return total
