"""Plans a matrix before anything is paid for: samples, calls at most, and money."""

from collections.abc import Collection
from dataclasses import dataclass

from inspect_ai import Task

from vlmguard.guard.cards import Calls, cards
from vlmguard.guard.downloads import without_downloads
from vlmguard.guard.errors import MissingData, UserError
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.logs.answers import bare
from vlmguard.results.run.config import UNDEFENDED, Defense, Matrix, Step, roles, unfilled
from vlmguard.results.run.making import UnknownName, make_solver, make_task
from vlmguard.results.run.roles_needed import cannot_start, card_of, missing_roles, roles_of_defense


@dataclass(frozen=True)
class Planned:
    """The plan of one benchmark under one defense on one target.

    Attributes:
        benchmark: Its label.
        defense: Its label.
        target: The model.
        samples: Answers: samples times epochs.
        target_calls: Calls of the target.
        guard_calls: Calls of all other models but the judges.
        judge_calls: Calls of all judges.
        cost: Money.
        missing: The reason why it cannot run, if it lacks something.
        open_ended: Whether calls of target and guard are a lower bound, not an upper one.
        without_data: Whether its data are missing or incomplete.
        data_missing: The reason why a run would not get these data: the hub has none, or the local
            ones are incomplete.
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
    open_ended: bool = False
    without_data: bool = False
    data_missing: str = ""


def plan(matrix: Matrix) -> list[Planned]:
    """The plan of a matrix, a line for each run. It fetches nothing.

    Returns:
        Samples are counted from the data, or are known without them. Calls are an upper bound (for
        ETA, a lower one); None if nothing is known.

    Raises:
        UserError: There is no such task.
    """
    tasks = [_task(step) for step in matrix.benchmarks]
    lines = []
    for defense in matrix.defenses:
        bound = roles(matrix, defense)
        of_solver = _wrong_solver(defense)
        card = card_of(defense.name)
        for step, (task, wrong, data_missing) in zip(matrix.benchmarks, tasks, strict=True):
            samples = _answers(step, task, matrix)
            lacking = _roles_missing(step, task, defense, bound)
            asked = _calls(step, defense, matrix)
            if "grader" in lacking:
                asked["grader"] = None
            guards = [calls for role, calls in asked.items() if role not in ("target", "grader")]
            for target in matrix.targets:
                missing = [
                    *([wrong] if wrong else []),
                    *of_solver,
                    *(f"no model for the role {role}" for role in lacking),
                    *cannot_start(defense, bound, target),
                ]
                cost = _cost(matrix, defense, target.model, samples, asked)
                open_ended = card is not None and card.target_calls.most is None
                lines.append(
                    Planned(
                        step.label or step.name,
                        defense.label or defense.name,
                        target.model,
                        samples,
                        _times(samples, asked["target"]),
                        _times(samples, _total(guards)),
                        _times(samples, asked["grader"]),
                        None if missing or open_ended else cost,
                        tuple(missing),
                        open_ended,
                        task is None and not wrong,
                        data_missing,
                    )
                )
    return lines


def problems(matrix: Matrix, lines: list[Planned]) -> list[str]:
    """Why a matrix, or a part of it, cannot start; data that the hub has are not missing.

    Returns:
        A sentence for each problem, with the way out.
    """
    found = [f"to be filled in: {model}" for model in unfilled(matrix)]
    folders = [defense.label or defense.name for defense in matrix.defenses]
    if len(set(folders)) < len(folders):
        found.append("two defenses share a log folder: give each a label: of its own")
    benchmarks: dict[tuple[str, str], dict[str, None]] = {}
    for line in lines:
        if line.missing:
            of = benchmarks.setdefault((line.defense, "; ".join(map(_clause, line.missing))), {})
            of[line.benchmark] = None
    found += [
        f"{defense} on {', '.join(names)} will not run: {missing}"
        for (defense, missing), names in benchmarks.items()
    ]
    found += dict.fromkeys(
        f"{line.benchmark} will not run: {_clause(line.data_missing)}"
        for line in lines
        if line.data_missing
    )
    return found


def matrix_sheet(lines: list[Planned], targets: int) -> Sheet:
    """Benchmarks x defenses: the calls on one target, the same for each target.

    Args:
        lines: The plan.
        targets: Number of targets.
    """
    defenses = list(dict.fromkeys(line.defense for line in lines))
    cells = {
        (line.benchmark, line.defense): f"{_of_guard(line, line.target_calls)} / "
        f"{_of_guard(line, line.guard_calls)} / {_show(line.judge_calls)}"
        for line in lines
    }
    answers = {line.benchmark: line.samples for line in lines}
    rows = [
        [name, _show(samples), *(cells[name, defense] for defense in defenses)]
        for name, samples in answers.items()
    ]
    on = "the target" if targets == 1 else f"each of {targets} targets"
    title = f"Calls at most on {on}: target / guard / judge"
    sheet = Sheet(title, ["Benchmark", "Answers", *defenses], rows)
    if any(line.open_ended for line in lines):
        sheet.notes.append("+: at least; how many more depends on the answers.")
    return sheet


def plan_sheet(lines: list[Planned]) -> Sheet:
    """The plan as a table, with its sums."""
    header = ["Benchmark", "Defense", "Target", "Answers", "Target calls", "Guard calls"]
    sheet = Sheet("Plan (calls at most)", [*header, "Judge calls", "Cost"], [], labels=3)
    for line in lines:
        calls = [_of_guard(line, line.target_calls), _of_guard(line, line.guard_calls)]
        numbers = [_show(line.samples), *calls, _show(line.judge_calls), _show(line.cost)]
        sheet.rows.append([line.benchmark, line.defense, line.target, *numbers])
    more = "+" if any(line.open_ended for line in lines) else ""
    prices = [line.cost for line in lines if line.cost is not None]
    sums = [
        _show(_total([line.samples for line in lines])),
        _show(_total([line.target_calls for line in lines]), more),
        _show(_total([line.guard_calls for line in lines]), more),
        _show(_total([line.judge_calls for line in lines])),
        _show(sum(prices) if len(prices) == len(lines) else None),
    ]
    sheet.rows.append(["all", "", "", *sums])
    sheet.notes.append(
        "?: the number of samples or calls is not known before, samples are chosen by id, or a "
        "model has no price (prices: in the configuration). +: at least."
    )
    absent = [line for line in lines if line.without_data]
    if missing := _benchmarks([line for line in absent if line.data_missing]):
        sheet.notes.append(
            f"Counted without their data, which are missing or not complete: {missing}. "
            "vlmguard data says where to get them; the run does not start before."
        )
    if fetched := _benchmarks([line for line in absent if not line.data_missing]):
        sheet.notes.append(
            f"Counted without their data, which the run fetches from the hub first: {fetched}."
        )
    return sheet


def _benchmarks(lines: list[Planned]) -> str:
    return ", ".join(dict.fromkeys(line.benchmark for line in lines))


def _clause(sentence: str) -> str:
    """A message within a list, which has its own punctuation."""
    return sentence.removesuffix(".")


def _show(value: float | None, more: str = "") -> str:
    if value is None:
        return "?"
    return (f"{value:,.2f}" if isinstance(value, float) else f"{value:,}") + more


def _of_guard(line: Planned, calls: int | None) -> str:
    return _show(calls, "+" if line.open_ended else "")


def _task(step: Step) -> tuple[Task | None, str, str]:
    """A benchmark's task (None without its data), the error in its arguments, and missing data."""
    try:
        with without_downloads():
            return make_task(step), "", ""
    except UnknownName:
        raise
    except MissingData as error:
        return None, "", "" if error.on_hub else str(error)
    except UserError as error:
        return None, str(error), ""


def _wrong_solver(defense: Defense) -> list[str]:
    """Why a defense's solver cannot be made: unknown name or argument, missing file."""
    try:
        make_solver(defense)
    except UserError as error:
        return [str(error)]
    return []


def _roles_missing(
    step: Step, task: Task | None, defense: Defense, bound: Collection[str]
) -> list[str]:
    """Roles without a model; those of a task without its data follow from its arguments."""
    if task is not None:
        return missing_roles(task, defense.name, defense.args, bound)
    judged = ["grader"] if _questions(step) else []
    wanted = [*judged, *roles_of_defense(defense.name, defense.args)]
    return [role for role in wanted if role not in bound]


def _answers(step: Step, task: Task | None, matrix: Matrix) -> int | None:
    """Number of answers; None if it is not known."""
    if matrix.options.get("sample_id") is not None:
        return None
    size = len(task.dataset) if task is not None else _size_without_data(step)
    own = step.args.get("samples", 1) if task is None else task.epochs or 1
    epochs: int = matrix.options.get("epochs", own)
    if size is None:
        return None
    return (min(size, matrix.limit) if matrix.limit else size) * epochs


def _calls(step: Step, defense: Defense, matrix: Matrix) -> dict[str, int | None]:
    """Calls per sample, of the target and of each role."""
    judging = matrix.options.get("score", True)
    judges = len(roles(matrix, defense).get("grader", ())) if judging else 0
    card = card_of(defense.name)
    target: int | None = None
    guards: dict[str, int | None] = {"?": None}
    if defense.name == UNDEFENDED:
        target, guards = 1, {}
    elif card is not None:
        images = _images(step)
        target = _most(card.target_calls, images)
        guards = {role.name: _most(role.calls, images) for role in card.roles}
    return {
        "target": target,
        "grader": _times(_questions(step), judges) if judges else 0,
        **guards,
    }


def _questions(step: Step) -> int | None:
    """Questions per sample to one judge."""
    card = cards().benchmark(bare(step.name), step.args)
    return None if card is None else card.questions(step.args)


def _size_without_data(step: Step) -> int | None:
    card = cards().benchmark(bare(step.name), step.args)
    return None if card is None else card.size(step.args)


def _images(step: Step) -> int:
    """The most images of a sample."""
    card = cards().benchmark(bare(step.name), step.args)
    return 1 if card is None else card.images


def _most(calls: Calls, images: int) -> int:
    """The upper bound of calls for so many images, or the lower one if there is no upper one."""
    if calls.most is None:
        return calls.least
    return calls.most + calls.further_images * (images - 1)


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
        # A role that needs no model is a classifier in this process and costs nothing.
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
