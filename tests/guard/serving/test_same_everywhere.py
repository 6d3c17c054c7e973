"""The same conversation in every API: the same decision, request to the model, and answer."""

from typing import Any, Final

import pytest
from support.api_answers import ApiAnswers
from support.bodies import BODIES, meaning
from support.conversations import CONVERSATIONS
from support.scripted import Scripted
from support.serving import served

REWRITE: Final = "<reasoning>A fall.</reasoning><prompt>How do I climb it safely?</prompt>"
ANSWER: Final = "Tie a bowline first. Then jump."


def unsafe(*words: str) -> Scripted:
    """Finds these words of a request or an answer unsafe."""
    return Scripted(
        lambda call: (
            "unsafe\nS1" if any(word in call.messages[-1].text for word in words) else "safe"
        )
    )


DEFENSES: Final[dict[str, tuple[str, dict[str, Any], dict[str, Scripted]]]] = {
    "rewriter": ("vlmguard", {}, {"rewriter": Scripted(REWRITE)}),
    "safety_prompt": ("safety_prompt", {}, {}),
    "input_guard": ("guard_model", {"adapter": "llama_guard"}, {"guard": unsafe("climb", "knot")}),
    "output_guard": (
        "guard_model",
        {"adapter": "llama_guard", "check": "output"},
        {"guard": unsafe("Then jump")},
    ),
    "detoxifier": (
        "mllm_protector",
        {},
        {"detector": Scripted("UNSAFE"), "detoxifier": Scripted("Take care.")},
    ),
}
# The long one is only slow.
NAMES: Final = [name for name in CONVERSATIONS if name != "very_long"]


async def seen(api: str, defense: str) -> dict[str, Any]:
    """What came of each conversation: status, action, what the model got, and the answer."""
    dialect, body_of = BODIES[api]
    name, options, roles = DEFENSES[defense]
    found = {}
    upstream = ApiAnswers(ANSWER)
    async with served(name, roles, upstream, options=options, on_failure="refuse") as client:
        for conversation in NAMES:
            upstream.bodies.clear()
            answered = await client.post(dialect.path, json=body_of(CONVERSATIONS[conversation]))
            output = dialect.output(answered.json())
            found[conversation] = (
                answered.status_code,
                answered.headers["x-vlmguard-action"],
                [meaning(dialect.read(body).messages) for body in upstream.bodies],
                (output.completion, output.stop_reason),
            )
    return found


@pytest.mark.parametrize(
    ("defense", "actions"),
    [
        ("rewriter", {"rewrite", "skipped"}),
        ("safety_prompt", {"rewrite", "skipped"}),
        ("input_guard", {"pass", "block", "skipped"}),
        ("output_guard", {"block"}),
        ("detoxifier", {"regenerate"}),
    ],
)
async def test_every_api_has_the_same_guard(defense: str, actions: set[str]) -> None:
    chat = await seen("chat", defense)
    assert {status for status, *_ in chat.values()} == {200}
    assert {action for _, action, *_ in chat.values()} == actions
    for api in ("responses", "messages"):
        assert await seen(api, defense) == chat, api
