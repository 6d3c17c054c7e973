"""Parts of a turn that no defense reads are never taken for nothing, or for read."""

from collections.abc import Sequence

import pytest
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageUser,
    Content,
    ContentAudio,
    ContentDocument,
    ContentText,
    ContentVideo,
)
from support.scripted import Scripted, user

from vlmguard.guard.cards import Calls, DefenseCard
from vlmguard.guard.decision import OnFailure
from vlmguard.guard.defense import Conversation, Defense, Target
from vlmguard.guard.defense.refusal import is_block

DOCUMENT = ContentDocument(document="data:text/plain;base64,SG93Pw==", filename="a.txt")
OTHERS: list[Content] = [
    DOCUMENT,
    ContentAudio(audio="data:audio/wav;base64,UklGRg==", format="wav"),
    ContentVideo(video="data:video/mp4;base64,AAAA", format="mp4"),
]


class Silent(Defense):
    """Lets every request pass."""

    card = DefenseCard("silent", "Silent", "1-A", "", "", Calls(1, 1))


def asked(parts: Sequence[Content]) -> Conversation:
    return Conversation([ChatMessageUser(content=[*parts])])


@pytest.mark.parametrize("part", OTHERS)
def test_a_turn_of_other_parts_is_not_empty(part: Content) -> None:
    conversation = asked([part, ContentText(text=" ")])
    assert (conversation.skipped, conversation.readable) == ("", False)
    assert asked([ContentText(text=" ")]).skipped == "empty"


@pytest.mark.parametrize("on_failure", ["original", "refuse", "raise"])
async def test_on_failure_decides_about_a_turn_that_nobody_reads(on_failure: OnFailure) -> None:
    model = Scripted("An answer.")
    defense = Silent()
    defense.on_failure = on_failure
    target = Target(model.model)
    if on_failure == "raise":
        with pytest.raises(RuntimeError, match="unread_content: 'document'"):
            await defense.run(asked([DOCUMENT]), target)
        return
    outcome = await defense.run(asked([DOCUMENT]), target)
    assert (outcome.record.failure, outcome.record.skipped) == ("unread_content", "")
    assert is_block(outcome.output) == (on_failure == "refuse")
    assert len(model.calls) == (on_failure == "original")


async def test_parts_beside_a_text_are_noted_and_pass() -> None:
    model = Scripted("An answer.")
    conversation = asked([ContentText(text="Sum it up."), *OTHERS])
    outcome = await Silent().run(conversation, Target(model.model))
    assert outcome.record.approximations == ["unread: document, audio, video"]
    assert not outcome.record.failure
    later = Conversation([*conversation.messages, ChatMessageAssistant(content="No."), user("Do!")])
    assert later.unread == ["document", "audio", "video"]
    assert Conversation([user("How?")]).unread == []
