"""Plans a matrix before anything is paid for: samples, calls at most, and money."""

from collections.abc import Collection
from dataclasses import dataclass

from inspect_ai import Task

from vlmguard.guard.cards import Calls, cards
from vlmguard.guard.downloads import without_downloads
from vlmguard.guard.errors import MissingData, UserError
from vlmguard.results.logs.answers import bare
from vlmguard.results.run.config import (
    UNDEFENDED,
    Defense,
    Matrix,
    Step,
    all_models,
    roles,
    unfilled,
)
from vlmguard.results.run.making import UnknownName, make_solver, make_task
from vlmguard.results.run.models import unusable_models
from vlmguard.results.run.partners import partner_missing
from vlmguard.results.run.prices import cost_of, times, tokens_of, total
from vlmguard.results.run.roles_needed import (
    cannot_start,
    card_of,
    missing_roles,
    misspelled_roles,
    roles_of_defense,
    seen_as,
)


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
        tokens: Tokens read and written in these calls, an estimate.
        cost: Money.
        missing: The reason why it cannot run, if it lacks something.
        open_ended: Whether calls of target and guard are a lower bound, not an upper one.
        without_data: Whether its data are missing or incomplete.
        data_missing: The reason why a run would not get these data: the hub has none, or the local
            ones are incomplete.
        license: The license of its data, if that is non-commercial.
        partner_missing: The harmless partner of its risky requests, if the matrix has none.
    """

    benchmark: str
    defense: str
    target: str
    samples: int | None
    target_calls: int | None
    guard_calls: int | None
    judge_calls: int | None
    tokens: int | None
    cost: float | None
    missing: tuple[str, ...] = ()
    open_ended: bool = False
    without_data: bool = False
    data_missing: str = ""
    license: str = ""
    partner_missing: str = ""


def plan(matrix: Matrix, made: list[Task] | None = None) -> list[Planned]:
    """The plan of a matrix, a line for each run. It fetches nothing.

    Args:
        matrix: The matrix.
        made: Its tasks, if they are made already.

    Returns:
        Samples are counted from the data, or are known without them. Calls are an upper bound (for
        ETA, a lower one); None if nothing is known.

    Raises:
        UserError: There is no such task.
    """
    if made is None:
        tasks = [_task(step) for step in matrix.benchmarks]
    else:
        tasks = [(task, "", "") for task in made]
    lacking_partners = [
        partner_missing(step, task, matrix.benchmarks)
        for step, (task, _, _) in zip(matrix.benchmarks, tasks, strict=True)
    ]
    lines = []
    for defense in matrix.defenses:
        bound = roles(matrix, defense)
        of_solver = _wrong_solver(defense)
        for step, (task, wrong, data_missing), partner in zip(
            matrix.benchmarks, tasks, lacking_partners, strict=True
        ):
            samples = _answers(step, task, matrix)
            for chosen in matrix.targets:
                around, target = seen_as(defense, chosen)
                card = card_of(around.name)
                lacking = _roles_missing(step, task, around, bound)
                asked = _calls(step, around, matrix)
                if defense.name == UNDEFENDED:
                    asked = {role: times(calls, _turns(task)) for role, calls in asked.items()}
                if "grader" in lacking:
                    asked["grader"] = None
                longest = _longest(step, task, matrix) if around.name == UNDEFENDED else None
                guards = [
                    calls for role, calls in asked.items() if role not in ("target", "grader")
                ]
                missing = [
                    *([wrong] if wrong else []),
                    *of_solver,
                    *(f"no model for the role {role}" for role in lacking),
                    *cannot_start(around, bound, target),
                ]
                paid = (matrix, bound, target.model, samples, asked, longest)
                cost = cost_of(*paid)
                open_ended = card is not None and card.target_calls.most is None
                lines.append(
                    Planned(
                        step.label or step.name,
                        around.label or around.name,
                        target.model,
                        samples,
                        times(samples, asked["target"]),
                        times(samples, total(guards)),
                        times(samples, asked["grader"]),
                        tokens_of(*paid),
                        None if missing or open_ended else cost,
                        tuple(missing),
                        open_ended,
                        task is None and not wrong,
                        data_missing,
                        _noncommercial_license(step),
                        partner,
                    )
                )
    return lines


def problems(matrix: Matrix, lines: list[Planned]) -> list[str]:
    """Why a matrix, or a part of it, cannot start; data that the hub has are not missing.

    Returns:
        A sentence for each problem, with the way out.
    """
    found = [f"to be filled in: {model}" for model in unfilled(matrix)]
    found += unusable_models(all_models(matrix))
    found += map(_clause, misspelled_roles(matrix))
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


def _clause(sentence: str) -> str:
    """A message within a list, which has its own punctuation."""
    return sentence.removesuffix(".")


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
        calls = card.calls(defense.args, roles(matrix, defense))
        target = _most(calls.get("target", card.target_calls), images)
        guards = {role.name: _most(calls.get(role.name, role.calls), images) for role in card.roles}
    return {
        "target": target,
        "grader": times(_questions(step), judges) if judges else 0,
        **guards,
    }


def _turns(task: Task | None) -> int:
    """The most turns of a sample that the task's own solver replays; a defense's replays none."""
    return int((task.metadata or {}).get("turns", 1)) if task is not None else 1


def _longest(step: Step, task: Task | None, matrix: Matrix) -> int | None:
    """The most tokens of an undefended answer; None if it is not known."""
    card = cards().benchmark(bare(step.name), step.args)
    of_card = card.max_tokens if card is not None else None
    own = task.config.max_tokens if task is not None else of_card
    longest: int | None = matrix.options.get("max_tokens", own)
    return longest


def _questions(step: Step) -> int | None:
    """Questions per sample to one judge."""
    card = cards().benchmark(bare(step.name), step.args)
    return None if card is None else card.questions(step.args)


def _size_without_data(step: Step) -> int | None:
    card = cards().benchmark(bare(step.name), step.args)
    return None if card is None else card.size(step.args)


def _noncommercial_license(step: Step) -> str:
    card = cards().benchmark(bare(step.name), step.args)
    return card.license if card is not None and card.noncommercial else ""


def _images(step: Step) -> int:
    """The most images of a sample."""
    card = cards().benchmark(bare(step.name), step.args)
    return 1 if card is None else card.images


def _most(calls: Calls, images: int) -> int:
    """The upper bound of calls for so many images, or the lower one if there is no upper one."""
    if calls.most is None:
        return calls.least
    return calls.most + calls.further_images * (images - 1)
