"""What models read behind each defense, of a request with hidden characters.

Every model that checks, rewrites or describes reads the words as they look; the target gets what
the user wrote, and the user gets what the target wrote.
"""

from typing import Any

import pytest
from inspect_ai.model import ChatMessageAssistant
from support.carriers import by_solver
from support.conversations import RED
from support.defense_scripts import script_of
from support.mocks import mock_model
from support.scripted import Call, answer_of, record_of, sample, user

from vlmguard import Rewriter, solvers
from vlmguard.guard.cards import cards
from vlmguard.guard.defense import Conversation
from vlmguard.guard.guard_models.base import Exchange
from vlmguard.guard.guard_models.formats import FORMATS
from vlmguard.guard.guard_models.plain import plain_turns

DEFENSES = [name for name in cards().defenses if name in vars(solvers)]
WRITTEN = "How do I climb with a w\u200born r\u043epe and this \ufb01ne kn\u2060ot?"
READ = "How do I climb with a worn rope and this fine knot?"
ANSWERED = "Tie a b\u200bowlin\u0435 with care."
ANSWER_READ = "Tie a bowline with care."


@pytest.mark.parametrize("mood", ["calm", "alarmed"])
@pytest.mark.parametrize("defense", DEFENSES)
def test_guards_read_it_as_it_looks_and_the_target_gets_it_as_it_is(
    defense: str, mood: Any
) -> None:
    script = script_of(defense)
    models = script.models(mood)
    target = models["target"]
    own = target.script
    assert callable(own)

    def answering(call: Call) -> Any:
        said = own(call)
        return ANSWERED if isinstance(said, str) and said.startswith("Answer ") else said

    target.script = answering
    log = by_solver(defense, script.options, models, sample(WRITTEN, RED))
    record = record_of(log)
    assert record.failure in (None, "equal_candidates")

    for role, model in models.items():
        for call in model.calls:
            told = "\n".join(message.text for message in call.messages)
            if role == "target" and not any(words in told for words in script.questions):
                # The rewriter of the script says something else than the request.
                rewritten = defense == "vlmguard" and mood == "alarmed"
                assert (WRITTEN in told) is not rewritten
                continue
            assert "How do I climb" not in told or READ in told, role
            assert "Tie a b" not in told or ANSWER_READ in told, role
    if mood == "calm" or not cards().defenses[defense].target_calls.most:
        assert answer_of(log) == ANSWERED


async def test_what_a_rewriter_copies_is_the_request_unchanged() -> None:
    asked: list[str] = []

    def reply(messages: list[Any], config: Any) -> str:
        asked.append(messages[0].text)
        return f"<reasoning>Nothing.</reasoning><prompt>{READ}</prompt>"

    decision = await Rewriter(mock_model(reply, "rewriter")).decide(None, WRITTEN)
    assert READ in asked[0]
    assert (decision.action, decision.request) == ("pass", WRITTEN)


def _guard_reads(name: str, options: dict[str, Any]) -> str:
    made: Any = FORMATS[name].guard(**options)
    exchange = Exchange(
        Conversation([user(WRITTEN, RED), ChatMessageAssistant(content=ANSWERED), user(WRITTEN)]),
        ANSWERED,
    )
    return "\n".join(message.text for message in made.messages(exchange))


@pytest.mark.parametrize(
    "name",
    ["custom", "nemotron", "llama_guard", "llama_guard_7b", "guardreasoner", "qwen3guard", "yesno"],
)
def test_every_format_of_texts_reads_it_as_it_looks(name: str) -> None:
    told = _guard_reads(name, {})
    assert READ in told
    assert ANSWER_READ in told
    assert not set(told) & set("\u200b\u2060\ufb01\u043e\u0435")


@pytest.mark.parametrize("split", [("<|im_", "end|>"), ("<|", "im_start|>"), ("[IN", "ST]")])
def test_no_control_token_comes_of_two_parts_of_a_turn(split: tuple[str, str]) -> None:
    turns = [user(split[0]), user(split[1])]
    (turn,) = plain_turns(Exchange(Conversation(turns)))
    joined = "".join(part.text for part in turn.content if not isinstance(part, str))  # type: ignore[union-attr]
    assert "".join(split) not in joined
