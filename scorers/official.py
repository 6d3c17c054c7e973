"""Asks every judge a benchmark's own questions, and collects the verdicts."""

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from inspect_ai.scorer import Score
from inspect_ai.solver import TaskState

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import UserError
from vlmguard.guard.record import noted
from vlmguard.guard.roles import role_models
from vlmguard.guard.templates import load_template, template_hash
from vlmguard.guard.text.outputs import read_output
from vlmguard.guard.text.short_replies import quotes
from vlmguard.scorers.asking import Problem, Reply, ask, ask_together
from vlmguard.scorers.classes import most_frequent
from vlmguard.scorers.metrics import average_known, majority
from vlmguard.scorers.prompts import files_in
from vlmguard.scorers.unanswered import values_unasked
from vlmguard.scorers.verdicts import Reader

__all__ = ["Answers", "Question", "ask_all", "replaced"]

_JOINED: Final = {"grade": average_known, "label": majority, "class": most_frequent}
_FIELD: Final = re.compile(r"\{([a-z_]+)\}")
_TAGGED: Final = re.compile(r"<([A-Za-z_]{1,30})>([^<>]*)</\1>")
_DRESS: Final = " \t\"'*_`()[]{}<>.!"
_LEADING: Final = re.compile(_TAGGED.pattern + r"[^<>]*\Z")


@dataclass(frozen=True)
class Question:
    """One call to a judge.

    Attributes:
        template: The prompt, with a placeholder for each piece of material.
        readers: How to read each field of its verdict.
        refused: The value of each field for a refusal that the provider marked.
        needed: Placeholders that a user's prompt must hold.
        file: Name of the user's file with the prompt; empty for our own wording.
        parse: Reads a whole reply as authors' code does, instead of the readers; a number or NaN
            for each field.
    """

    template: str
    readers: dict[str, Reader]
    refused: dict[str, float]
    needed: tuple[str, ...] = ("answer",)
    file: str = ""
    parse: Callable[[str], dict[str, float]] | None = None


@dataclass(frozen=True)
class Answers:
    """The verdicts of the judges.

    Attributes:
        value: Majority over the judges for each label, their mean for each grade, their most
            frequent number for each class, or NaN.
        unscored: The reason for each field that is NaN.
        explanation: The judges' replies.
        metadata: Judges, template hash, defense tally and single verdicts.
        answer: The answer that was judged.
    """

    value: dict[str, float]
    unscored: dict[str, Problem]
    explanation: str
    metadata: dict[str, Any] = field(default_factory=dict)
    answer: str = ""

    def score(self, value: dict[str, float]) -> Score:
        """The score of a sample, with everything in its metadata that tables need.

        Args:
            value: Final values, from `self.value`; a key that is NaN without its own reason gets
                the first reason of the others.
        """
        unscored: dict[str, str] = {}
        for key, each in value.items():
            if math.isnan(each):
                unscored[key] = self.unscored.get(key) or next(iter(self.unscored.values()))
        return Score(
            value={**value},
            answer=self.answer,
            explanation=self.explanation,
            metadata={**self.metadata, "unscored": unscored} if unscored else self.metadata,
        )


def replaced(questions: Mapping[str, Question], folder: str | None) -> dict[str, Question]:
    """A benchmark's questions, with the user's prompts in place of ours.

    A user's prompt may ask for the verdict as ours do (JSON on the last line). For a question with
    one field it may also ask for the label alone on the last line, as authors' own prompts usually
    do.

    Args:
        questions: The benchmark's questions, in our own words, by name.
        folder: Folder with files `NAME.txt`, or None.

    Raises:
        UserError: The folder holds a file of another name, or a prompt lacks a placeholder or has
            an unknown one.
    """
    if folder is None:
        return dict(questions)
    files = files_in(folder, questions.keys())
    found = {}
    for name, question in questions.items():
        if (file := files.get(name)) is None:
            found[name] = question
            continue
        text = load_template("", str(file), question.needed)
        material = dict.fromkeys(_FIELD.findall(question.template))
        unknown = [each for each in _FIELD.findall(text) if each not in material]
        if unknown:
            meant = did_you_mean(unknown[0], material)
            raise UserError(
                f"Template file {file} holds {{{unknown[0]}}}, which names nothing.{meant} Its "
                f"placeholders are {', '.join('{' + each + '}' for each in material)}."
            )
        found[name] = replace(question, template=text, file=file.name)
    return found


async def ask_all(
    state: TaskState,
    questions: list[Question],
    images: list[str],
    material: dict[str, str],
    among: Collection[Question] = (),
) -> Answers:
    """Ask each judge bound to `grader` each question.

    A missing answer is not judged: every field is NaN with reason `no_response`. A refusal that the
    provider marked is not judged either, since its values are known.

    Args:
        state: The state to be scored.
        questions: The questions; each sees the material that its template names.
        images: Images to show the judge.
        material: Foreign text by placeholder.
        among: All questions of the scorer, if it depends on the sample which of them are asked:
            scores state which prompts it has, and runs with different prompts are not compared.
    """
    graders = role_models("grader")
    prompts = among or questions
    templates = [question.template for question in prompts]
    metadata: dict[str, Any] = {
        "judges": [str(grader) for grader in graders],
        "judge_template": template_hash(*templates),
        **noted(state),
    }
    if files := sorted({question.file for question in prompts if question.file}):
        metadata["judge_template_files"] = files
    answer = state.output.completion
    said = read_output(state.output)
    readers = {name: read for question in questions for name, read in question.readers.items()}
    refused = {name: each for asked in questions for name, each in asked.refused.items()}
    if (given := values_unasked(said, refused)) is not None:
        return Answers(given.value, {**given.unscored}, given.explanation, metadata, answer)
    asked = [(question, grader) for question in questions for grader in graders]
    replies = await ask_together(
        [
            ask(
                grader,
                question.template,
                images,
                **{k: v for k, v in material.items() if "{" + k + "}" in question.template},
            )
            for question, grader in asked
        ]
    )
    votes: dict[str, list[float]] = {name: [] for name in readers}
    problems: dict[str, Problem] = {}
    verdicts = []
    for (question, _), reply in zip(asked, replies, strict=True):
        verdict = _verdict(reply, question)
        verdicts.append({"judge": reply.model, **verdict})
        for name, each in verdict.items():
            votes[name].append(each)
            if math.isnan(each):
                problems.setdefault(name, reply.problem)
    value = {name: _JOINED[readers[name].kind](each) for name, each in votes.items()}
    return Answers(
        value=value,
        unscored={name: problems[name] for name, each in value.items() if math.isnan(each)},
        explanation="\n\n".join(f"{reply.model}: {reply.text}" for reply in replies),
        metadata={**metadata, "verdicts": verdicts},
        answer=answer,
    )


def _verdict(reply: Reply, question: Question) -> dict[str, float]:
    """The judge's verdict, as JSON or as a label, whichever the prompt asked for."""
    if question.parse is not None and reply.problem != "grader_failed":
        return question.parse(reply.text)
    verdict = reply.verdict(question.readers)
    # A reply with JSON was read above, also if it holds two contradictory verdicts.
    if not question.file or len(verdict) > 1 or reply.cut_off or "{" in reply.text:
        return verdict
    lines = (line for line in reversed(reply.text.splitlines()) if any(map(str.isalnum, line)))
    line = next(lines, "").strip()
    # `<label>True</label> The rule was followed.`
    if leading := _LEADING.match(line):
        line = leading[2]
    # `unsafe`, `Your output: unsafe`, `[Safety Judgement:] True`, `<answer>2</answer>`
    before, _, last = _TAGGED.sub(r"\2", line).rpartition(":")
    last = "" if quotes(before) else last.strip(_DRESS)
    return {
        name: question.readers[name](last) if math.isnan(value) else value
        for name, value in verdict.items()
    }
