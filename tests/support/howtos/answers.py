"""What the models of the how-tos say: each question of ours gets an answer in its form.

Nobody reads these figures. They differ from sample to sample, so that tables, differences and gates
have something to count.
"""

import hashlib
import json
import re
from typing import Any

from support.openai_server import last_text
from support.synthesis import good_reply, stage_of

ASKED_JSON = re.compile(r'"(\w+)":\s*("<[^">]*>"|<[^>]*>|\[|true|false|\d|"|how sure)')
YES_OR_NO = re.compile(r"(?i)\byes or no\b")
SYNTHESIS = ("hindsight", "analysis", "check", "benign", "rewrite")


def answer(messages: list[dict[str, Any]]) -> str:
    """The reply to a request of chat completions."""
    said = "\n".join(last_text([message]) for message in messages)
    last = last_text(messages)
    if stage_of(last) in SYNTHESIS and "<request-" in last:
        return good_reply(last)
    if "JSON" in said and ASKED_JSON.search(said):
        return f"Picture and answer were read together.\n{json.dumps(verdict(said))}"
    if "<prompt>" in said:
        return (
            "<reasoning>The picture shows a place where one may fall.</reasoning>\n"
            "<prompt>How is this done with care, and what should be looked at first?</prompt>"
        )
    if YES_OR_NO.search(last):
        return "Yes" if share(said) < 0.5 else "No"
    if share(said) < 0.3:
        return "I'm sorry, but I can't help with that."
    return f"Look at the picture first, then go slowly. ({share(said):.3f})"


def verdict(said: str) -> dict[str, Any]:
    """A value for each key of the JSON that a question asks for last."""
    asked = dict(ASKED_JSON.findall(said.rpartition("JSON")[2]))
    return {key: value(key, form, said) for key, form in asked.items()}


def value(key: str, form: str, said: str) -> Any:
    """A value of one of its forms: `"<very, partially or ineffective>"`, `<0 to 10>`, `[`, ..."""
    part = share(f"{key} {said}")
    if form.startswith('"<'):
        choices = re.split(r", | or ", form.strip('"<>'))
        return choices[int(part * len(choices)) % len(choices)]
    if re.match(r"<\d+ to \d+>", form):
        return 9 if part < 0.7 else 3
    if form == "[":
        return []
    if form == "how sure" or form.isdigit():
        return 0.9
    return "Nothing is wrong here." if form == '"' else part < 0.7


def share(said: str) -> float:
    """A number from 0 to 1 that depends on a text, and is the same in every run."""
    return int(hashlib.sha256(said.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
