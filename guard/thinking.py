"""Thinking that stands in a reply's text: taken out in one place, before the reply is read.

Providers that know a model's thinking move it into parts of their own, which `.completion` leaves
out. What a server does not recognise stays in the text, and holds drafts: a verdict weighed and
dropped, a refusal considered. None of that is the reply.

Known forms: `<think>`, `<thinking>`, `<thought>`, `[THINK]`, `◁think▷` with their closing tags;
channels as gpt-oss writes them (`<|channel|>analysis<|message|>` ...
`<|channel|>final<|message|>`), and as Gemma does (`<|channel>thought` ... `<channel|>`).
"""

import re
from typing import Final

_TAG: Final = re.compile(
    r"(?P<open><(?:think|thinking|thought)(?:\s[^<>]{0,200})?>|\[think\]|◁think▷|<\|channel>thought)"
    r"|(?P<close></(?:think|thinking|thought)\s?>|\[/think\]|◁/think▷|<channel\|>)",
    re.IGNORECASE,
)
_HEADER: Final = re.compile(
    r"<\|channel\|>(\w{1,20})[^<>]{0,100}(?:<\|constrain\|>\w{0,20})?<\|message\|>"
)
_MESSAGE_END: Final = re.compile(r"<\|(?:end|return|call)\|>")


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
    opening tag into the prompt): all before it goes. So does all behind an opening tag that is
    never closed, if it starts a line: the model was cut off, or lost its way, while it was still
    thinking, and has not replied. Inside a line such a tag is only spoken of, and stays.

    Args:
        text: The reply, as it came.

    Returns:
        What was thought (empty if nothing), and what was replied (empty if nothing).
    """
    thoughts, text = _split_channels(text)
    kept: list[str] = []
    start = 0
    opened: re.Match[str] | None = None
    for tag in _TAG.finditer(text):
        if tag.lastgroup == "close":
            if opened is None:
                thoughts += [*kept, text[start : tag.start()]]
                kept.clear()
            else:
                thoughts.append(text[opened.end() : tag.start()])
            opened, start = None, tag.end()
        elif opened is None:
            kept.append(text[start : tag.start()])
            opened = tag
    if opened is None:
        kept.append(text[start:])
    elif kept[-1].rpartition("\n")[2].strip():
        kept.append(text[opened.start() :])
    else:
        thoughts.append(text[opened.end() :])
    said = [thought.strip() for thought in thoughts]
    reply = "".join(kept)
    return "\n".join(thought for thought in said if thought), reply.strip() if thoughts else reply


def _split_channels(text: str) -> tuple[list[str], str]:
    """The messages of gpt-oss: those before the final one, and that one."""
    headers = list(_HEADER.finditer(text))
    if not headers:
        return [], text
    last = headers[-1]
    if last[1] == "final":
        before, reply = text[: last.start()], text[last.end() :]
    else:
        before, reply = text, ""
    messages = [_MESSAGE_END.split(part)[0] for part in _HEADER.split(before)[2::2]]
    return messages or [""], _MESSAGE_END.split(reply)[0]
