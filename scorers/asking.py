"""Asking a judge model, so that neither the judged nor the judge can bend the verdict.

Requests and answers are foreign text. They stand between tags that carry a code
derived from all of the text, which nothing inside can foresee, so no answer can
close its own block and add instructions. A reply that holds two different
verdicts (a quoted forgery, say) counts as none.
"""

import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, Literal
from weakref import WeakSet

from inspect_ai.model import (
    ChatMessage,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentText,
    GenerateConfig,
    Model,
    ModelOutput,
)
from inspect_ai.solver import TaskState
from inspect_ai.util import collect

from vlmguard.guard.errors import UserError
from vlmguard.guard.refusals import is_refusal
from vlmguard.guard.roles import defaults_for
from vlmguard.guard.templates import fill
from vlmguard.guard.text.outputs import read_output
from vlmguard.guard.text.untrusted import break_controls
from vlmguard.scorers.verdicts import Reader, parse_verdict

__all__ = ["Problem", "Reply", "ask", "ask_together", "fence", "request_of"]

Problem = Literal["invalid_format", "judge_refused", "cut_off", "grader_failed", "no_response"]
"""Why a verdict is missing; `grader_failed` where an API's error came back instead of a reply."""

# What Inspect leaves of an image in a log written with --no-log-images.
_REMOVED: Final = "<base64-data-removed>"

JUDGE_CONFIG: Final = GenerateConfig(temperature=0.0, max_tokens=1024)
"""Room for a verdict with its reasons."""

THINKING_ROOM: Final = 8192
"""Most tokens of a judge that thinks first, unless the user gave it a number."""

# Judges that once needed it, so that they need not be asked twice each time. Not all are given it
# at once: some models and servers refuse more tokens than they have.
_THINKERS: Final[WeakSet[Model]] = WeakSet()


@dataclass(frozen=True)
class Reply:
    """What a judge said.

    Attributes:
        model: The judge's name.
        text: Its reply, without its thinking.
        problem: Why a reply without a verdict has none.
        cut_off: It ended at a token limit.
        output: All that came back, with tokens and time.
    """

    model: str
    text: str
    problem: Problem
    cut_off: bool
    output: ModelOutput

    def verdict(self, readers: dict[str, Reader]) -> dict[str, float]:
        """The verdict that the reply holds.

        Args:
            readers: A reader for each field.

        Returns:
            A number for each field, or NaN.
        """
        return parse_verdict(self.text, readers, cut_off=self.cut_off)


async def ask(grader: Model, template: str, images: list[str], **material: str) -> Reply:
    """Ask a judge.

    Args:
        grader: The judge.
        template: Its prompt, with a placeholder for each piece of material.
        images: Images to show, before the text.
        **material: Foreign text by placeholder, fenced off by `fence`.

    Returns:
        The reply.
    """
    content: list[Content] = [ContentImage(image=image) for image in images]
    content.append(ContentText(text=fill(template, **fence(material))))
    output = await _generate(grader, [ChatMessageUser(content=content)])
    said = read_output(output)
    cut_off = said.kind == "cut_off" or said.reason == "token_limit"
    problem: Problem = "cut_off" if cut_off else "invalid_format"
    if said.is_too_long:
        problem = "grader_failed"
    elif said.kind == "refusal" or is_refusal(said.text):
        problem = "judge_refused"
    return Reply(str(grader), said.text, problem, cut_off, output)


async def _generate(grader: Model, messages: list[ChatMessage]) -> ModelOutput:
    """A judge's reply; one that ran out of tokens, thinking as a rule, is given more, once."""
    config = defaults_for(grader, JUDGE_CONFIG)
    first: ModelOutput | None = None
    if grader not in _THINKERS:
        first = await grader.generate(messages, config=config)
        if not _ran_out(first) or grader.config.max_tokens is not None:
            return first
    room = config.merge(GenerateConfig(max_tokens=THINKING_ROOM))
    second = await grader.generate(messages, config=room)
    if read_output(second).is_too_long:
        return first or await grader.generate(messages, config=config)
    if not _ran_out(second):  # else it goes round in circles, and room is wasted on it
        _THINKERS.add(grader)
    return second


def _ran_out(output: ModelOutput) -> bool:
    return bool(output.choices) and output.stop_reason == "max_tokens"


async def ask_together(asking: list[Awaitable[Reply]]) -> list[Reply]:
    """Wait for several judges at once.

    Args:
        asking: Calls of `ask`.

    Returns:
        Their replies, in order.
    """
    if len(asking) == 1:
        # Inspect notes several spans for a `collect`; most runs have one judge.
        return [await asking[0]]
    return await collect(*asking)


def fence(material: dict[str, str]) -> dict[str, str]:
    """Put each piece of foreign text between tags that it cannot contain.

    Args:
        material: Text by name.

    Returns:
        The same names, each text inside `<name-CODE>` ... `</name-CODE>`, its control tokens broken
        up.
    """
    # 64 bits: a text that contains its own code cannot be searched for.
    everything = "\x00".join(f"{name}\x00{text}" for name, text in sorted(material.items()))
    code = hashlib.sha256(everything.encode(errors="surrogatepass")).hexdigest()[:16]
    return {
        name: f"<{name}-{code}>\n{break_controls(text)}\n</{name}-{code}>"
        for name, text in material.items()
    }


def request_of(state: TaskState) -> tuple[str, list[str]]:
    """The user's own request, whatever a defense made of it.

    Args:
        state: The state to be scored.

    Returns:
        The text of the sample's conversation (roles shown if there are several
        turns; `metadata["judge_request"]` instead, where a benchmark's text does
        not say what is meant) and its images.

    Raises:
        UserError: The sample comes from a log without its images.
    """
    stated = state.metadata.get("judge_request")
    if isinstance(state.input, str):
        return str(stated or state.input), []
    turns: list[ChatMessage] = state.input
    images = [
        part.image
        for turn in turns
        if isinstance(turn.content, list)
        for part in turn.content
        if isinstance(part, ContentImage)
    ]
    if _REMOVED in images:
        raise UserError(
            f"Sample {state.sample_id}: its log was written without images (--no-log-images), so "
            "a judge would not see what was asked. Score a log that holds them."
        )
    if stated or len(turns) == 1:
        return str(stated or turns[0].text), images
    return "\n".join(f"{turn.role}: {turn.text}" for turn in turns), images
