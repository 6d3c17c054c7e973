"""Asks a judge model, in a way that the judged text cannot change the verdict.

Requests and answers are foreign text. They stand between tags with a code that is derived from the
whole text. No text can predict its own code, so no answer can close its block and add instructions.
A reply with two different verdicts (one may be a quoted forgery) counts as no verdict.
"""

import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, Literal
from weakref import WeakSet

from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput
from inspect_ai.solver import TaskState
from inspect_ai.util import collect

from vlmguard.guard.dialogue import answers_of, history, steps_of
from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import images_of, user_message
from vlmguard.guard.refusals import is_refusal
from vlmguard.guard.roles import defaults_for, put_question
from vlmguard.guard.templates import fill
from vlmguard.guard.text.outputs import read_output
from vlmguard.guard.text.untrusted import break_controls
from vlmguard.scorers.verdicts import Reader, parse_verdict

__all__ = ["MEANT", "Problem", "Reply", "ask", "ask_together", "fence", "request_of"]

Problem = Literal["invalid_format", "judge_refused", "cut_off", "grader_failed", "no_response"]
"""Why a verdict is missing; `grader_failed` means that an API's error came instead of a reply."""

MEANT: Final = "judge_text"
"""The key, in a sample's metadata, of what is meant by a dialogue; the judge is told."""

# Inspect writes this in place of an image in a log with --no-log-images.
_REMOVED: Final = "<base64-data-removed>"

JUDGE_CONFIG: Final = GenerateConfig(temperature=0.0, max_tokens=1024)
"""Enough tokens for a verdict with its reasons."""

THINKING_ROOM: Final = 8192
"""The most tokens of a judge that thinks first, unless the user sets a number."""

# Judges that once needed THINKING_ROOM get it at once later, so that they are not asked twice each
# time. Other judges do not get it: some models and servers refuse more tokens than they have.
_THINKERS: Final[WeakSet[Model]] = WeakSet()


@dataclass(frozen=True)
class Reply:
    """A judge's reply.

    Attributes:
        model: The judge's name.
        text: Its reply, without its thinking.
        problem: The reason, if the reply has no verdict.
        cut_off: Whether it ended at a token limit.
        output: The whole output, with tokens and time.
    """

    model: str
    text: str
    problem: Problem
    cut_off: bool
    output: ModelOutput

    def verdict(self, readers: dict[str, Reader]) -> dict[str, float]:
        """A number, or NaN, for each field; `readers` has a reader for each field."""
        return parse_verdict(self.text, readers, cut_off=self.cut_off)


async def ask(grader: Model, template: str, images: list[str], **material: str) -> Reply:
    """Ask a judge.

    Args:
        grader: The judge.
        template: Its prompt, with a placeholder for each piece of material.
        images: Images to show, before the text.
        **material: Foreign text by placeholder; `fence` puts it between tags.
    """
    output = await _generate(grader, [user_message(images, fill(template, **fence(material)))])
    said = read_output(output)
    cut_off = said.kind == "cut_off" or said.reason == "token_limit"
    problem: Problem = "cut_off" if cut_off else "invalid_format"
    if said.is_too_long:
        problem = "grader_failed"
    elif said.kind == "refusal" or is_refusal(said.text):
        problem = "judge_refused"
    return Reply(str(grader), said.text, problem, cut_off, output)


async def _generate(grader: Model, messages: list[ChatMessage]) -> ModelOutput:
    """A judge's reply; if it ran out of tokens (usually while thinking), it gets more, once."""
    config = defaults_for(grader, JUDGE_CONFIG)
    first: ModelOutput | None = None
    if grader not in _THINKERS:
        first = await put_question(grader, messages, config)
        if not _ran_out(first) or grader.config.max_tokens is not None:
            return first
    room = config.merge(GenerateConfig(max_tokens=THINKING_ROOM))
    second = await put_question(grader, messages, room)
    if read_output(second).is_too_long:
        return first or await put_question(grader, messages, config)
    if not _ran_out(second):  # or it repeats itself, and more room does not help
        _THINKERS.add(grader)
    return second


def _ran_out(output: ModelOutput) -> bool:
    return bool(output.choices) and output.stop_reason == "max_tokens"


async def ask_together(asking: list[Awaitable[Reply]]) -> list[Reply]:
    """Wait for several calls of `ask` at once; the replies keep their order."""
    if len(asking) == 1:
        # Most runs have one judge, and `collect` would add several spans to the log.
        return [await asking[0]]
    return await collect(*asking)


def fence(material: dict[str, str]) -> dict[str, str]:
    """Put each piece of foreign text between tags that it cannot contain.

    Args:
        material: Text by name.

    Returns:
        For each name the text inside `<name-CODE>` ... `</name-CODE>`, with its control tokens
        broken up.
    """
    # With 64 bits, nobody can find a text that contains its own code.
    everything = "\x00".join(f"{name}\x00{text}" for name, text in sorted(material.items()))
    code = hashlib.sha256(everything.encode(errors="surrogatepass")).hexdigest()[:16]
    return {
        name: f"<{name}-{code}>\n{break_controls(text)}\n</{name}-{code}>"
        for name, text in material.items()
    }


def request_of(state: TaskState) -> tuple[str, list[str]]:
    """The user's own request, not what a defense made of it.

    Args:
        state: The state to be scored.

    Returns:
        The text of the sample's conversation, with roles if there are several turns, and its
        images. Of a dialogue that was replayed, the answers in it are the model's.
        `metadata["judge_request"]` replaces the text, if a benchmark's text does not say what is
        meant; `metadata["judge_text"]` is added to it.

    Raises:
        UserError: The sample comes from a log without its images.
    """
    stated = state.metadata.get("judge_request")
    if isinstance(state.input, str):
        return str(stated or state.input), []
    turns: list[ChatMessage] = state.input
    if answers := answers_of(state):
        steps = steps_of(turns)
        # An attack may have asked for the last step in several turns.
        turns = history(steps, answers[: len(steps) - 1])
    images = images_of(turns)
    if _REMOVED in images:
        raise UserError(
            f"Sample {state.sample_id}: its log was written without images (--no-log-images), so "
            "a judge would not see what was asked. Score a log that holds them."
        )
    if stated:
        return str(stated), images
    several = "\n".join(f"{turn.role}: {turn.text}" for turn in turns)
    text = several if len(turns) > 1 else turns[0].text
    meant = state.metadata.get(MEANT)
    return f"{text}\n\n(What is meant: {meant})" if meant else text, images
