"""The one retry of a rewriter whose reply could not be used: the same turn, with the fault."""

from typing import Final

from inspect_ai.model import ChatMessageUser

from vlmguard.guard.messages import with_text
from vlmguard.guard.templates import fill

__all__ = ["PROBLEMS", "asked_again"]

RETRY_TEMPLATE: Final = """\


Your last reply to this could not be used: {problem}. Reply once more, in the form above."""

PROBLEMS: Final = {
    "empty": "it held no text to pass on",
    "cut_off": "it was too long and was cut off; be brief",
    "no_prompt": "there was no <prompt>...</prompt> in it",
    "several_prompts": "there was more than one <prompt> in it",
    "stray_tags": "its tags did not match",
    "echo": "it repeated the instructions or quoted the material",
    "repetition": "it repeated itself without an end",
    "no_request": (
        "between <prompt> and </prompt> stood a remark or a placeholder, not the request itself"
    ),
}
"""The fault that the one retry names, by the failure of the first reply."""

_NOT_GUIDANCE: Final = (
    "between <prompt> and </prompt> stood a remark or a placeholder, not the guidance itself"
)


def asked_again(message: ChatMessageUser, failure: str, appends: bool) -> ChatMessageUser:
    """The same turn again, with the fault of its first reply.

    Args:
        message: The turn.
        failure: A key of `PROBLEMS`.
        appends: Whether guidance was asked for, not a request.
    """
    guidance = appends and failure == "no_request"
    problem = _NOT_GUIDANCE if guidance else PROBLEMS[failure]
    return with_text(message, message.text + fill(RETRY_TEMPLATE, problem=problem))
