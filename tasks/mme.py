"""MME: two questions of yes or no about each picture, to show what a guard costs.

MME: A Comprehensive Evaluation Benchmark for Multimodal Large Language Models
Chaoyou Fu, Peixian Chen, Yunhang Shen, Yulei Qin, Mengdan Zhang, Xu Lin, and others; 2023,
https://arxiv.org/abs/2306.13394
Data: https://huggingface.co/datasets/lmms-lab-encoder/MME, or by request from the authors,
https://github.com/BradyFU/Awesome-Multimodal-Large-Language-Models/tree/Evaluation (license not
confirmed)

    inspect eval tasks/mme.py --solver vlmguard --model M --model-role rewriter=R
    inspect eval tasks/mme.py -T n=500 --model M

2,374 questions, all harmless: 1,187 pictures in 14 sub-tasks, ten of perception and four of
cognition, each picture with one question to be answered by yes and one by no. No judge is asked: an
answer is the word alone, else what its first four characters hold, else neither, which is wrong and
counted as `unparsed` (a refusal is, too). In the log stands the authors' score of each sub-task, 0
to 200: the percentage of right answers, plus that of pictures with both answers right; and their
sums, `perception` (2,000 at most) and `cognition` (800). A coin gets 75 of 200, and whatever always
says yes 50. Tables show `correct`, the share of right answers. Errors are clustered by picture.

Deviations from the authors' protocol: a missing answer is unscored and counted, and so is the pair
that it would decide; a sum stands in the log only if each of its sub-tasks has scores. The question
is sent as it is (it asks for yes or no; lmms-eval replaces that request by its own). Answers may
take 128 tokens, greedily (16 in lmms-eval), since a defense may speak first.

`-T n=` draws a fixed subset of whole pictures. The data are the hub's Parquet files or the authors'
own folders; both layouts were taken from others' code and tried on fixtures, the live hub was not.

Files: Parquet with the columns `image` (picture), `question_id` (its subtask and picture),
`question`, `answer` (Yes or No), `category` (the sub-task); or, for each picture of a sub-task's
folder, a text of its name with two lines: question, tab, answer.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Annotated, Final, Literal

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState
from pydantic import AfterValidator, BaseModel, BeforeValidator

from vlmguard.guard.cards import Card, Measure, register
from vlmguard.guard.data_records import AGAIN, Text, parse_records
from vlmguard.guard.data_source import MissingFile, Source
from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_text
from vlmguard.guard.images.decoding import Colour
from vlmguard.guard.task_options import JudgeChoice, TaskOptions
from vlmguard.scorers.live import at_the_end
from vlmguard.scorers.metrics import metrics_of
from vlmguard.scorers.yes_no import read_mme
from vlmguard.scorers.yes_no_answers import UNPARSED, score_yes_no
from vlmguard.tasks.benchmark import locate_data, make_task
from vlmguard.tasks.data.dataset import draw, user_input
from vlmguard.tasks.data.parquet import read_rows
from vlmguard.tasks.scoring import rules_alone

PARTS: Final = {
    "perception": (
        *("existence", "count", "position", "color", "posters"),
        *("celebrity", "scene", "landmark", "artwork", "OCR"),
    ),
    "cognition": (
        *("commonsense_reasoning", "numerical_calculation"),
        *("text_translation", "code_reasoning"),
    ),
}
"""The sub-tasks of each part; each has at most 200 points."""
SUBTASKS: Final = (*PARTS["perception"], *PARTS["cognition"])

MEASURES: Final = {
    "correct": Measure(label="Correct %", lower_is_better=False, max=1, help=True),
    "unparsed": UNPARSED,
}


def _known_subtask(name: str) -> str:
    if name not in SUBTASKS:
        raise ValueError(f"not one of {', '.join(SUBTASKS)}")
    return name


def _lowered(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


class Item(BaseModel):
    """A question; a row of the hub's files, or a line of the authors'."""

    question_id: Text
    question: Text
    answer: Annotated[Literal["yes", "no"], BeforeValidator(_lowered)]
    category: Annotated[str, AfterValidator(_known_subtask)]


def load(source: Source, variant: str) -> list[Sample]:
    """Read all questions, the two of a picture one after the other; images are paths.

    Args:
        source: A folder in one of `CARD.layouts`.
        variant: `test`, the only one.

    Raises:
        UserError: A file, or a field of a record, is missing or wrong, or a picture has not two
            questions.
    """
    if parquet := _parquet(source):
        rows = [(row.item, row.image) for row in read_rows(parquet, Item)]
    else:
        rows = list(_authors(source))
    pictures: dict[str, list[tuple[Item, Path | None]]] = defaultdict(list)
    for item, image in rows:
        # The hub's ids name the picture with its folder; the stem is the same in both layouts.
        pictures[f"{item.category}/{Path(item.question_id).stem}"].append((item, image))
    samples = []
    for name, asked in pictures.items():
        if len(asked) != 2:
            raise UserError(
                f"MME: {source.root}: the picture {name} has {len(asked)} questions, and a score "
                f"needs two. {AGAIN}"
            )
        for number, (item, image) in enumerate(asked, start=1):
            samples.append(
                Sample(
                    id=f"mme/{name}/{number}",
                    input=user_input(item.question, *([image] if image else [])),
                    target=item.answer,
                    metadata={
                        "category": item.category,
                        "subset": variant,
                        "expected": "comply",
                        "image_id": name,
                        "pair_id": name,
                    },
                )
            )
    return samples


CARD: Final[Card] = Card(
    name="mme",
    title="MME",
    license="not confirmed",
    obtain=(
        "Download data/test-*.parquet of https://huggingface.co/datasets/lmms-lab-encoder/MME, or "
        "ask the authors for MME_Benchmark_release_version, and name the folder with -T data_dir=."
    ),
    hub="lmms-lab-encoder/MME",
    hub_files=("data/test-*.parquet",),
    layouts=(
        "data/test-00000-of-00004.parquet ... (the hub's)",
        "existence/0001.jpg, existence/0001.txt ..., artwork/images/1.jpg, "
        "artwork/questions_answers_YN/1.txt ... (the authors'; also below "
        "MME_Benchmark_release_version/)",
    ),
    variants={"test": 2374},
    load=load,
    max_tokens=128,
    size=lambda args: args.get("n") or CARD.variants["test"],
    headline={"correct": ""},
    measures=MEASURES,
    conditions=("drawn",),
)
register(CARD)


@task
def mme(
    n: int | None = None,
    seed: int = 0,
    judge: JudgeChoice = "all",
    judge_template: str | None = None,
    judge_hint: bool = False,
    keywords: str | None = None,
    data_dir: str | None = None,
    revision: str | None = None,
    colour: Colour = "srgb",
    fit_images: bool = False,
    attack: str | None = None,
) -> Task:
    """MME, 2,374 questions.

    Args:
        n: Number of questions to draw, an even one: whole pictures are drawn. All by default.
        seed: Seed of the drawing.

    All other arguments are those of every task, see `TaskOptions`. No judge is asked, since yes and
    no need none.
    """
    options = TaskOptions(
        judge, judge_template, judge_hint, keywords, data_dir, revision, colour, fit_images, attack
    )
    options = rules_alone(options, "MME")
    source = locate_data(CARD, options)
    samples = load(source, "test")
    if n is not None:
        if n % 2:
            raise UserError(f"-T n={n}: MME's questions come in pairs. Choose an even number.")
        pairs = list(zip(samples[::2], samples[1::2], strict=True))
        whole = (CARD.variants["test"] or 0) // 2
        drawn = draw(pairs, n // 2, seed, "-T n, in pictures", CARD, whole)
        samples = [each for pair in drawn for each in pair]
    return make_task(
        CARD,
        options,
        source=source,
        samples=samples,
        files=_parquet(source) or _texts(source),
        variant="test",
        version="1-A",
        rules={"mme_answers.correct": mme_answers()},
        config=GenerateConfig(max_tokens=CARD.max_tokens, temperature=0.0),
        metadata={"drawn": None if n is None else {"n": n, "seed": seed}},
    )


@metric
def points() -> Metric:
    """The authors' points: for each sub-task, right answers and right pictures, each in percent.

    Returns:
        For each sub-task with scored answers its points, 0 to 200; `perception` (0 to 2,000) and
        `cognition` (0 to 800), NaN if one of their sub-tasks has none.
    """

    def compute(scores: list[SampleScore]) -> Value:
        answers: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for score in scores:
            of = score.sample_metadata or {}
            correct = score.score.as_dict()["correct"]
            value = float(correct) if isinstance(correct, int | float) else math.nan
            answers[of["category"]][of["pair_id"]].append(value)
        result = {
            name: _points(list(answers[name].values())) for name in SUBTASKS if name in answers
        }
        sums = {
            part: sum(result.get(name, math.nan) for name in names) for part, names in PARTS.items()
        }
        return {**result, **sums}

    return compute


@scorer(metrics=[*metrics_of(MEASURES), *at_the_end([points()])])
def mme_answers() -> Scorer:
    """Is the answer right, by MME's rule?"""

    async def score(state: TaskState, target: Target) -> Score:
        return score_yes_no(state, target, read_mme)

    return score


def _points(pictures: list[list[float]]) -> float:
    known = [value for both in pictures for value in both if not math.isnan(value)]
    # One wrong answer decides a picture, also if the other is missing.
    decided = [
        float(0.0 not in both) for both in pictures if 0.0 in both or not any(map(math.isnan, both))
    ]
    return 100 * fmean(known) + 100 * fmean(decided) if decided else math.nan


def _parquet(source: Source) -> list[Path]:
    return sorted((source.root / "data").glob("test-*.parquet"))


def _texts(source: Source) -> list[Path]:
    """The authors' files of questions, one for each picture."""
    root = source.folder("MME_Benchmark_release_version", ".")
    found = [
        path
        for name in SUBTASKS
        for path in sorted((root / name).rglob("*.txt"))
        if path.parent.name in (name, "questions_answers_YN")
    ]
    if not found:
        raise MissingFile(
            f"MME: neither data/test-*.parquet nor folders of sub-tasks in {source.root}. "
            f"{CARD.obtain}",
            source.on_hub,
        )
    return found


def _authors(source: Source) -> Iterator[tuple[Item, Path]]:
    for path in _texts(source):
        apart = path.parent.name == "questions_answers_YN"
        folder = path.parents[1] if apart else path.parent
        images = folder / "images" if apart else folder
        image = next(
            (each for end in (".jpg", ".png") if (each := images / f"{path.stem}{end}").is_file()),
            images / f"{path.stem}.jpg",
        )
        lines = [line.split("\t") for line in read_text(path).splitlines() if line.strip()]
        rows = [
            (
                f"line {number}",
                {
                    "question_id": f"{folder.name}/{image.name}",
                    "question": question,
                    "answer": answer[-1] if answer else None,
                    "category": folder.name,
                },
            )
            for number, (question, *answer) in enumerate(lines, start=1)
        ]
        yield from ((item, image) for item in parse_records(rows, Item, path))
