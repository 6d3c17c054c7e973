"""Thinking that stands in a reply's text: taken out in one place, before the reply is read.

Providers that know a model's thinking move it into parts of their own, which `.completion` leaves
out. What a server does not recognise stays in the text, and holds drafts: a verdict weighed and
dropped, a refusal considered. None of that is the reply.

Known forms: `<think>`, `<thinking>`, `<thought>`, `[THINK]`, `◁think▷` with their closing tags;
channels as gpt-oss writes them (`<|channel|>analysis<|message|>` ...
`<|channel|>final<|message|>`), and as Gemma does (`<|channel>thought` ... `<channel|>`).
"""

import re
from typing import Final, NamedTuple

__all__ = ["split_thinking", "strip_thinking"]

_TAG: Final = re.compile(
    r"(?P<open><(?:think|thinking|thought)(?:\s[^<>]{0,200})?>|\[think\]|◁think▷|<\|channel>thought)"
    r"|(?P<close></(?:think|thinking|thought)\s?>|\[/think\]|◁/think▷|<channel\|>)",
    re.IGNORECASE,
)
_HEADER: Final = re.compile(
    r"<\|channel\|>(\w{1,20})[^<>]{0,100}(?:<\|constrain\|>\w{0,20})?<\|message\|>"
)
_MESSAGE_END: Final = re.compile(r"<\|(?:end|return|call)\|>")
_MARK: Final = re.compile(r"<\|start\|>(?:assistant)?|<\|(?:end|return|call)\|>")


def strip_thinking(text: str) -> str:
    """A reply without its thinking.

    Args:
        text: The reply, as it came.

    Returns:
        The rest, see `split_thinking`; `text` itself where there is no thinking in it.
    """
    return split_thinking(text)[1]


def split_thinking(text: str) -> tuple[str, str]:
    """Thinking and reply, apart.

    Complete blocks are thinking. A closing tag alone ends thinking too (chat templates put the
    opening tag into the prompt): all before it goes, unless nothing else is left, since anybody
    can ask a model to end its answer with such a tag. So does all behind an opening tag that is
    never closed, if it starts a line: the model was cut off, or lost its way, while it was still
    thinking, and has not replied. Inside a line such a tag is only spoken of, and stays.

    Args:
        text: The reply, as it came.

    Returns:
        What was thought (empty if nothing), and what was replied (empty if nothing).
    """
    messages, text = _split_channels(text)
    thoughts = [_Thought(message, opened=True) for message in messages]
    kept: list[str] = []
    start = 0
    opened: re.Match[str] | None = None
    for tag in _TAG.finditer(text):
        if tag.lastgroup == "close":
            if opened is None:
                loose = [*kept, text[start : tag.start()]]
                thoughts += [_Thought(part, opened=False) for part in loose]
                kept.clear()
            else:
                thoughts.append(_Thought(text[opened.end() : tag.start()], opened=True))
            opened, start = None, tag.end()
        elif opened is None:
            kept.append(text[start : tag.start()])
            opened = tag
    if opened is None:
        kept.append(text[start:])
    elif kept[-1].rpartition("\n")[2].strip():
        kept.append(text[opened.start() :])
    else:
        thoughts.append(_Thought(text[opened.end() :], opened=True))
    if not thoughts:
        return "", text
    reply = "".join(kept).strip()
    if not reply:
        reply = _joined([thought.text for thought in thoughts if not thought.opened])
        thoughts = [thought for thought in thoughts if thought.opened]
    return _joined([thought.text for thought in thoughts]), reply


class _Thought(NamedTuple):
    """What was thought, and whether a tag or header of its own says so."""

    text: str
    opened: bool


def _split_channels(text: str) -> tuple[list[str], str]:
    """The messages of gpt-oss: the final ones are the reply, and what has no header without any."""
    outside, *messages = _HEADER.split(text)
    if not messages:
        return [], text
    thoughts: list[str] = []
    final: list[str] = []
    rest = [outside]
    for channel, message in zip(messages[::2], messages[1::2], strict=True):
        if channel == "final":
            final.append(message)
        else:
            thought, *after = _MESSAGE_END.split(message)
            thoughts.append(thought)
            rest += after
    rest, final = ([_MARK.sub("", part) for part in parts] for parts in (rest, final))
    return ([*rest, *thoughts], _joined(final)) if final else (thoughts, _joined(rest))


def _joined(parts: list[str]) -> str:
    return "\n".join(part.strip() for part in parts if part.strip())
