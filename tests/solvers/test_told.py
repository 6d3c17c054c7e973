"""What a transcript tells of a defense: before the target is asked, or behind its answer."""

from pathlib import Path
from typing import Any

from inspect_ai import Task, task_with
from inspect_ai import eval as inspect_eval
from inspect_ai.event import InfoEvent, ModelEvent
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.scorer import includes
from inspect_ai.solver import generate
from support.guarded import guarded_model
from support.scripted import Scripted, picture, run_solver, sample

from vlmguard.guard.defense import REFUSAL_MESSAGE
from vlmguard.solvers import ecso, figstep_defense, vlmguard
from vlmguard.tasks.attacking import attack_applied

NEW = "Name the safe one."


def events(log: EvalLog) -> list[Any]:
    """Of the first sample: the texts that were told, and the roles of the models asked."""
    read = read_eval_log(log.location, resolve_attachments=True)
    assert read.samples is not None
    found: list[Any] = []
    for event in read.samples[0].events:
        if isinstance(event, InfoEvent) and isinstance(event.data, str):
            found.append(event.data)
        elif isinstance(event, ModelEvent):
            found.append(event.role or "target")
    return found


def rewriter(prompt: str = NEW) -> Scripted:
    said = f"<reasoning>It is sharp.</reasoning><prompt>{prompt}</prompt>"
    return Scripted(said, name="rewriter")


def test_a_rewrite_is_told_before_the_target_is_asked() -> None:
    roles = {"rewriter": rewriter()}
    log = run_solver(vlmguard(), [sample("Which one?", picture())], Scripted("This."), roles=roles)
    first, told, last = events(log)
    assert (first, last) == ("rewriter", "target")
    assert told.startswith("**vlmguard: the request was changed**")
    assert "Before:\n\n```text\nWhich one?\n```" in told
    assert f"After:\n\n```text\n{NEW}\n```" in told
    assert "It is sharp." in told.partition("Why:")[2]


def test_a_request_that_stays_is_not_told_of() -> None:
    roles = {"rewriter": rewriter("Which one?")}
    log = run_solver(vlmguard(), [sample("Which one?", picture())], Scripted("This."), roles=roles)
    assert events(log) == ["rewriter", "target"]


def test_a_reply_that_could_not_be_used_is_told() -> None:
    roles = {"rewriter": Scripted("", name="rewriter")}
    log = run_solver(vlmguard(), [sample("Which one?", picture())], Scripted("This."), roles=roles)
    (told,) = [each for each in events(log) if each not in ("rewriter", "target")]
    assert "could not be used" in told
    assert "failure: empty" in told


def test_a_block_is_told_with_what_the_user_reads() -> None:
    roles = {"rewriter": Scripted("", name="rewriter")}
    solver = vlmguard(on_failure="refuse")
    log = run_solver(solver, [sample("Which one?", picture())], Scripted("This."), roles=roles)
    (told,) = [each for each in events(log) if each not in ("rewriter", "target")]
    assert told.startswith("**vlmguard: blocked**")
    assert REFUSAL_MESSAGE in told


def test_an_answer_in_the_place_of_another_is_told_behind_it() -> None:
    def says(call: Any) -> str:
        return "yes" if "harmful" in call.text.lower() else "A harmful answer."

    log = run_solver(ecso(), [sample("How?", picture())], Scripted(says))
    told = events(log)[-1]
    assert told.startswith("**ecso: another answer took the place of the first**")
    assert "Before:\n\n```text\n" in told


def test_a_guarded_model_tells_in_any_task(tmp_path: Path) -> None:
    asked = sample("Which?", picture())
    task = Task(dataset=[asked], solver=generate(), scorer=includes())
    model = guarded_model("figstep_defense", Scripted("This."))
    (log,) = inspect_eval(task, model=model, display="none", log_dir=str(tmp_path))
    (told,) = [each for each in events(log) if each != "target"]
    assert told.startswith("**figstep_defense: the request was changed**")


def test_an_attack_is_told_before_the_defense(tmp_path: Path) -> None:
    task = task_with(
        Task(dataset=[sample("Which?", picture())], solver=figstep_defense()),
        setup=attack_applied("adaptive:R10"),
    )
    target = Scripted("This.").model
    (log,) = inspect_eval(task, model=target, display="none", log_dir=str(tmp_path))
    attacked, defended, last = events(log)
    assert attacked.startswith("**Attacked by adaptive:R10**")
    assert "Before:\n\n```text\nWhich?\n```" in attacked
    assert defended.startswith("**figstep_defense: ")
    assert last == "target"
