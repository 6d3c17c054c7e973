"""What a matrix will take: samples, calls at most, and money, before anything is paid for."""

from dataclasses import dataclass
from typing import Final

from inspect_ai import Task

from vlmguard.guard.errors import UserError
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.run.config import Defense, Matrix, Step, roles
from vlmguard.results.run.making import UnknownName, make_task
from vlmguard.results.run.roles_needed import missing_roles

# Calls a sample at most: of the target, and of each role's model. ETA's depend on its answers.
_TARGET_CALLS: Final = {
    "none": 1,
    "vlmguard": 1,
    "ecso": 4,
    "figstep_defense": 1,
    "mllm_protector": 1,
}
_GUARD_CALLS: Final = {
    "none": {},
    "vlmguard": {"rewriter": 1},
    "ecso": {},
    "figstep_defense": {},
    "mllm_protector": {"detector": 1, "detoxifier": 1},
}
# Questions to each judge a sample: the benchmark's own.
_OFFICIAL: Final = {"siuo": 2, "vlguard": 0, "mm_safetybench": 1, "figstep": 1, "microworld": 0}


@dataclass(frozen=True)
class Planned:
    """What one benchmark under one defense on one target will take.

    Attributes:
        benchmark: Its label.
        defense: Its label.
        target: The model.
        samples: Answers: samples times epochs.
        target_calls: Calls of the target.
        guard_calls: Calls of all other models but the judges.
        judge_calls: Calls of all judges.
        cost: Money.
        missing: Roles that have no model: it will not run.
    """

    benchmark: str
    defense: str
    target: str
    samples: int | None
    target_calls: int | None
    guard_calls: int | None
    judge_calls: int | None
    cost: float | None
    missing: tuple[str, ...] = ()


def plan(matrix: Matrix) -> list[Planned]:
    """What a run would take.

    Args:
        matrix: The configuration.

    Returns:
        A line for each run. Samples are counted from the data where they are
        here; calls are an upper bound; None where nothing can be said.
    """
    tasks = [_task(step) for step in matrix.benchmarks]
    lines = []
    for defense in matrix.defenses:
        bound = roles(matrix, defense)
        for step, task in zip(matrix.benchmarks, tasks, strict=True):
            samples = _answers(task, matrix)
            missing = missing_roles(task, defense.name, defense.args, bound) if task else []
            asked = _calls(step, defense, matrix)
            if "grader" in missing:
                asked["grader"] = None
            guards = [calls for role, calls in asked.items() if role not in ("target", "grader")]
            for target in matrix.targets:
                cost = _cost(matrix, defense, target.model, samples, asked)
                lines.append(
                    Planned(
                        step.label or step.name,
                        defense.label or defense.name,
                        target.model,
                        samples,
                        _times(samples, asked["target"]),
                        _times(samples, _total(guards)),
                        _times(samples, asked["grader"]),
                        None if missing else cost,
                        tuple(missing),
                    )
                )
    return lines


def plan_sheet(lines: list[Planned]) -> Sheet:
    """The plan as a table, with its sums.

    Args:
        lines: The plan.

    Returns:
        A sheet.
    """

    def show(value: float | None) -> str:
        if value is None:
            return "?"
        return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"

    header = ["Benchmark", "Defense", "Target", "Answers", "Target calls", "Guard calls"]
    sheet = Sheet("Plan (calls at most)", [*header, "Judge calls", "Cost"], [], labels=3)
    for line in lines:
        numbers = [line.samples, line.target_calls, line.guard_calls, line.judge_calls, line.cost]
        sheet.rows.append([line.benchmark, line.defense, line.target, *map(show, numbers)])
    sums = [
        _total([line.samples for line in lines]),
        _total([line.target_calls for line in lines]),
        _total([line.guard_calls for line in lines]),
        _total([line.judge_calls for line in lines]),
    ]
    prices = [line.cost for line in lines if line.cost is not None]
    money = sum(prices) if len(prices) == len(lines) else None
    sheet.rows.append(["all", "", "", *map(show, sums), show(money)])
    sheet.notes.append(
        "?: the data are not here, samples are chosen by id, the number of calls is not known "
        "before, or a model has no price (prices: in the configuration)."
    )
    runs = dict.fromkeys((line.defense, line.benchmark, line.missing) for line in lines)
    for defense, benchmark, missing in runs:
        if missing:
            sheet.notes.append(
                f"{defense} on {benchmark} will not run: no model for the role "
                f"{' or '.join(missing)}."
            )
    return sheet


def _task(step: Step) -> Task | None:
    """A benchmark's task; None where the data are not here."""
    try:
        return make_task(step)
    except UnknownName:
        raise
    except UserError:
        return None


def _answers(task: Task | None, matrix: Matrix) -> int | None:
    """Answers to be made; None where the data are not here, or samples are chosen by id."""
    if task is None or matrix.options.get("sample_id") is not None:
        return None
    size = len(task.dataset)
    epochs: int = matrix.options.get("epochs", task.epochs or 1)
    return (min(size, matrix.limit) if matrix.limit else size) * epochs


def _calls(step: Step, defense: Defense, matrix: Matrix) -> dict[str, int | None]:
    """Calls a sample of the target and of each role."""
    judging = matrix.options.get("score", True)
    judges = len(roles(matrix, defense).get("grader", ())) if judging else 0
    own = _OFFICIAL.get(step.name)
    if step.args.get("win_rate"):
        own = 2  # Both orders.
    choice = step.args.get("judge", "all")
    questions: int | None = 0
    if judges and choice not in ("none", "oracle"):
        of_own = 0 if choice == "general" else own
        questions = _total([of_own, 0 if choice == "official" else 1])
    guards = _GUARD_CALLS.get(defense.name, {"?": None})
    return {
        "target": _TARGET_CALLS.get(defense.name),
        "grader": _times(questions, judges),
        **guards,
    }


def _cost(
    matrix: Matrix,
    defense: Defense,
    target: str,
    samples: int | None,
    asked: dict[str, int | None],
) -> float | None:
    bound = roles(matrix, defense)
    total = 0.0
    for role, calls in asked.items():
        number = _times(samples, calls)
        if number == 0:
            continue
        names = [target] if role == "target" else [each.model for each in bound.get(role, ())]
        # A role without a model that needs none is a classifier in the process and costs nothing.
        for name in names:
            price = matrix.prices.get(name)
            if price is None or number is None:
                return None
            tokens = price.input * price.input_tokens + price.output * price.output_tokens
            total += number / len(names) * tokens / 1e6
        if number is None:
            return None
    return total


def _times(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one * other


def _total(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
