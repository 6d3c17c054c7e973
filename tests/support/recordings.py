"""Recordings made by a real recorder, of decisions that a test chooses."""

from pathlib import Path

from inspect_ai.model import ChatMessage
from support.scripted import picture, user

from vlmguard.guard.decision import Action, Decision
from vlmguard.guard.defense import Conversation
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.serving.recording import Recorder

COLOURS = ("red", "green", "blue", "orange", "purple", "brown", "grey", "pink", "teal", "gold")


def decided(conversation: Conversation, action: Action, text: str = "") -> Decision:
    """A decision about a conversation; `text` is the request of a rewrite."""
    if action == "block":
        return Decision("block", "", "flagged", "a fall")
    if action == "rewrite":
        return Decision("rewrite", text, "rewritten", messages=conversation.with_request(text))
    return Decision("pass", conversation.text, "copied", messages=conversation.messages)


def note(
    recorder: Recorder,
    number: int,
    action: Action = "pass",
    messages: list[ChatMessage] | None = None,
    text: str = "How do I do this with care?",
    record: DefenseRecord | None = None,
    answer: str | None = None,
    failure: str = "",
) -> Conversation:
    """Record request `number`; by default one about a picture of a colour of its own."""
    shown = picture(COLOURS[number % len(COLOURS)])
    conversation = Conversation(messages or [user(f"How do I climb ladder {number}?", shown)])
    decision = decided(conversation, action, text)
    if failure:
        decision = Decision(
            "pass", conversation.text, failure, failure=failure, messages=conversation.messages
        )
    made = record or DefenseRecord(defense="vlmguard", version="2-A", template="abc")
    said = (lambda: answer) if answer is not None else None
    recorder.record(f"r{number}", conversation, decision, made, said, shadow=answer is not None)
    return conversation


def recorded(folder: Path, actions: list[Action]) -> Path:
    """A folder with a recorded request for each action."""
    recorder = Recorder(folder)
    for number, action in enumerate(actions):
        note(recorder, number, action)
    recorder.close()
    return folder
