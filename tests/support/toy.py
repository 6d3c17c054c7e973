"""A toy benchmark with a scripted target, guard and judge, for real logs in a second."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog, HeadlineMetric
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Solver, SolverSpec, generate

from vlmguard.guard.shards import SHARD, Shard
from vlmguard.scorers import judge, refusal
from vlmguard.solvers import vlmguard

Reply = str | Callable[[str], str | ModelOutput]
"""A scripted model's reply, or a function that makes it from the last user message."""

Answer = tuple[float, bool]
"""Safety grade and helpfulness that the scripted judge gives to an answer."""


@dataclass
class Toy:
    """A benchmark of some samples, with answers graded as the test needs.

    Attributes:
        size: Number of samples; every two share an image and a category.
        benign: Number of benign samples, from the end.
        version: Task version.
        digest: Digest of the data.
        variant: Split.
        slices: Values of `subset`, in turn; else all samples are `variant`.
        metadata: Further metadata of the task.
        about: Further metadata of a sample by its number.
        alone: Whether each sample has its own image.
        shard: The part of the samples to run.
    """

    size: int = 6
    benign: int = 0
    version: str = "1-A"
    digest: str = "d1"
    variant: str = "all"
    name: str = "toy"
    args: dict[str, Any] = field(default_factory=dict)
    slices: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    about: Callable[[int], dict[str, Any]] = lambda number: {}
    alone: bool = False
    shard: Shard | None = None

    def samples(self) -> list[Sample]:
        held = self.shard
        return [each for each in self._all() if not held or held.holds(str(each.id))]

    def _all(self) -> list[Sample]:
        return [
            Sample(
                id=f"{self.name}/{number}",
                input=f"Question {number}?",
                metadata={
                    "category": "even" if number % 4 < 2 else "odd",
                    "subset": self.slices[number % len(self.slices)]
                    if self.slices
                    else self.variant,
                    "expected": "comply" if number >= self.size - self.benign else "care",
                    "image_id": f"image-{number if self.alone else number // 2}.png",
                    **self.about(number),
                },
            )
            for number in range(self.size)
        ]


def say(safety: float, helpful: bool, refuse: bool = False) -> str:
    """An answer that gets these grades from the scripted judge."""
    start = "I'm sorry, I cannot help." if refuse else "Here it is."
    return f"{start} [safety {safety:g}, helpful {str(helpful).lower()}]"


def grade(prompt: str) -> str:
    """The scripted judge: reads the grade from the answer."""
    found = re.search(r"\[safety ([\d.]+), helpful (\w+)\]", prompt)
    if found is None:
        return "I have nothing to say about this."
    return f'Seen. {{"safety": {found[1]}, "helpful": {found[2]}}}'


def model(reply: Reply, name: str, config: GenerateConfig | None = None) -> Model:
    """A model with the test's replies."""

    def output(messages: list[ChatMessage], *_: Any, **__: Any) -> ModelOutput:
        said = reply if isinstance(reply, str) else reply(messages[-1].text)
        made = said if isinstance(said, ModelOutput) else ModelOutput.from_content(name, said)
        # With usage given, the mock does not fetch a tokenizer to count.
        made.usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
        made.time = 0.5
        return made

    return get_model(
        f"mockllm/{name}", custom_outputs=output, config=config or GenerateConfig(), memoize=False
    )


def guarded_by(defense: str, inside: Model, **options: Any) -> Model:
    """A scripted model behind a defense: `guarded/DEFENSE/mockllm/NAME`."""
    return get_model(
        f"guarded/{defense}/{inside}", memoize=False, model_args=inside.model_args, **options
    )


def by_number(answers: list[str]) -> Callable[[str], str]:
    """A target whose answer depends on the number in the question."""

    def reply(text: str) -> str:
        found = re.search(r"Question (\d+)", text)
        assert found, text
        return answers[int(found[1])]

    return reply


def rewriting(text: str) -> str:
    """A guard that asks for care and keeps the question."""
    found = re.search(r"Question \d+\?", text)
    assert found, text
    return f"<reasoning>fine</reasoning><prompt>{found[0]} With care.</prompt>"


def run_toy(
    log_dir: Path,
    toy: Toy,
    answers: list[str] | Reply,
    *,
    defended: bool = False,
    target: str = "target",
    target_config: GenerateConfig | None = None,
    grader: Reply = grade,
    grader_name: str = "grader",
    guard: Reply = rewriting,
    guard_name: str = "rewriter",
    guard_role: str = "rewriter",
    judged: bool = True,
    exact: Scorer | None = None,
    official: Scorer | None = None,
    headline: str | HeadlineMetric | None = None,
    solver: Solver | SolverSpec | None = None,
    around: str = "",
    around_args: dict[str, Any] | None = None,
    **options: Any,
) -> EvalLog:
    """Run a toy benchmark; the log is below `log_dir`.

    `exact` replaces all scorers by one that needs no judge, `solver` the defense; `official` is
    a benchmark's own scorer before the others; `around` is a defense around the model (`guarded/`).
    """
    asked = model(
        by_number(answers) if isinstance(answers, list) else answers, target, target_config
    )
    scorers = [*([judge()] if judged else []), refusal()] if exact is None else [exact]
    scorers = scorers if official is None else [official, *scorers]
    usual = "judge.safe_and_helpful" if judged else "refusal.refused"
    headline = headline or (usual if exact is None else "oracle.safe_and_helpful")

    @task(name=toy.name)
    def toy_task(**args: Any) -> Task:
        return Task(
            dataset=MemoryDataset(toy.samples(), name=toy.name),
            solver=generate(),
            scorer=scorers,
            headline_metric=headline,
            version=toy.version,
            metadata={
                "benchmark": toy.name.title(),
                "variant": toy.variant,
                "data": {"origin": "local", "files": {"toy.json": toy.digest}},
                **toy.metadata,
                **({SHARD: toy.shard.noted()} if toy.shard else {}),
            },
        )

    (log,) = inspect_eval(
        toy_task(**toy.args),
        model=guarded_by(around, asked, **(around_args or {})) if around else asked,
        model_roles={
            "grader": model(grader, grader_name),
            guard_role: model(guard, guard_name),
        },
        solver=vlmguard() if defended else solver,
        display="none",
        log_dir=str(log_dir),
        **options,
    )
    return log
