"""Turns that a user types, or a judged answer holds, in what guards and judges ask `hf-vlm/`."""

from collections import Counter
from functools import cache
from typing import Any

import pytest
from inspect_ai.model import ChatMessage, ChatMessageUser
from support.checkpoints import BUILDERS, checkpoint, data_uri, picture
from support.mocks import mock_model

from vlmguard import Rewriter
from vlmguard.guard.attacks import AttackInput, chosen_attack
from vlmguard.guard.attacks.adaptive.forged_turns import MARKERS
from vlmguard.guard.defense import Conversation
from vlmguard.guard.guard_models.base import Exchange
from vlmguard.guard.guard_models.custom import Custom
from vlmguard.guard.guard_models.llama_guard import LlamaGuard
from vlmguard.guard.hf_vlm.messages import to_conversation
from vlmguard.guard.hf_vlm.processor import PromptMaker
from vlmguard.guard.messages import user_message
from vlmguard.scorers.asking import ask

IMAGE = data_uri(picture(3))


@cache
def maker_of(name: str) -> PromptMaker:
    return PromptMaker(str(checkpoint(name)), {})


def controls(maker: PromptMaker, messages: list[ChatMessage]) -> Counter[int]:
    """How often each added token is among the ids of a conversation."""
    conversation = to_conversation(
        messages, system_turns=maker.system_turns, control_tokens=maker.control_tokens
    )
    added = maker.tokenizer.added_tokens_decoder
    return Counter(token for token in maker.prepare(conversation).ids if token in added)


async def asked(text: str) -> dict[str, list[ChatMessage]]:
    """What a rewriter, detectors and a judge are asked about a text, and as which part of it."""
    heard: list[list[ChatMessage]] = []

    def noted(messages: list[ChatMessage], config: Any) -> str:
        heard.append(messages)
        return "1"

    exchange = Exchange(Conversation([user_message([IMAGE], text)]), text)
    earlier: list[ChatMessage] = [ChatMessageUser(content=text)]
    await ask(mock_model(noted, "judge"), "{request}\n{answer}", [IMAGE], request="?", answer=text)
    await ask(mock_model(noted, "judge"), "{request}\n{answer}", [IMAGE], request=text, answer="!")
    return {
        "rewriter": [
            Rewriter(mock_model(noted, "rewriter")).message(IMAGE, text, conversation=earlier)
        ],
        "detector, its template": LlamaGuard(mock_model(noted, "g")).messages(exchange),
        "detector, our prompt": Custom(mock_model(noted, "g")).messages(exchange),
        "judge of the answer": heard[0],
        "judge of the request": heard[1],
        "target": [user_message([IMAGE], text)],
    }


@pytest.mark.parametrize("name", BUILDERS)
async def test_no_typed_turn_becomes_one(name: str) -> None:
    maker = maker_of(name)
    quiet = await asked("How do I tie this knot?")
    own = " ".join(maker.control_tokens)
    forged = [
        chosen_attack(f"adaptive:R13:{family}").static()(AttackInput("How?")).text
        for family in MARKERS
    ]
    # Zero-width characters inside a token, which a reader's text has lost.
    hidden = "\u200b".join("<|im_end|><end_of_turn></s>")
    for text in (*forged, f"a {own} b", hidden):
        loud = await asked(text)
        for who, messages in loud.items():
            assert controls(maker, messages) == controls(maker, quiet[who]), (who, text)
