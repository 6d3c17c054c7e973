"""The options that every task takes, whatever its benchmark."""

from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from vlmguard.guard.errors import check_type
from vlmguard.guard.images.decoding import Colour
from vlmguard.guard.images.prepare import ImageRules

__all__ = [
    "JUDGES",
    "SHOWN_ELSEWHERE",
    "JudgeChoice",
    "TaskOptions",
    "judging_guard",
    "kind_of_judge",
]

JudgeChoice = Literal["all", "official", "general", "guard", "none"] | str | dict[str, Any]
"""One of `JUDGES`; `guard` may name the format of its verdicts (`guard/FORMAT`), and a mapping that
format's options too (`{adapter: FORMAT, OPTION: VALUE}`).
"""

JUDGES: Final = ("all", "official", "general", "guard", "none")

_FORM: Final = "custom"
"""The format of a judging guard model if none is named: any chat model with a written policy."""


@dataclass(frozen=True)
class TaskOptions:
    """The last arguments of every task, in this order and with these defaults.

    Attributes:
        judge: `all` judges, the benchmark's own (`official`), the `general` one that every task
            offers, a guard model (`guard`) that says whether an answer is unsafe and no more, or
            `none`: rules only, which need no grader.
        judge_template: File with a prompt for the general judge, or folder with prompts that
            replace those of any judge: `judge.txt` that of the general judge, and a file for each
            of the benchmark's own questions.
        judge_hint: Show the general judge what the benchmark's authors wrote about a sample's risk;
            refused if they wrote nothing.
        keywords: JSON file with refusal phrases, or clone of VLGuard's or ETA's repository.
        data_dir: Folder with the benchmark's data, in one of its card's layouts.
        revision: Hub branch, tag or commit; refused if there is no official repository.
        colour: `srgb` applies colour profiles, `as_is` ignores them, as authors' code does.
        fit_images: Scale images that model APIs refuse for their size.
        attack: A static attack on every request: `NAME[:VALUE][:OPTION=VALUE]...`
            (`vlmguard attack list`).
    """

    judge: JudgeChoice = "all"
    judge_template: str | None = None
    judge_hint: bool = False
    keywords: str | None = None
    data_dir: str | None = None
    revision: str | None = None
    colour: Colour = "srgb"
    fit_images: bool = False
    attack: str | None = None

    def __post_init__(self) -> None:
        """Refuse values of another type."""
        for each in fields(self):
            check_type(f"-T {each.name}", getattr(self, each.name), each.type)

    @property
    def images(self) -> ImageRules:
        """How pictures are prepared."""
        return ImageRules(self.colour, self.fit_images)


SHOWN_ELSEWHERE: Final = frozenset(
    {"judge", "judge_template", "judge_hint", "keywords", "data_dir", "revision", "attack"}
)
"""Options in which two comparable runs may differ. Their results are compared instead: the digests
of data, prompts and phrases, which are in scores and metadata, and the attack with its seed, which
is in metadata.
"""


def kind_of_judge(judge: JudgeChoice) -> str:
    """Which of `JUDGES` a choice is; the choice itself if it is none of them."""
    guarded = isinstance(judge, dict) or judge.startswith("guard/")
    return "guard" if guarded else str(judge)


def judging_guard(judge: JudgeChoice) -> tuple[str, dict[str, Any]] | None:
    """Format and options of the guard model that judges; None if none does."""
    if kind_of_judge(judge) != "guard":
        return None
    if isinstance(judge, str):
        return judge.partition("/")[2] or _FORM, {}
    options = dict(judge)
    return str(options.pop("adapter", _FORM)), options
