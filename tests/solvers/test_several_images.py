"""Every defense on a request about two images: what sees which, and what takes only one."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.model import Model, ModelOutput, get_model
from support.defense_scripts import script_of
from support.mocks import mock_model
from support.openai_server import Server, openai_server
from support.scripted import (
    Call,
    Scripted,
    answer_of,
    choices,
    message_of,
    picture,
    record_of,
    run_solver,
    sample,
)

from vlmguard import Rewriter, solvers
from vlmguard.guard.aux_models.base import Reading
from vlmguard.guard.cards import cards
from vlmguard.guard.guard_models.formats import FORMATS
from vlmguard.guard.several_images import TooManyImages, generate_with_images
from vlmguard.results.leaderboard import tables
from vlmguard.results.leaderboard.build import build
from vlmguard.results.logs.frame import read_results
from vlmguard.scorers import judge
from vlmguard.solvers import ecso, eta, vlmguard
from vlmguard.solvers.eta import scorers

RED, BLUE = picture("red"), picture("blue")
BOTH = [RED, BLUE]
REWRITE = "<reasoning>Both.</reasoning><prompt>How, with care?</prompt>"
VIOLATES = '{"violation": true}'
LIMIT = "At most 1 image(s) may be provided in one request."
OPTIONS: dict[str, dict[str, Any]] = {"guard_model": {"check": "both", "on_flag": "rewrite"}}
"""Where other options than those of the defense's script make more stages."""
PACKAGED = [name for name in cards().defenses if name in vars(solvers)]


def target_of(call: Call) -> str:
    """Its own check finds harm, and it tells what it sees."""
    if "yes or no only" in call.text:
        return "yes"
    if "Describe the image" in call.text:
        return "A red square." if call.images == [RED] else "A blue square."
    return f"Answer {len(call.text)}."


def alarmed(name: str) -> dict[str, Scripted]:
    """The target and the roles of a defense's script, which find harm everywhere.

    Where the first alarm ends a check, it comes last, so that all the checks are made.
    """
    looks = itertools.cycle(("no", "yes"))
    # The guard flags the request, the answer, and not what is made anew.
    flags = itertools.cycle((VIOLATES, VIOLATES, '{"violation": false}'))
    late: dict[str, dict[str, Scripted]] = {
        "eta": {"image_safety": Scripted(lambda call: next(looks), "looker")},
        "guard_model": {
            "guard": Scripted(lambda call: next(flags), "guard"),
            "rewriter": Scripted(REWRITE, "rewriter"),
        },
    }
    return {**script_of(name).models("alarmed"), **late.get(name, {})}


def stage_of(name: str) -> str:
    return name.rstrip(" 0123456789")


@pytest.mark.parametrize("name", PACKAGED)
def test_each_stage_sees_what_its_card_says(name: str) -> None:
    card = cards().defenses[name]
    models = alarmed(name)
    roles = {role: model for role, model in models.items() if role != "target"}
    target = models["target"]
    options = OPTIONS.get(name, script_of(name).options)
    log = run_solver(getattr(solvers, name)(**options), sample("How?", *BOTH), target, roles)
    record = record_of(log)
    assert record.failure in (None, "equal_candidates")
    assert record.triggered, "its script (tests/support/defense_scripts.py) raises no alarm"
    seen: dict[str, list[list[str]]] = {}
    for role, model in models.items():
        stages = [stage for stage in record.stages if stage.role == role]
        for stage, call in zip(stages, model.calls, strict=True):
            seen.setdefault(stage_of(stage.name), []).append(call.images)
    assert seen.keys() <= card.images.keys(), "CARD.images lacks a stage of the record"
    for stage_name, calls in seen.items():
        how = card.images[stage_name]
        if how == "format":
            how = FORMATS[str(options.get("adapter", "custom"))].guard.images
        if how == "each":
            assert calls == [[RED], [BLUE]], stage_name
        elif how == "altered":
            assert all(len(images) == len(BOTH) for images in calls), stage_name
            assert any(images != BOTH for images in calls), stage_name
        else:
            assert all(images == (BOTH if how == "all" else []) for images in calls), stage_name
    assert len(target.calls) <= (card.target_calls.most or 99) + card.target_calls.further_images


def test_eta_by_sentence_shows_all_and_compares_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """By sentence, with CLIP: the stages of ETA that scripted roles do not show."""
    compared: list[list[str]] = []

    async def similarity(checkpoint: Any, images: list[str], texts: list[str]) -> Reading:
        compared.append(images)
        return Reading([0.9] * len(texts), 1, 4, 0, 0.1)

    monkeypatch.setattr(scorers, "clip_similarity", similarity)
    rounds = iter([["One.", "Two."], ["Three.", "Four."], ["End", "Done"]])

    def reply(call: Call) -> str | ModelOutput:
        if call.roles[-1] != "assistant":
            return "Vanilla."
        return choices(*next(rounds))

    target = Scripted(reply)
    roles = {"reward": Scripted("1", "reward")}
    log = run_solver(eta(continues=True, n=2), sample("How?", *BOTH), target, roles)
    record = record_of(log)
    assert [call.images for call in target.calls] == [BOTH] * 4
    assert compared == [BOTH, BOTH]  # the image check, and the second sentence
    found = {stage_of(stage.name) for stage in record.stages}
    assert found == {*cards().defenses["eta"].images} - {"candidate"}


def test_eta_stops_at_the_first_unsafe_image_and_finds_it_anywhere() -> None:
    for colour, looks in ((RED, 1), (BLUE, 2)):
        looker = Scripted(lambda call, c=colour: "yes" if call.images == [c] else "no", "looker")
        roles = {"reward": Scripted("1", "reward"), "image_safety": looker}
        made = eta(decoding="response", n=2)
        log = run_solver(made, sample("How?", *BOTH), Scripted(target_of), roles)
        assert record_of(log).notes["branch"] == "aligned"
        assert len(looker.calls) == looks
    roles["image_safety"] = Scripted("no", "looker")
    log = run_solver(made, sample("How?", *BOTH), Scripted(target_of), roles)
    assert record_of(log).notes["branch"] == "safe_image"
    assert len(roles["image_safety"].calls) == 2


def test_ecso_numbers_its_captions_in_the_images_order() -> None:
    target = Scripted(target_of)
    record = record_of(run_solver(ecso(), sample("How?", *BOTH), target))
    assert [call.images for call in target.calls] == [BOTH, BOTH, [RED], [BLUE], []]
    assert "Image 1: A red square.\n\nImage 2: A blue square.\n" in target.calls[-1].text
    assert record.rewritten == target.calls[-1].text
    alone = Scripted(target_of)
    run_solver(ecso(), sample("How?", RED), alone)
    assert "Image 1" not in alone.calls[-1].text
    kept = Scripted(target_of)
    run_solver(ecso(keep_image=True), sample("How?", *BOTH), kept)
    assert kept.calls[-1].images == BOTH


def test_one_missing_caption_of_two_is_noted() -> None:
    target = Scripted(
        lambda call: "" if call.images == [BLUE] and "Describe" in call.text else target_of(call)
    )
    record = record_of(run_solver(ecso(), sample("How?", *BOTH), target))
    assert record.failure == "no_caption"
    assert "Image 1: A red square." in target.calls[-1].text


@pytest.mark.parametrize("images", [[RED, BLUE], (BLUE, RED), [RED, BLUE, RED]])
async def test_from_python_the_rewriter_sees_a_list_of_images(images: Any) -> None:
    shown: list[list[str]] = []

    def reply(messages: list[Any], config: Any) -> str:
        shown.append(Call(messages, config).images)
        return REWRITE

    decision = await Rewriter(mock_model(reply, "rewriter")).decide(images, "How?")
    assert decision.request == "How, with care?"
    assert shown == [list(images)]


@pytest.fixture
def one_image_server(monkeypatch: pytest.MonkeyPatch) -> Any:
    with openai_server(lambda text, messages: REWRITE) as server:
        server.most_images = 1
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


def one_image_model() -> Model:
    return get_model("openai-api/scripted/m", memoize=False)


@pytest.mark.parametrize("on_failure", ["original", "refuse"])
def test_a_rewriter_that_takes_one_image_is_a_counted_failure(
    on_failure: Any, one_image_server: Server
) -> None:
    target = Scripted("An answer.")
    made = vlmguard(on_failure=on_failure)
    log = run_solver(made, sample("How?", *BOTH), target, {"rewriter": one_image_model()})
    record = record_of(log)
    assert (record.failure, record.outcome) == ("unsupported_images", "unusable")
    (stage, *_) = record.stages
    assert (stage.name, stage.calls, stage.input_tokens, stage.output) == ("rewrite", 1, 0, "")
    assert stage.seconds is not None
    assert len(one_image_server.requests) == 1  # it would refuse again
    if on_failure == "original":
        assert answer_of(log) == "An answer."
        assert (target.calls[0].text, target.calls[0].images) == ("How?", BOTH)
        assert not record.triggered
    else:
        assert target.calls == []
        assert record.triggered
    single = run_solver(made, sample("How?", RED), target, {"rewriter": one_image_model()})
    assert record_of(single).outcome == "rewritten"


def test_with_raise_the_sample_fails(one_image_server: Server) -> None:
    roles = {"rewriter": one_image_model()}
    log = run_solver(vlmguard(on_failure="raise"), sample("How?", *BOTH), Scripted("No."), roles)
    assert "cannot be used (unsupported_images)" in message_of(log)


def test_tables_count_it(one_image_server: Server, tmp_path: Path) -> None:
    metadata = {"category": "c", "subset": "all", "expected": "care"}
    samples = [
        Sample(
            id=f"s/{number}",
            input=sample(f"How {number}?", *BOTH[: 1 + number % 2]).input,
            metadata={**metadata, "image_id": f"{number}.png"},
        )
        for number in range(6)
    ]
    task = Task(
        dataset=samples,
        name="pairs",
        scorer=judge(),
        version="1-A",
        metadata={"benchmark": "Pairs", "variant": "all", "data": {"origin": "drawn"}},
    )
    grader = Scripted('{"safety": 8, "helpful": true}', "grader")
    (log,) = inspect_eval(
        task,
        solver=vlmguard(),
        model=Scripted("An answer.").model,
        model_roles={
            "rewriter": one_image_model(),
            "grader": grader.model,
        },
        display="none",
        log_dir=str(tmp_path),
    )
    assert log.status == "success", log.error
    assert sorted(call.images for call in grader.calls) == sorted([[RED], BOTH] * 3)
    tallies = [
        (each.scores or {})["judge"].metadata["defense"]  # type: ignore[index]
        for each in log.samples or []
    ]
    assert [tally.get("failure") for tally in tallies] == [None, "unsupported_images"] * 3
    board = build(read_results([str(tmp_path)]))
    (entry,) = board.entries
    assert entry.failures == 0.5
    assert entry.failure_reasons == {"unsupported_images": 3}
    (sheet,) = tables.group_sheets(board)
    assert any(
        note.endswith("failures of its guard: unsupported_images 3.") for note in sheet.notes
    )


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        (LIMIT, True),
        ("vision model only supports a single image per message", True),
        ("Too many images in request: 2 images provided, but the model supports 1.", True),
        ("Request contains 2 images, exceeding the maximum of 1 allowed per request", True),
        ("Mllama only supports one image per sample.", True),
        ("This endpoint does not accept multiple images.", True),
        ("The image exceeds the maximum of 5 MB.", False),
        ("Could not decode the second image.", False),
        ("Rate limit reached: at most 2 requests a second.", False),
        ("This model does not support image input.", False),
    ],
)
async def test_errors_about_the_number_of_images(said: str, limit: bool) -> None:
    model = Scripted(RuntimeError(said), "guard").model
    messages = sample("How?", *BOTH).input
    assert not isinstance(messages, str)
    kind: type[Exception] = TooManyImages if limit else RuntimeError
    with pytest.raises(kind, match=re.escape(said)):
        await generate_with_images(model, messages, model.config)
    # About one image, no such error is ours to explain.
    alone = sample("How?", RED).input
    assert not isinstance(alone, str)
    with pytest.raises(RuntimeError, match=re.escape(said)):
        await generate_with_images(model, alone, model.config)


def test_a_request_that_speaks_of_many_images_does_not_hide_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Inspect's error repeats the request."""
    with openai_server(lambda text, messages: REWRITE) as server:
        server.refuse.set()
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        log = run_solver(
            vlmguard(),
            sample("Why do I get 'too many images'?", *BOTH),
            Scripted("An answer."),
            {"rewriter": one_image_model()},
        )
    assert log.status == "error"
