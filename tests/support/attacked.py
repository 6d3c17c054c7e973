"""Logs under attack, made from one: with the attacks that a test needs, and counted outcomes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import EvalLog
from support.clones import clone, template_log

from vlmguard.guard.attacks import Attack, AttackCard, AttackOutput, attack, base

TARGET = "mockllm/target"


def _card(name: str, **more: Any) -> AttackCard:
    return AttackCard(name=name, title=name, version="1-A", paper="ours", summary="", **more)


CARDS = [
    _card("figstep"),
    _card("mml"),
    *(_card(f"adaptive:{name}", adaptive=True) for name in ("R1", "R2", "R3", "R6")),
    _card("adaptive:R10", on="all"),
    _card("adaptive:R12", on="benign"),
    _card("shuffle", kind="search", tries=5),
]


@contextmanager
def known_attacks() -> Iterator[None]:
    """These attacks, and no others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "_CARDS", {})
        patch.setattr(base, "_FACTORIES", {})
        for card in CARDS:

            @attack(card)
            def unchanged() -> Attack:
                return lambda given: AttackOutput(given.text, given.images)

        yield


def template(folder: Path, size: int, benign: int) -> EvalLog:
    """A real log whose samples are in the order of their numbers, the harmless ones last."""
    log = template_log(folder, size)
    for number, sample in enumerate(log.samples or []):
        sample.id = f"toy/{number:02}"
        harmless = number >= size - benign
        about = {"expected": "comply" if harmless else "care", "image_id": f"{number // 2}.png"}
        sample.metadata = {**sample.metadata, **about}
    return log


def under(name: str, seed: int = 0, version: str = "1-A") -> Callable[[EvalLog], None]:
    """Put a log under a static attack."""

    def change(log: EvalLog) -> None:
        text = f"{name}:seed={seed}" if seed else name
        facts = {"name": name, "version": version, "options": {}, "seed": seed, "text": text}
        log.eval.metadata = {**(log.eval.metadata or {}), "attack": facts}
        log.eval.task_args = {**log.eval.task_args, "attack": text}
        log.eval.task_args_passed = {**log.eval.task_args_passed, "attack": text}

    return change


def looped(
    name: str, tries: Mapping[int, list[bool | None]], defense: str = "vlmguard", most: int = 5
) -> Callable[[EvalLog], None]:
    """Make a log that of a loop.

    Args:
        name: The attack.
        tries: By number of the sample what became of its tries; by default all were in vain.
        defense: What stands around the model.
        most: The most tries.
    """

    def change(log: EvalLog) -> None:
        log.eval.solver = "vlmguard/attack_loop"
        log.eval.solver_args_passed = {"attack": name, "tries": most}
        if defense != "none":
            log.eval.model = f"guarded/{defense}/{TARGET}"
        for number, sample in enumerate(log.samples or []):
            harmless = sample.metadata["expected"] == "comply"
            made = tries.get(number, [False] * (1 if harmless else most))
            success = made.index(True) + 1 if True in made else None
            facts = {
                "name": name,
                "version": "1-A",
                "seed": 0,
                "budget": 1 if harmless else most,
                "success_try": success,
                "kept_try": success or len(made),
                "tries": [
                    {"number": n, "success": each, "answer": "x" * 999}
                    for n, each in enumerate(made, start=1)
                ],
            }
            sample.metadata = {**sample.metadata, "attack": facts}

    return change


def outcomes(
    size: int, benign: int, harmed: int, refused: int = 0, over: int = 0
) -> Callable[[int], tuple[float, float, float]]:
    """Grades by number: the first risky samples are harmed, the last of them refused.

    Args:
        size: Number of samples.
        benign: Of these harmless, from the end.
        harmed: Risky ones whose answer does the harm.
        refused: Risky ones that are refused.
        over: Harmless ones that are refused.
    """
    risky = size - benign

    def grades(number: int) -> tuple[float, float, float]:
        if number < harmed:
            return 2.0, 1.0, 0.0
        is_refused = risky - refused <= number < risky or number >= size - over
        return 9.0, float(not is_refused), float(is_refused)

    return grades


def add(
    log: EvalLog,
    folder: Path,
    name: str,
    grades: Callable[[int], tuple[float, float, float]],
    *changes: Callable[[EvalLog], None],
    defense: str = "vlmguard",
    benchmark: str = "Cellar",
) -> Path:
    """Write a log of the benchmark; each change is made in turn."""

    def change(made: EvalLog) -> None:
        for each in changes:
            each(made)

    path = folder / f"{name}.eval"
    return clone(
        log, path, grades, target=TARGET, defense=defense, benchmark=benchmark, change=change
    )


def only(*numbers: int) -> Callable[[EvalLog], None]:
    """Keep some samples alone."""

    def change(log: EvalLog) -> None:
        log.samples = [each for n, each in enumerate(log.samples or []) if n in numbers]

    return change


def unscored(*numbers: int) -> Callable[[EvalLog], None]:
    """Take the judge's verdict from some samples."""

    def change(log: EvalLog) -> None:
        for number in numbers:
            score = (log.samples or [])[number].scores["judge"]  # type: ignore[index]
            score.value = dict.fromkeys(score.value, float("nan"))  # type: ignore[arg-type]

    return change


def expecting(said: str) -> Callable[[EvalLog], None]:
    """Give all samples one `expected`."""

    def change(log: EvalLog) -> None:
        for sample in log.samples or []:
            sample.metadata = {**sample.metadata, "expected": said}

    return change
