"""AdaShield's layout: the words, the prompt, the words again."""

from pathlib import Path

import pytest
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText
from support.scripted import Scripted, picture, record_of, run_solver, sample

from vlmguard.guard.errors import UserError
from vlmguard.guard.refusals import is_refusal
from vlmguard.solvers import adashield
from vlmguard.solvers.adashield import STATIC_PROMPT


def test_image_words_prompt_words() -> None:
    target, image = Scripted("ok"), picture()
    record = record_of(run_solver(adashield(), sample("How?", image), target))
    (call,) = target.calls
    text = f"How?\n\n{STATIC_PROMPT}\n\nHow?"
    assert (call.roles, call.parts) == (["user"], ["image", "text"])
    assert (call.text, call.images) == (text, [image])
    assert (record.action, record.triggered, record.rewritten) == ("rewrite", True, text)
    assert [(stage.name, stage.role) for stage in record.stages] == [("answer", "target")]


def test_the_apology_that_it_asks_for_is_a_refusal() -> None:
    assert '"I am sorry"' in STATIC_PROMPT
    assert is_refusal("I am sorry")
    assert is_refusal("I am sorry.")


def test_texts_between_images_stay_and_are_repeated_as_lines() -> None:
    names = {picture(colour): f"<{colour}>" for colour in ("red", "blue")}
    red, blue = (ContentImage(image=image) for image in names)
    turn = ChatMessageUser(content=[ContentText(text="Is"), red, ContentText(text="like"), blue])
    target = Scripted("ok")
    run_solver(adashield(), Sample(id="s/1", input=[turn]), target)
    content = target.calls[0].messages[0].content
    assert isinstance(content, list)
    assert [
        names[part.image] if isinstance(part, ContentImage) else getattr(part, "text", "")
        for part in content
    ] == ["Is", "<red>", "like", "<blue>", f"{STATIC_PROMPT}\n\nIs\nlike"]


def test_a_turn_of_an_image_alone_gets_the_prompt_alone() -> None:
    turn = ChatMessageUser(content=[ContentImage(image=picture())])
    target = Scripted("ok")
    run_solver(adashield(), Sample(id="s/1", input=[turn]), target)
    assert (target.calls[0].parts, target.calls[0].text) == (["image", "text"], STATIC_PROMPT)


def test_the_wording_can_be_replaced(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("Look first.\n")
    target = Scripted("ok")
    record = record_of(run_solver(adashield(template=str(file)), sample("How?"), target))
    assert target.calls[0].text == "How?\n\nLook first.\n\nHow?"
    ours = record_of(run_solver(adashield(), sample("How?"), Scripted("ok")))
    assert record.template != ours.template
    with pytest.raises(UserError, match=r"absent\.txt"):
        adashield(template=str(tmp_path / "absent.txt"))
