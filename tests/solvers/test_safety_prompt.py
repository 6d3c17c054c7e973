"""The one fixed instruction, and its places."""

from pathlib import Path
from typing import Any

import pytest
from support.scripted import Scripted, picture, record_of, run_solver, sample, user

from vlmguard.guard.defense import Conversation, defense_named
from vlmguard.guard.errors import UserError
from vlmguard.solvers import safety_prompt
from vlmguard.solvers.safety_prompt import SAFETY_PROMPT


def test_it_is_the_system_turn_by_default() -> None:
    target, image = Scripted("ok"), picture()
    record = record_of(run_solver(safety_prompt(), sample("How?", image), target))
    (call,) = target.calls
    assert [(each.role, each.text) for each in call.messages] == [
        ("system", SAFETY_PROMPT),
        ("user", "How?"),
    ]
    assert call.images == [image]
    assert (record.action, record.triggered, record.rewritten) == ("rewrite", True, None)
    assert record.notes == {"place": "system"}
    assert [(stage.name, stage.role) for stage in record.stages] == [("answer", "target")]


@pytest.mark.parametrize(
    ("place", "text"),
    [("suffix", f"How?\n\n{SAFETY_PROMPT}"), ("prefix", f"{SAFETY_PROMPT}\n\nHow?")],
)
def test_it_can_stand_in_the_user_turn(place: Any, text: str) -> None:
    target, image = Scripted("ok"), picture()
    record = record_of(run_solver(safety_prompt(place=place), sample("How?", image), target))
    (call,) = target.calls
    assert (call.roles, call.parts, call.text, call.images) == (
        ["user"],
        ["image", "text"],
        text,
        [image],
    )
    assert (record.rewritten, record.notes) == (text, {"place": place})


def test_a_turn_of_an_image_alone_gets_it_too() -> None:
    target, image = Scripted("ok"), picture()
    turn = user("", image).model_copy(update={"content": user("", image).content[:1]})
    one = sample("")
    run_solver(safety_prompt(place="suffix"), one.model_copy(update={"input": [turn]}), target)
    assert (target.calls[0].parts, target.calls[0].text) == (["image", "text"], SAFETY_PROMPT)


def test_the_words_can_be_given_or_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("Mind the children.\n")
    for options, words in (
        ({"text": "Be careful."}, "Be careful."),
        ({"template": str(file)}, "Mind the children."),
    ):
        target = Scripted("ok")
        record = record_of(run_solver(safety_prompt(**options), sample("How?"), target))
        assert target.calls[0].messages[0].text == words
        ours = record_of(run_solver(safety_prompt(), sample("How?"), Scripted("ok")))
        assert record.template != ours.template


async def test_it_decides_without_a_target() -> None:
    decision = await defense_named("safety_prompt")().decide(Conversation([user("How?")]))
    assert (decision.action, decision.request) == ("rewrite", "How?")
    assert [each.text for each in decision.messages] == [SAFETY_PROMPT, "How?"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"place": "middle"}, "system, prefix, suffix"),
        ({"text": " "}, "-S text is empty"),
        ({"text": "Be careful.", "template": "any.txt"}, "Leave one out"),
        ({"template": "absent.txt"}, r"absent\.txt"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        safety_prompt(**options)
