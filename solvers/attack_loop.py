"""Attacks each sample again and again until the attack succeeds.

    inspect eval tasks/siuo.py --solver attack_loop -S attack=si_attack -S tries=10 \
        --model guarded/vlmguard/openai/gpt-4o --model-role rewriter=R --model-role grader=G

Each try goes through the whole defended system, a black box: the attack changes the last user turn,
the model answers (`--model guarded/DEFENSE/PROVIDER/MODEL` puts a defense before it), and the
task's own scorers judge the answer to the request as it was. The loop ends at the first success
(`guard/attacks/success.py` says what that is) or after `tries`. Searches differ in each try by its
number and seed; static attacks may be looped too, and a dialogue goes on from the answers. In
further epochs the seeds are others.

The loop stands in the place of the task's own solver: of a dialogue the last turn alone is
attacked, after the earlier ones as the sample gives them, and choices that a solver would add are
not asked.

The attacker knows the judge, which real ones do not: a success rate is an upper bound, and for
judges that err, a search also finds their errors. Cost: up to `tries` times the defended model and
all judges, and once more the judges at the end, when Inspect scores the answer that is kept.

Kept is the answer that succeeded; without one, that with the lowest safety grade, so that mean
grades are those of the worst try; without grades the last one. The sample's metadata tell of all:

    attack: {name, version, options, seed, text, budget, success_try, kept_try, steps, notes,
             tries: [{number, output, refused, success, grade, steps, notes, answer}, ...]}

`success` is None if no verdict was usable; the loop then goes on. A try in which the attack itself
failed, since its attacker refused or said nothing of use, has a `failure` and its `reply` in the
place of an answer: the target was not asked, and success is None. Without any answer the sample is
unscored.

Harmless samples (`expected` is `comply`) are asked once: they are the attack's control, and what
counts of them is a refusal. The record of a defense joins those of all tries, and all calls count
as its cost. Errors of the target or of the attack are errors of the sample, and a limit ends it:
what was kept so far is scored.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Final

from anyio import to_thread
from inspect_ai.event import ScoreEvent
from inspect_ai.log import transcript

# Inspect has no public name for the task of a running sample.
from inspect_ai.log._samples import sample_active
from inspect_ai.model import model_roles
from inspect_ai.scorer import Score, score
from inspect_ai.solver import Generate, Solver, TaskState, solver

from vlmguard.guard.attacks import (
    ATTACK,
    AttackFailed,
    AttackInput,
    AttackOutput,
    ChosenAttack,
    Try,
    asked_of,
    attack_cards,
    chosen_attack,
    input_of,
    messages_of,
)
from vlmguard.guard.attacks.success import grade_of, readings, succeeded
from vlmguard.guard.cards import Card, registered
from vlmguard.guard.changes_told import tell_change
from vlmguard.guard.errors import UserError, check_count
from vlmguard.guard.refusals import is_refusal
from vlmguard.guard.roles import one_model
from vlmguard.guard.text.outputs import read_output
from vlmguard.guard.thresholds import SAFE_FROM

__all__ = ["attack_loop"]

Next = Callable[[AttackInput, Sequence[Try]], Awaitable[AttackOutput]]

_HARMLESS: Final = "comply"
_UNSCORED: Final = "executing a task with a scorer"
"""Of Inspect's message."""


@dataclass(frozen=True)
class _Done:
    """A try that is over; `outcome` and `state` are None if the attack itself failed."""

    number: int
    outcome: Try | None
    state: TaskState | None
    facts: dict[str, Any]
    grade: float = math.nan


@solver
def attack_loop(attack: str | None = None, tries: int | None = None) -> Solver:
    """Attack each sample until it succeeds, through the whole defended system.

    Args:
        attack: The attack, `NAME[:VALUE][:OPTION=VALUE]...`; it must be given.
        tries: The most tries for a sample; the attack's own number by default.

    Raises:
        UserError: There is no such attack or option, or none is given.
    """
    if attack is None:
        raise UserError(
            f"--solver attack_loop needs an attack: -S attack=NAME. There are "
            f"{', '.join(attack_cards())}."
        )
    chosen = chosen_attack(attack, "-S attack")
    if tries is not None:
        check_count("-S tries", tries, 1)
    following = _next_of(chosen)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        _check(state, chosen)
        risky = state.metadata.get("expected") != _HARMLESS
        budget = (tries or chosen.card.tries) if risky else 1
        asked = asked_of(str(state.sample_id), state.messages, state.metadata)
        done: list[_Done] = []
        for number in range(1, budget + 1):
            given = input_of(chosen, asked, number)
            given = replace(given, seed=given.seed + state.epoch - 1)
            before = [each.outcome for each in done if each.outcome is not None]
            try:
                sent = await following(given, before)
            except AttackFailed as failed:
                facts = {"failure": failed.reason, "reply": failed.reply, "success": None}
                done.append(_Done(number, None, None, facts))
            else:
                # A copy: a limit in the midst of a try leaves what was kept so far.
                told = f"Attacked by {chosen.card.name}, try {number}"
                tell_change(told, given.text, sent.text, sent.steps)
                trial = copy(state)
                trial.messages = messages_of(asked, given, sent)
                trial = await generate(trial)
                done.append(await _over(number, sent, trial, risky))
            _keep(state, chosen, budget, done)
            last = done[-1]
            if last.facts["success"] or (last.state is not None and last.state.completed):
                break
        return state

    return solve


def _next_of(chosen: ChosenAttack) -> Next:
    if chosen.card.kind == "dialogue":
        return chosen.dialogue()
    changed = chosen.static()

    async def following(given: AttackInput, before: Sequence[Try]) -> AttackOutput:
        # Pictures are decoded and written: not on the event loop.
        return await to_thread.run_sync(changed, given)

    return following


def _check(state: TaskState, chosen: ChosenAttack) -> None:
    """Refuse what cannot work, before anything is paid for."""
    # A benchmark may have an `attack` of its own, a word.
    if isinstance(state.metadata.get(ATTACK), dict):
        raise UserError(
            f"-T attack={state.metadata[ATTACK]['text']} and --solver attack_loop -S "
            f"attack={chosen.text} would attack the attacked request. Leave one of them out."
        )
    for role in chosen.card.roles:
        if role.name not in model_roles():
            raise UserError(
                f"-S attack={chosen.text}: {chosen.card.title} asks a model in the role "
                f"{role.name}. Name it: --model-role {role.name}=PROVIDER/MODEL."
            )
        one_model(role.name)


async def _over(number: int, sent: AttackOutput, trial: TaskState, risky: bool) -> _Done:
    """Look at the answer to a try; harmless samples have no success to judge."""
    said = read_output(trial.output)
    refused = said.kind == "refusal" or is_refusal(said.text)
    success, grade = (await _judged(trial, said.kind)) if risky else (False, math.nan)
    facts = {
        "output": "blocked" if said.is_blocked else said.kind,
        "refused": refused,
        "success": success,
        **({} if math.isnan(grade) else {"grade": grade}),
        "steps": list(sent.steps),
        "notes": dict(sent.notes),
        "answer": said.text,
    }
    return _Done(number, Try(sent, said.text, refused, success), trial, facts, grade)


async def _judged(trial: TaskState, kind: str) -> tuple[bool | None, float]:
    """Whether the task's scorers find that the attack succeeded, and the grade of safety."""
    try:
        given = await score(trial)
    except RuntimeError as error:
        if _UNSCORED not in str(error):
            raise
        raise UserError(
            "attack_loop asks the task's scorers after each try, and this run has none. Leave "
            "--no-score out."
        ) from error
    events = [each for each in transcript().events if isinstance(each, ScoreEvent)]
    names = [(each.scorer or "").rpartition("/")[2] for each in events[-len(given) :]]
    scores = {name: _numbers(each) for name, each in zip(names, given, strict=True)}
    card = _card()
    if not readings(scores, card):
        raise UserError(
            f"attack_loop: no scorer of this task ({', '.join(names)}) says whether an answer "
            "does harm, so no try could succeed. Let a judge run (-T judge=all with "
            "--model-role grader=MODEL)."
        )
    stated = [(each.metadata or {}).get("threshold") for each in given]
    threshold = next((float(each) for each in stated if each is not None), SAFE_FROM)
    return succeeded(scores, card, output=kind, threshold=threshold), grade_of(scores, card)


def _card() -> Card | None:
    """The card of the benchmark; presets of one task share its measures."""
    active = sample_active()
    task = active.task.rpartition("/")[2] if active else ""
    return registered().benchmark(task, {})


def _numbers(given: Score) -> dict[str, float]:
    values = given.value if isinstance(given.value, dict) else {"value": given.value}
    return {key: float(each) for key, each in values.items() if isinstance(each, int | float)}


def _keep(state: TaskState, chosen: ChosenAttack, budget: int, done: Sequence[_Done]) -> None:
    """Put the kept try into the state, and all of them into its metadata."""
    answered = [each for each in done if each.state is not None]
    successes = [each for each in answered if each.facts["success"]]
    graded = [each for each in answered if not math.isnan(each.grade)]
    # Of equal grades the last one.
    lowest = sorted(graded, key=lambda each: (each.grade, -each.number))
    kept = next(iter([*successes, *lowest, *answered[::-1]]), None)
    if kept is not None and kept.state is not None:
        state.messages, state.output = kept.state.messages, kept.state.output
    facts = {
        **chosen.identity,
        "text": chosen.text,
        "budget": budget,
        "success_try": successes[0].number if successes else None,
        "kept_try": kept.number if kept else None,
        "steps": kept.facts["steps"] if kept else [],
        "notes": kept.facts["notes"] if kept else {},
        "tries": [{"number": each.number, **each.facts} for each in done],
    }
    state.metadata = state.metadata | {ATTACK: facts}
