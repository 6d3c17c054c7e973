"""The options that every task takes, whatever its benchmark."""

from dataclasses import dataclass
from typing import Final, Literal

from vlmguard.guard.images.decoding import Colour
from vlmguard.guard.images.prepare import ImageRules

__all__ = ["SHOWN_ELSEWHERE", "JudgeChoice", "TaskOptions"]

JudgeChoice = Literal["all", "official", "general", "none"]


@dataclass(frozen=True)
class TaskOptions:
    """What stands at the end of every task's arguments, in this order and with these defaults.

    Attributes:
        judge: `all` judges, the benchmark's own (`official`), the `general` one that every task
            offers, or `none`: rules only, which need no grader.
        judge_template: File with a prompt for the general judge, or folder with prompts that
            replace any judge's: `judge.txt`, the general judge's, and one for each question of
            the benchmark's own.
        judge_hint: Show the general judge what the benchmark's authors wrote about a sample's risk;
            refused where they wrote nothing.
        keywords: JSON file with refusal phrases, or clone of VLGuard's or ETA's repository.
        data_dir: Folder with the benchmark's data, in one of its card's layouts.
        revision: Hub branch, tag or commit; refused where there is no official repository.
        colour: `srgb` applies colour profiles, `as_is` passes over them, as authors' code does.
        fit_images: Scale images that model APIs refuse for their size.
    """

    judge: JudgeChoice = "all"
    judge_template: str | None = None
    judge_hint: bool = False
    keywords: str | None = None
    data_dir: str | None = None
    revision: str | None = None
    colour: Colour = "srgb"
    fit_images: bool = False

    @property
    def images(self) -> ImageRules:
        """How to take in pictures."""
        return ImageRules(self.colour, self.fit_images)


SHOWN_ELSEWHERE: Final = frozenset(
    {"judge", "judge_template", "judge_hint", "keywords", "data_dir", "revision"}
)
"""Options that two comparable runs may differ in: what came of them is compared instead, the digest
of data, prompts and phrases, which scores and metadata hold."""
