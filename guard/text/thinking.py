"""Takes the thinking out of a reply's text, before the reply is read.

Providers that know a model's thinking move it into parts of their own, which `.completion` leaves
out. Thinking that a server does not recognise stays in the text. It holds drafts, such as a verdict
or a refusal that the model drops later, which are not the reply.

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
    """A reply without its thinking, see `split_thinking`."""
    return split_thinking(text)[1]


def split_thinking(text: str) -> tuple[str, str]:
    """Thinking and reply, apart.

    Complete blocks are thinking. A closing tag alone ends thinking too, since chat templates put
    the opening tag into the prompt. The text before it is dropped, unless nothing else is left: a
    user can ask a model to end its answer with such a tag. An opening tag that starts a line and is
    never closed begins thinking that was cut off, so there is no reply after it. Inside a line,
    such a tag is only mentioned, and stays.

    Returns:
        The thinking and the reply; either may be empty.
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
    """A piece of thinking, and whether a tag or header of its own marks it."""

    text: str
    opened: bool


def _split_channels(text: str) -> tuple[list[str], str]:
    """The thinking and the reply of gpt-oss: final messages, or without any the text outside."""
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
