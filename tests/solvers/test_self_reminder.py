"""The reminders: their sides and tones."""

from pathlib import Path
from typing import Any

import pytest
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText
from support.scripted import Scripted, picture, record_of, run_solver, sample

from vlmguard.guard.errors import UserError
from vlmguard.solvers import self_reminder
from vlmguard.solvers.self_reminder import (
    PRAISE_AFTER,
    PRAISE_BEFORE,
    REMIND_AFTER,
    REMIND_BEFORE,
    WARN_AFTER,
    WARN_BEFORE,
)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, f"{REMIND_BEFORE}\n\nHow?\n\n{REMIND_AFTER}"),
        ({"tone": "warn"}, f"{WARN_BEFORE}\n\nHow?\n\n{WARN_AFTER}"),
        ({"tone": "praise"}, f"{PRAISE_BEFORE}\n\nHow?\n\n{PRAISE_AFTER}"),
        ({"variant": "prefix"}, f"{REMIND_BEFORE}\n\nHow?"),
        ({"variant": "suffix", "tone": "warn"}, f"How?\n\n{WARN_AFTER}"),
    ],
)
def test_the_words_stand_between_reminders(options: dict[str, Any], text: str) -> None:
    target, image = Scripted("ok"), picture()
    record = record_of(run_solver(self_reminder(**options), sample("How?", image), target))
    (call,) = target.calls
    assert (call.roles, call.parts) == (["user"], ["image", "text"])
    assert (call.text, call.images) == (text, [image])
    assert (record.action, record.rewritten) == ("rewrite", text)
    assert record.notes == {"variant": "sandwich", "tone": "remind", **options}
    assert [(stage.name, stage.role) for stage in record.stages] == [("answer", "target")]


def test_each_text_has_a_hash_of_its_own() -> None:
    chosen = [
        {"variant": variant, "tone": tone}
        for variant in ("sandwich", "prefix", "suffix")
        for tone in ("remind", "warn", "praise")
    ]
    hashes = {
        record_of(run_solver(self_reminder(**each), sample("How?"), Scripted("ok"))).template  # type: ignore[arg-type]
        for each in chosen
    }
    assert len(hashes) == 9


def test_images_and_texts_that_alternate_stay_in_order() -> None:
    names = {picture(colour): f"<{colour}>" for colour in ("red", "blue")}
    red, blue = (ContentImage(image=image) for image in names)
    turn = ChatMessageUser(content=[red, ContentText(text="and"), blue])
    target = Scripted("ok")
    run_solver(self_reminder(), Sample(id="s/1", input=[turn]), target)
    content = target.calls[0].messages[0].content
    assert isinstance(content, list)
    assert [
        names[part.image] if isinstance(part, ContentImage) else getattr(part, "text", "")
        for part in content
    ] == ["<red>", f"{REMIND_BEFORE}\n\nand", "<blue>", REMIND_AFTER]


def test_a_turn_of_an_image_alone_gets_both_behind_it() -> None:
    turn = ChatMessageUser(content=[ContentImage(image=picture())])
    target = Scripted("ok")
    run_solver(self_reminder(), Sample(id="s/1", input=[turn]), target)
    assert target.calls[0].parts == ["image", "text"]
    assert target.calls[0].text == f"{REMIND_BEFORE}\n\n{REMIND_AFTER}"


def test_the_wording_can_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "after.txt").write_text("Mind the children.\n")
    target = Scripted("ok")
    run_solver(self_reminder(templates=str(tmp_path), tone="warn"), sample("How?"), target)
    assert target.calls[0].text == f"{WARN_BEFORE}\n\nHow?\n\nMind the children."


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"variant": "both"}, "sandwich, prefix, suffix"),
        ({"tone": "shout"}, "remind, warn, praise"),
        ({"templates": "absent"}, "absent"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        self_reminder(**options)
