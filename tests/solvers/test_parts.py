"""Parts of defenses that decide: what did not run, or said nothing of use, decided nothing."""

from typing import Any

import pytest
from support.carriers import carry
from support.defense_scripts import SCRIPTS, script_of
from support.scripted import picture, record_of, run_solver, sample

from vlmguard import solvers
from vlmguard.guard.cards import Part, cards
from vlmguard.guard.defense import defense_named
from vlmguard.guard.record import DefenseRecord, Stage

DEFENSES = [name for name, card in cards().defenses.items() if card.parts and name in vars(solvers)]
# The others check the answer to a tool's result.
REQUESTS_ALONE = [
    name
    for name in DEFENSES
    if name in SCRIPTS and not defense_named(name)(**script_of(name).options).needs_output
]
UNREADABLE = [
    (name, voice)
    for name in DEFENSES
    if name in SCRIPTS
    for voice, said in script_of(name).voices.items()
    if said.unreadable is not None
]


def parts_of(defense: str) -> dict[str, Part]:
    return {part.name: part for part in cards().defenses[defense].parts}


def decisions(defense: str, record: DefenseRecord) -> dict[str, bool | None]:
    return {name: part.acted(record) for name, part in parts_of(defense).items()}


@pytest.mark.parametrize("defense", DEFENSES)
def test_no_part_has_decided_before_anything_was_asked(defense: str) -> None:
    undecided = dict.fromkeys(parts_of(defense))
    for reason in ("", "tool_turn", "no_image"):
        assert decisions(defense, DefenseRecord(defense=defense, skipped=reason)) == undecided
    assert decisions(defense, DefenseRecord(failure="unread_content")) == undecided


@pytest.mark.parametrize("defense", REQUESTS_ALONE)
def test_no_part_decides_about_a_request_that_is_passed_over(
    defense: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = script_of(defense)
    turn = "tool_result_last"
    models = script.models("alarmed") if script.voices else script.models()
    record = carry(monkeypatch, "solver", defense, script.options, models, turn)[turn].record
    assert record.skipped == "tool_turn"
    assert decisions(defense, record) == dict.fromkeys(parts_of(defense))


@pytest.mark.parametrize(("defense", "voice"), UNREADABLE)
def test_a_part_that_says_nothing_of_use_has_not_decided(defense: str, voice: str) -> None:
    script = script_of(defense)
    models = script.models("alarmed", unreadable=voice)
    target = models.pop("target")
    solver = vars(solvers)[defense](**script.options)
    record = record_of(run_solver(solver, sample("How?", picture()), target, models))
    assert record.failure
    silent = {s.name for s in record.stages if s.output == script.voices[voice].unreadable}
    assert silent
    for name, part in parts_of(defense).items():
        if silent & {*part.stages}:
            assert part.acted(record) is None, name


@pytest.mark.parametrize("defense", DEFENSES)
def test_a_part_names_stages_of_its_card(defense: str) -> None:
    card = cards().defenses[defense]
    for part in card.parts:
        assert part.stages
        assert {*part.stages} <= card.images.keys()
        assert not part.option or part.option in card.options


@pytest.mark.parametrize("defense", ["caption_only", "ecso"])
@pytest.mark.parametrize(
    ("caption", "failure", "written"),
    [("A rope.", None, True), ("", "no_caption", None), ("A ro", "cut_off", None)],
)
def test_a_caption_of_no_use_is_none(
    defense: str, caption: str, failure: str | None, written: Any
) -> None:
    stage = Stage(name="caption", role="target", output=caption)
    record = DefenseRecord(defense=defense, stages=[stage], failure=failure)
    found = {part.reads: part.acted(record) for part in parts_of(defense).values()}
    assert found["caption"] is written
