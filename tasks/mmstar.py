r"""MMStar: questions that cannot be answered without the picture. What a guard costs there.

Are We on the Right Way for Evaluating Large Vision-Language Models?
Lin Chen, Jinsong Li, Xiaoyi Dong, Pan Zhang, Yuhang Zang, Zehui Chen, Haodong Duan, Jiaqi Wang,
Yu Qiao, Dahua Lin, Feng Zhao; NeurIPS 2024, https://arxiv.org/abs/2403.20330
Code: https://github.com/MMStar-Benchmark/MMStar. Data: https://huggingface.co/datasets/Lin-Chen/
MMStar (no license stated)

    inspect eval tasks/mmstar.py --solver vlmguard --model M --model-role rewriter=R

1,500 questions with four options inside their text, 250 for each of six axes of three categories; a
line that asks for the letter alone follows. All are harmless: what a defense changes here is
damage. No judge is asked.

Two rules read every answer. `correct` takes the letter that the answer is or declares, or else the
last letter A to D that stands alone, so words around it do not hurt (`scorers/letters.py`).
`correct_strict` is the authors' rule: the letter is the first character, or follows `(`, `option `
or `the answer is `; by it `Because` is a B. The difference, `format_damage`, is what a defense's
words cost whoever reads as the authors do. `unparsed` counts answers without any letter, among them
refusals.

The headline is `macro`, the mean over the 18 categories: that of the six axes, each of which is the
mean of its three (as in lmms-eval). `mean`, over questions, is the authors' final score; the axes
are reported by name.

Deviations from the authors' protocol: the line that asks for the letter is in our words; a missing
answer is unscored and counted; a refusal that the provider marked is wrong. Answers may take 16
tokens, greedily; nobody has confirmed the authors' limit.

`-T n=` draws a fixed subset; categories without a drawn question are in no mean. The file's name
was taken from the hub's page and its columns from lmms-eval; the live hub was not tried.

Files: Parquet with the columns `image` (picture), `index`, `question` (with its options), `answer`
(A to D), `category` (the axis), `l2_category`.
"""

from collections import defaultdict
from typing import Final, Literal

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState
from pydantic import BaseModel

from vlmguard.guard.cards import Card, register
from vlmguard.guard.data_records import Text
from vlmguard.guard.data_source import Source
from vlmguard.guard.images.decoding import Colour
from vlmguard.guard.task_options import JudgeChoice, TaskOptions
from vlmguard.scorers.choices import choice_measures, score_choice
from vlmguard.scorers.format_damage import format_damage
from vlmguard.scorers.group_means import mean_of_means, values_by
from vlmguard.scorers.letters import read_opening_letter
from vlmguard.scorers.metrics import metrics_of
from vlmguard.tasks.benchmark import locate_data, make_task
from vlmguard.tasks.data.dataset import draw
from vlmguard.tasks.data.parquet import parquet_files, read_rows
from vlmguard.tasks.scoring import rules_alone

ASK: Final = "Reply with the letter of the right option alone."
"""Follows each question, on a line of its own."""

MEASURES: Final = choice_measures("mmstar_rules", "By the authors' rule %")

_FILES: Final = ("mmstar.parquet", "data/val-*.parquet", "val/*.parquet")


class Item(BaseModel):
    """A row, without its image."""

    index: int
    question: Text
    answer: Literal["A", "B", "C", "D"]
    category: Text
    l2_category: Text


def load(source: Source, variant: str) -> list[Sample]:
    """Read the questions; images are paths.

    Raises:
        UserError: A file, or a column of a row, is missing or wrong.
    """
    return [
        Sample(
            id=f"mmstar/{row.item.index}",
            input=row.input(f"{row.item.question.strip()}\n{ASK}"),
            target=row.item.answer,
            metadata={
                "category": f"{row.item.category}: {row.item.l2_category}",
                "axis": row.item.category,
                "subset": variant,
                "expected": "comply",
                "image_id": row.image_id,
                "requests": [row.item.question],
                "letters": "ABCD",
            },
        )
        for row in read_rows(parquet_files(source, *_FILES), Item)
    ]


CARD: Final[Card] = Card(
    name="mmstar",
    title="MMStar",
    license="none stated",
    obtain=(
        "The hub's copy is downloaded where no folder is named (42 MB); or put mmstar.parquet of "
        "https://huggingface.co/datasets/Lin-Chen/MMStar into a folder, and name the folder with "
        "-T data_dir=."
    ),
    hub="Lin-Chen/MMStar",
    hub_files=_FILES,
    layouts=("mmstar.parquet (the hub's)", "val/0000.parquet (the hub's conversion)"),
    variants={"val": 1500},
    load=load,
    max_tokens=16,
    size=lambda args: args.get("n") or CARD.variants["val"],
    headline={"correct": "mean over categories"},
    measures=MEASURES,
    conditions=("drawn",),
)
register(CARD)


@task
def mmstar(
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
    """MMStar, 1,500 questions.

    Args:
        n: Number of questions to draw; all by default.
        seed: Seed of the drawing.

    All other arguments are those of every task, see `TaskOptions`. No judge is asked, since a
    letter needs none.
    """
    options = TaskOptions(
        judge, judge_template, judge_hint, keywords, data_dir, revision, colour, fit_images, attack
    )
    options = rules_alone(options, "MMStar")
    source = locate_data(CARD, options)
    samples = load(source, "val")
    return make_task(
        CARD,
        options,
        source=source,
        samples=samples
        if n is None
        else draw(samples, n, seed, "-T n", CARD, CARD.variants["val"]),
        files=parquet_files(source, *_FILES),
        variant="val",
        version="1-A",
        rules={"mmstar_rules.mmstar_rules.macro": mmstar_rules()},
        config=GenerateConfig(max_tokens=CARD.max_tokens, temperature=0.0),
        metadata={"drawn": None if n is None else {"n": n, "seed": seed}},
    )


@metric
def axis_means() -> Metric:
    """Means of `correct` in which categories count alike.

    Returns:
        `macro` over all categories, with its standard error (of a stratified sample; NaN if a
        category has a single answer), and the mean of each axis by its name.
    """

    def compute(scores: list[SampleScore]) -> Value:
        macro, error = mean_of_means(values_by(scores, "correct", "category").values())
        axes: dict[str, list[SampleScore]] = defaultdict(list)
        for score in scores:
            axes[str((score.sample_metadata or {})["axis"])].append(score)
        means = {
            axis: mean_of_means(values_by(of, "correct", "category").values())[0]
            for axis, of in axes.items()
        }
        return {"macro": macro, "macro_stderr": error, **means}

    return compute


@scorer(metrics=[axis_means(), *metrics_of(MEASURES), format_damage()])
def mmstar_rules() -> Scorer:
    """Is the answer right, by any letter in it and by the authors' rule?"""

    async def score(state: TaskState, target: Target) -> Score:
        return score_choice(state, target, read_opening_letter)

    return score
