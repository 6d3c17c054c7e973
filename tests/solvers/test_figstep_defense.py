"""The static warning and its placements."""

from pathlib import Path
from typing import Literal

import pytest
from inspect_ai.dataset import Sample
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentText,
)
from support.scripted import Scripted, answer_of, picture, record_of, run_solver, sample, user

from vlmguard.guard.errors import UserError
from vlmguard.solvers import figstep_defense
from vlmguard.solvers.figstep_defense import DEFENSE_PROMPT


def test_the_warning_is_the_system_turn_by_default() -> None:
    target, image = Scripted("ok"), picture()
    log = run_solver(figstep_defense(), sample("Fill the list.", image), target)
    assert answer_of(log) == "ok"
    (call,) = target.calls
    assert call.roles == ["system", "user"]
    assert call.messages[0].text == DEFENSE_PROMPT
    assert call.parts == ["image", "text"]
    assert (call.text, call.images) == ("Fill the list.", [image])
    record = record_of(log)
    assert record.defense == "figstep_defense"
    assert record.triggered
    assert record.rewritten is None
    assert record.notes == {"placement": "system"}
    assert [stage.name for stage in record.stages] == ["answer"]


@pytest.mark.parametrize(
    ("placement", "text"),
    [("suffix", f"Fill.\n\n{DEFENSE_PROMPT}"), ("prefix", f"{DEFENSE_PROMPT}\n\nFill.")],
)
def test_the_warning_can_stand_in_the_user_turn(placement: str, text: str) -> None:
    target, image = Scripted("ok"), picture()
    log = run_solver(figstep_defense(placement=placement), sample("Fill.", image), target)  # type: ignore[arg-type]
    (call,) = target.calls
    assert call.roles == ["user"]
    assert call.parts == ["image", "text"]
    assert call.images == [image]
    assert call.text == text
    assert record_of(log).rewritten == text


@pytest.mark.parametrize(
    ("placement", "parts"),
    [
        ("suffix", ["Look:", "<red>", "and", "<blue>", DEFENSE_PROMPT]),
        ("prefix", [f"{DEFENSE_PROMPT}\n\nLook:", "<red>", "and", "<blue>"]),
    ],
)
def test_images_and_texts_that_alternate_stay_in_order(
    placement: Literal["suffix", "prefix"], parts: list[str]
) -> None:
    images = {picture(colour): f"<{colour}>" for colour in ("red", "blue")}
    red, blue = (ContentImage(image=image) for image in images)
    turn = ChatMessageUser(content=[ContentText(text="Look:"), red, ContentText(text="and"), blue])
    target = Scripted("ok")
    log = run_solver(figstep_defense(placement=placement), Sample(id="s/1", input=[turn]), target)
    (message,) = target.calls[0].messages
    assert isinstance(message.content, list)
    assert parts == [
        images[part.image] if isinstance(part, ContentImage) else getattr(part, "text", "")
        for part in message.content
    ]
    assert record_of(log).rewritten == message.text
    assert len(turn.content) == 4


def test_a_conversation_keeps_its_turns() -> None:
    turns = [
        ChatMessageSystem(content="Be brief."),
        user("Old?"),
        ChatMessageAssistant(content="Old."),
        user("New?"),
    ]
    target = Scripted("ok")
    run_solver(figstep_defense(placement="suffix"), Sample(id="s/1", input=list(turns)), target)
    texts = [message.text for message in target.calls[0].messages]
    assert texts == ["Be brief.", "Old?", "Old.", f"New?\n\n{DEFENSE_PROMPT}"]

    target = Scripted("ok")
    run_solver(figstep_defense(), Sample(id="s/1", input=list(turns)), target)
    texts = [message.text for message in target.calls[0].messages]
    assert texts == [DEFENSE_PROMPT, "Be brief.", "Old?", "Old.", "New?"]


def test_the_wording_can_be_replaced(tmp_path: Path) -> None:
    file = tmp_path / "warning.txt"
    file.write_text("Mind the picture.\n")
    target = Scripted("ok")
    log = run_solver(figstep_defense(template=str(file)), sample("Q?", picture()), target)
    assert target.calls[0].messages[0].text == "Mind the picture."
    ours = run_solver(figstep_defense(), sample("Q?", picture()), Scripted("ok"))
    assert record_of(log).template != record_of(ours).template


def test_bad_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="system, suffix, prefix"):
        figstep_defense(placement="middle")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"absent\.txt"):
        figstep_defense(template=str(tmp_path / "absent.txt"))
