"""Plans a matrix before anything is paid for: samples, calls at most, and money."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from inspect_ai import Task

from vlmguard.guard.cards import Calls, cards
from vlmguard.guard.downloads import without_downloads
from vlmguard.guard.errors import MissingData, UserError
from vlmguard.results.logs.answers import bare
from vlmguard.results.run.attack_choice import UNATTACKED
from vlmguard.results.run.config import (
    UNDEFENDED,
    Defense,
    Matrix,
    ModelChoice,
    Step,
    all_models,
    roles,
    unfilled,
)
from vlmguard.results.run.making import UnknownName, make_solver, make_task, with_defaults
from vlmguard.results.run.models import unusable_models
from vlmguard.results.run.partners import is_harmless, partner_missing
from vlmguard.results.run.parts import Part, parts
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
class Made:
    """What became of a benchmark's task.

    Attributes:
        task: The task; None without its data.
        wrong: The error in its arguments.
        data_missing: The reason why a run would not get its data.
    """

    task: Task | None
    wrong: str = ""
    data_missing: str = ""


@dataclass(frozen=True)
class Asked:
    """Calls of the target, of guards, judges and attackers."""

    target: int | None
    guard: int | None
    judge: int | None
    attacker: int | None


@dataclass(frozen=True)
class Planned:
    """The plan of one benchmark under one defense on one target, and one attack.

    Attributes:
        benchmark: Its label.
        defense: Its label.
        target: The model.
        samples: Answers: samples times epochs.
        target_calls: Calls of the target.
        guard_calls: Calls of all other models but the judges and the attacker.
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
        attack: What tables call the attack; `none` without one.
        attacker_calls: Calls of the models that the attack asks.
        at_first: The calls of a search or a dialogue that succeeds at its first try with each
            sample, at most; None without one.
        twin: Whether these are harmless requests beside an attack.
        not_run: The reason why such a twin is not run, with the way to get its data.
    """

    benchmark: str
    defense: str
    target: str
    samples: int | None = 0
    target_calls: int | None = 0
    guard_calls: int | None = 0
    judge_calls: int | None = 0
    tokens: int | None = 0
    cost: float | None = 0.0
    missing: tuple[str, ...] = ()
    open_ended: bool = False
    without_data: bool = False
    data_missing: str = ""
    license: str = ""
    partner_missing: str = ""
    attack: str = UNATTACKED
    attacker_calls: int | None = 0
    at_first: Asked | None = None
    twin: bool = False
    not_run: str = ""

    @property
    def calls(self) -> Asked:
        """All calls."""
        return Asked(self.target_calls, self.guard_calls, self.judge_calls, self.attacker_calls)


def plan(matrix: Matrix) -> list[Planned]:
    """The plan of a matrix, a line for each run. It fetches nothing.

    Args:
        matrix: The matrix.

    Returns:
        Samples are counted from the data, or are known without them. Calls are an upper bound (for
        ETA, a lower one); None if nothing is known.

    Raises:
        UserError: There is no such task or attack.
    """
    plain = [_task(step) for step in matrix.benchmarks]
    known = list(zip(matrix.benchmarks, plain, strict=True))
    lines: list[Planned] = []
    for part in parts(matrix, [made.task for made in plain]):
        made = []
        for step in part.matrix.benchmarks:
            # Tasks without an attack serve all searches, too.
            found = next((task for other, task in known if other == step), None)
            made.append(found or _task(step))
            if found is None and "attack" not in step.args:
                known.append((step, made[-1]))
        lines += lines_of(part, made)
    return lines


def lines_of(part: Part, made: Sequence[Made]) -> list[Planned]:
    """The plan of a part of a matrix, a line for each run.

    Args:
        part: The part.
        made: The task of each of its benchmarks.
    """
    return [
        _line(part, defense, chosen, step, each)
        for defense in part.matrix.defenses
        for step, each in zip(part.matrix.benchmarks, made, strict=True)
        for chosen in part.matrix.targets
    ]


def _line(part: Part, defense: Defense, chosen: ModelChoice, step: Step, made: Made) -> Planned:
    matrix, task = part.matrix, made.task
    bound = roles(matrix, defense)
    around, target = seen_as(defense, chosen)
    named = Planned(
        benchmark=step.label or step.name,
        defense=around.label or around.name,
        target=target.model,
        attack=part.attack,
        twin=part.twin,
    )
    if part.twin and (lacking := made.wrong or made.data_missing):
        return replace(named, not_run=lacking)
    card = card_of(around.name)
    samples = _answers(step, task, matrix)
    lacking_roles = _roles_missing(step, task, around, bound)
    asked = _calls(step, around, matrix)
    if defense.name == UNDEFENDED:
        asked = {role: times(calls, _turns(task)) for role, calls in asked.items()}
    if "grader" in lacking_roles:
        asked["grader"] = None
    asked |= {role.name: role.calls.most for role in part.roles}
    risky = 0 if part.twin else _answers(step, task, matrix, risky=True)
    first, most = _totals(part, asked, samples, risky)
    summed = _summed(part, most)
    missing = [
        *([made.wrong] if made.wrong else []),
        *_wrong_solver(defense),
        *(f"no model for the role {role}" for role in lacking_roles),
        *(
            f"no model for the role {role.name} of {part.attack}"
            for role in part.roles
            if role.needed and role.name not in bound
        ),
        *cannot_start(around, bound, target),
    ]
    longest = _longest(step, task, matrix) if around.name == UNDEFENDED else None
    paid = (matrix, bound, target.model, 1, most, longest)
    cost = cost_of(*paid)
    open_ended = card is not None and card.target_calls.most is None
    return replace(
        named,
        samples=samples,
        target_calls=summed.target,
        guard_calls=summed.guard,
        judge_calls=summed.judge,
        attacker_calls=summed.attacker,
        at_first=None if part.tries is None else _summed(part, first),
        tokens=tokens_of(*paid),
        cost=None if missing or open_ended else cost,
        missing=tuple(missing),
        open_ended=open_ended,
        without_data=task is None and not made.wrong,
        data_missing=made.data_missing,
        license=_noncommercial_license(step),
        partner_missing="" if part.paired else partner_missing(step, task, matrix.benchmarks),
    )


def _totals(
    part: Part, asked: Mapping[str, int | None], samples: int | None, risky: int | None
) -> tuple[dict[str, int | None], dict[str, int | None]]:
    """Calls of each role for all samples: with one try for each, and with all tries.

    Args:
        part: The part.
        asked: Calls for one try.
        samples: Number of answers.
        risky: How many of them are to risky requests; a loop asks about the others once.
    """
    found = []
    for further in (0, (part.tries or 1) - 1):
        tries = total([samples, times(risky, further)])
        calls = {role: times(tries, each) for role, each in asked.items()}
        if part.tries is not None:
            # A loop has each try at a risky request judged, and Inspect the answer that is kept.
            judged = total([samples, times(risky, 1 + further)])
            calls["grader"] = times(judged, asked["grader"])
        found.append(calls)
    return found[0], found[1]


def _summed(part: Part, calls: Mapping[str, int | None]) -> Asked:
    attackers = {role.name for role in part.roles}
    apart = {"target", "grader", *attackers}
    return Asked(
        calls["target"],
        total([each for role, each in calls.items() if role not in apart]),
        calls["grader"],
        total([calls[role] for role in attackers]),
    )


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
    lacking: dict[tuple[str, str], list[Planned]] = {}
    for line in lines:
        if line.missing:
            key = (line.defense, "; ".join(map(_clause, line.missing)))
            lacking.setdefault(key, []).append(line)
    found += [
        f"{defense} on {', '.join(dict.fromkeys(line.benchmark for line in of))}"
        f"{_under(of)} will not run: {missing}"
        for (defense, missing), of in lacking.items()
    ]
    found += dict.fromkeys(
        f"{line.benchmark} will not run: {_clause(line.data_missing)}"
        for line in lines
        if line.data_missing
    )
    return found


def _under(lines: list[Planned]) -> str:
    """The attacks under which something is missing that is there without one."""
    attacks = dict.fromkeys(line.attack for line in lines)
    return "" if UNATTACKED in attacks else f" under {', '.join(attacks)}"


def _clause(sentence: str) -> str:
    """A message within a list, which has its own punctuation."""
    return sentence.removesuffix(".")


def _task(step: Step) -> Made:
    """A benchmark's task, as far as it can be made without fetching anything."""
    try:
        with without_downloads():
            return Made(make_task(step))
    except UnknownName:
        raise
    except MissingData as error:
        return Made(None, data_missing="" if error.on_hub else str(error))
    except UserError as error:
        return Made(None, wrong=str(error))


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


def _answers(step: Step, task: Task | None, matrix: Matrix, risky: bool = False) -> int | None:
    """Number of answers, or of those to risky requests at most; None if it is not known."""
    if matrix.options.get("sample_id") is not None:
        return None
    if task is None:
        size = _size_without_data(step)
    else:
        samples = list(task.dataset)[: matrix.limit] if risky else task.dataset
        size = sum(not (risky and is_harmless(sample)) for sample in samples)
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
    other = cards().tasks.get(bare(step.name))
    if other is not None and other.calls is not None and defense.name == UNDEFENDED:
        own = dict(other.calls(with_defaults(step)))
        return {"target": 0, **own, "grader": times(own.get("grader", 0), judges)}
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
