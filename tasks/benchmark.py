"""Makes a benchmark's task from its samples and scorers: the steps that all benchmarks share."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Epochs, Task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Scorer, ScoreReducer
from inspect_ai.solver import Solver, generate

from vlmguard.guard.after_run import listen
from vlmguard.guard.cards import Card, as_metadata
from vlmguard.guard.data_source import Source
from vlmguard.guard.errors import check_type
from vlmguard.guard.task_options import TaskOptions
from vlmguard.scorers.at_a_glance import at_a_glance
from vlmguard.scorers.metrics import vote
from vlmguard.scorers.official import Question, replaced
from vlmguard.scorers.prompts import prompts_folder
from vlmguard.tasks.attacking import static_attack, under_attack
from vlmguard.tasks.data.dataset import MissingImages, build_dataset
from vlmguard.tasks.data.image_sizes import images_fit
from vlmguard.tasks.data.source import locate
from vlmguard.tasks.sampling import answers_differ
from vlmguard.tasks.scoring import repeated, scoring
from vlmguard.tasks.viewing import viewer

__all__ = ["locate_data", "make_task"]


def locate_data(card: Card, options: TaskOptions) -> Source:
    """Find a benchmark's data by the task's options; see `data.source.locate`.

    A misspelt attack is named first: the data may be missing too.
    """
    if options.attack is not None:
        static_attack(options.attack)
    return locate(card, options.data_dir, options.revision, options.images)


def make_task(
    card: Card,
    options: TaskOptions,
    *,
    source: Source,
    samples: list[Sample],
    files: Sequence[Path],
    variant: str,
    version: str,
    config: GenerateConfig,
    judged: Mapping[str, Callable[[str | None], Scorer]] | None = None,
    questions: Mapping[str, Question] | None = None,
    rules: Mapping[str, Scorer] | None = None,
    beside: Mapping[str, Scorer] | None = None,
    hint: str | None = None,
    legacy: bool = False,
    answers: int | None = None,
    reducer: ScoreReducer | None = None,
    solver: Solver | None = None,
    missing_images: MissingImages = "refuse",
    data: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Task:
    """Make a benchmark's task; everything is checked here, before anything is paid for.

    Args:
        card: The benchmark.
        options: The options that every task takes.
        source: The data of the samples.
        samples: The samples; images are paths, or data URIs that we drew.
        files: The annotation files that were read.
        variant: The part of the benchmark; runs of different parts are never compared.
        version: The task's version, `NUMBER-LETTER`.
        config: Generation settings of the target.
        judged: The benchmark's own judged scorers, by headline (`SCORER.KEY` or
            `SCORER.KEY.METRIC`); each is made with the user's folder of prompts, or None.
        questions: The questions of these scorers, by the name of the file that may replace each.
        rules: Its scorers that need no judge, likewise by headline.
        beside: Further scorers that need no judge, likewise, that are never the headline.
        hint: Field of the samples' metadata that the general judge may see.
        legacy: Whether refusals are also counted as the authors do.
        answers: Answers to each question, for a task with the option `samples`.
        reducer: How several answers become one; `vote` by default.
        solver: How the target answers, undefended; one call by default.
        missing_images: Whether samples without their images stop the run or are counted; for
            benchmarks some of whose pictures cannot be had any more.
        data: Further facts for the data's provenance.
        metadata: Further metadata of the task.

    Returns:
        The task; its headline is that of the first scorer.

    Raises:
        UserError: An image, an id or an option is wrong.
    """
    listen()
    check_type("-T legacy", legacy, bool)
    dataset, provenance = build_dataset(samples, source, list(files), missing_images)
    prompts = prompts_folder(options.judge_template)
    chosen = scoring(
        options,
        official={name: make(prompts) for name, make in (judged or {}).items()},
        rules=rules or {},
        questions=replaced(questions, prompts) if questions else {},
        hint=hint,
        legacy=legacy,
        beside=beside,
    )
    reducer = vote() if reducer is None else reducer
    under = under_attack(options.attack, dataset, card)
    return Task(
        dataset=dataset,
        setup=[
            *([] if answers is None else [answers_differ(answers)]),
            *chosen.setup,
            images_fit(provenance["images"]["extreme"]),
            *under.setup,
        ],
        solver=solver or generate(),
        scorer=[*chosen.scorers, *under.scorers, at_a_glance()],
        headline_metric=chosen.headline,
        epochs=Epochs(1, reducer) if answers is None else repeated(answers, reducer),
        config=config,
        version=version,
        tags=under.tags or None,
        viewer=viewer(card, chosen.names, target=any(sample.target for sample in dataset)),
        metadata={
            "benchmark": card.title,
            "variant": variant,
            "data": {**provenance, **(data or {})},
            "judging": chosen.judging,
            "measures": as_metadata(card.measures),
            **under.metadata,
            **(metadata or {}),
        },
    )
