"""AdaShield: the words, the prompt, the words again; and the prompt of the nearest request."""

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText
from inspect_ai.solver import Solver, generate
from support.auxiliaries import build_clip
from support.carriers import CARRIERS, carry, decided
from support.conversations import spelled
from support.guarded import guarded_model
from support.pools import ITEMS, write_pool
from support.scripted import Scripted, message_of, picture, record_of, run_solver, sample, user

from vlmguard.guard.adashield.layout import STATIC_PROMPT
from vlmguard.guard.adashield.pool import read_pool, request_digest
from vlmguard.guard.aux_models.clip import pair_features
from vlmguard.guard.defense import Conversation, defense_named
from vlmguard.guard.errors import UserError
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.refusals import is_refusal
from vlmguard.results.calibrate import calibrate
from vlmguard.results.logs.frame import read_results
from vlmguard.scorers import refusal
from vlmguard.solvers import adashield


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


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_clip(tmp_path_factory.mktemp("clip")))


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return write_pool(tmp_path / "pool")


def adaptive(pool: Path, clip: str, **options: Any) -> Solver:
    return adashield(pool=str(pool), clip=clip, device="cpu", **options)


@pytest.mark.parametrize("number", [0, 1])
def test_the_nearest_request_gives_the_prompt(number: int, pool: Path, clip: str) -> None:
    item, image = ITEMS[number], picture(ITEMS[number]["colour"])
    target = Scripted("ok")
    log = run_solver(adaptive(pool, clip), sample(item["query"], image), target)
    record = record_of(log)
    text = f"{item['query']}\n\n{item['prompt']}\n\n{item['query']}"
    (call,) = target.calls
    assert (call.roles, call.text, call.images) == (["user"], text, [image])
    assert record.notes == {
        "branch": "pool",
        "similarity": pytest.approx(1.0, abs=1e-5),
        "item": f"line {number + 1}",
        "scenario": item["scenario"],
        "pool": read_pool(pool).digest,
    }
    assert (record.action, record.outcome, record.rewritten) == ("rewrite", "pool", text)
    assert [(each.name, each.role, each.calls) for each in record.stages] == [
        ("similarity", "clip", 1),
        ("answer", "target", 1),
    ]
    assert record.stages[0].output == f"1.0000 line {number + 1}"
    assert record.approximations == []


@pytest.mark.parametrize("on_miss", ["none", "static"])
def test_below_the_gate_on_miss_decides(on_miss: Any, pool: Path, clip: str) -> None:
    target = Scripted("ok")
    asked = sample("Is this pot clean?", picture("green"))
    log = run_solver(adaptive(pool, clip, gate=1.0, on_miss=on_miss), asked, target)
    record = record_of(log)
    assert record.notes["branch"] == record.outcome == on_miss
    assert -1 <= record.notes["similarity"] < 1
    if on_miss == "none":
        assert (record.action, record.triggered, record.rewritten) == ("pass", False, None)
        assert target.calls[0].text == "Is this pot clean?"
    else:
        text = f"Is this pot clean?\n\n{STATIC_PROMPT}\n\nIs this pot clean?"
        assert (record.action, target.calls[0].text) == ("rewrite", text)


def test_the_gate_itself_passes_and_minus_one_always(pool: Path, clip: str) -> None:
    asked = sample("Is this pot clean?", picture("green"))
    first = record_of(run_solver(adaptive(pool, clip, gate=-1), asked, Scripted("ok")))
    assert first.notes["branch"] == "pool"
    at = first.notes["similarity"]
    same = record_of(run_solver(adaptive(pool, clip, gate=at), asked, Scripted("ok")))
    assert same.notes["branch"] == "pool"
    above = record_of(run_solver(adaptive(pool, clip, gate=at + 1e-4), asked, Scripted("ok")))
    assert above.notes["branch"] == "none"


def test_of_several_images_the_nearest_counts(pool: Path, clip: str) -> None:
    asked = sample(ITEMS[1]["query"], picture("green"), picture("blue"))
    record = record_of(run_solver(adaptive(pool, clip), asked, Scripted("ok")))
    assert record.notes["item"] == "line 2"
    assert record.notes["similarity"] == pytest.approx(1.0, abs=1e-5)


def test_without_an_image_a_request_passes(pool: Path, clip: str) -> None:
    target = Scripted("ok")
    record = record_of(run_solver(adaptive(pool, clip, gate=-1), sample("How?"), target))
    assert (record.skipped, record.action, target.calls[0].text) == ("no_image", "pass", "How?")


def test_an_image_alone_is_compared_too(pool: Path, clip: str) -> None:
    turn = ChatMessageUser(content=[ContentImage(image=picture())])
    target = Scripted("ok")
    solver = adaptive(pool, clip, gate=-1)
    record = record_of(run_solver(solver, Sample(id="s/1", input=[turn]), target))
    assert (record.notes["branch"], target.calls[0].parts) == ("pool", ["image", "text"])


def test_another_pool_is_another_row(pool: Path, clip: str, tmp_path: Path) -> None:
    asked = sample("Is this pot clean?", picture("green"))
    other = write_pool(tmp_path / "other", [{**ITEMS[0], "prompt": "Mind knives."}, ITEMS[1]])

    def template(solver: Solver) -> str:
        return record_of(run_solver(solver, asked, Scripted("ok"))).template

    # The same whatever becomes of a request, so that a run is one row.
    own = {template(adaptive(pool, clip, gate=gate)) for gate in (-1, 1.0)}
    assert len(own) == 1
    assert len(own | {template(adaptive(other, clip)), template(adashield())}) == 3


def test_the_cache_of_a_guarded_model_sees_all_that_a_pool_holds(
    pool: Path, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    image = picture("green")
    built = {"requests": [request_digest([image], "Is this pot clean?")]}

    def record() -> DefenseRecord:
        model = guarded_model(
            "adashield", Scripted("ok"), pool=str(pool), clip=clip, device="cpu", gate=-1
        )
        (log,) = inspect_eval(
            Task(dataset=[sample("Is this pot clean?", image)], solver=generate(cache=True)),
            model=model,
            display="none",
            log_dir=str(tmp_path / "logs"),
        )
        return record_of(log)

    first = record()
    assert record().stages == first.stages  # with the seconds of the first
    (pool.parent / "images/1.png").write_bytes((pool.parent / "images/0.png").read_bytes())
    assert record().notes["pool"] == read_pool(pool).digest != first.notes["pool"]
    (pool.parent / "provenance.json").write_text(json.dumps(built))
    assert record().approximations == ["pool: built from this request"]


def test_a_request_that_the_pool_was_built_from_is_an_approximation(pool: Path, clip: str) -> None:
    image = picture("green")
    built = {"requests": [request_digest([image], "Is this pot clean?")]}
    (pool.parent / "provenance.json").write_text(json.dumps(built))

    def remarks(text: str) -> list[str]:
        log = run_solver(adaptive(pool, clip), sample(text, image), Scripted("ok"))
        return record_of(log).approximations

    assert remarks("Is this pot clean?") == ["pool: built from this request"]
    assert remarks("Is this pan clean?") == []


def test_the_gate_can_be_calibrated(pool: Path, clip: str, tmp_path: Path) -> None:
    colours = ["green", "black", "white", "gray", "pink", "brown", "gold", "navy", "teal", "lime"]
    harmless = [
        Sample(
            id=f"h/{number}",
            input=sample(f"Is this {'very ' * number}nice?", picture(colour)).input,
            metadata={"expected": "comply", "image_id": colour, "category": "c", "subset": "all"},
        )
        for number, colour in enumerate(colours)
    ]
    task = Task(dataset=harmless, name="nice", scorer=refusal(), version="1-A")
    (log,) = inspect_eval(
        task,
        solver=adaptive(pool, clip),
        model=Scripted("An answer.").model,
        display="none",
        log_dir=str(tmp_path / "logs"),
    )
    assert log.status == "success", log.error
    found = calibrate("adashield", read_results([str(tmp_path / "logs")]), 0.2)
    similar = sorted(DefenseRecord.of(each).notes["similarity"] for each in log.samples or [])
    assert similar[-3] < found.thresholds["gate"] <= similar[-2]
    assert (found.false_alarms, found.harmless) == (2, 10)
    assert found.args["pool"] == str(pool)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gate": 0.9}, "name a pool"),
        ({"on_miss": "static"}, "name a pool"),
        ({"gate": 7.1}, "-S gate=7.1"),
        ({"on_miss": "refuse"}, "none, static"),
        ({"pool": "absent.jsonl"}, r"absent\.jsonl"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        adashield(**options)


def test_a_checkpoint_that_is_not_there_costs_nothing(pool: Path, tmp_path: Path) -> None:
    target = Scripted("ok")
    solver = adaptive(pool, str(tmp_path / "absent"))
    log = run_solver(solver, sample("How?", picture()), target)
    assert "absent" in message_of(log)
    assert target.calls == []


def test_both_carriers_do_the_same_with_a_pool(
    pool: Path, clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"pool": str(pool), "clip": clip, "device": "cpu", "gate": 0.5}
    found = {
        carrier: carry(monkeypatch, carrier, "adashield", options, {"target": Scripted("ok")})
        for carrier in CARRIERS
    }
    branches = set()
    for name, one in found["solver"].items():
        other = found["model_api"][name]
        assert one.error == other.error == "", name
        assert decided(one.decision) == decided(other.decision), name
        assert one.asked("target") == other.asked("target"), name
        assert one.record.notes == other.record.notes, name
        assert one.record.skipped == other.record.skipped, name
        branches.add(one.record.notes.get("branch") or one.record.skipped)
        heard = one.answered
        assert heard is not None
        # Only the last user turn may change.
        last = max((n for n, each in enumerate(heard) if each.role == "user"), default=-1)
        assert spelled(heard[:last]) == spelled(one.conversation[:last]), name
        assert spelled(heard[last + 1 :]) == spelled(one.conversation[last + 1 :]), name
    assert {"pool", "no_image", "tool_turn"} <= branches


async def test_it_decides_without_a_target_as_a_gateway_does(pool: Path, clip: str) -> None:
    one = defense_named("adashield")(pool=str(pool), clip=clip, device="cpu")
    decision = await one.decide(Conversation([user(ITEMS[0]["query"], picture("red"))]))
    assert decision.action == "rewrite"
    assert f"\n\n{ITEMS[0]['prompt']}\n\n" in decision.request


def test_the_pools_features_are_computed_once(
    pool: Path, clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def counted(checkpoint: Any, pairs: Any) -> Any:
        seen.append(len(pairs))
        return pair_features(checkpoint, pairs)

    monkeypatch.setattr("vlmguard.guard.adashield.pool.pair_features", counted)
    asked = [Sample(id=n, input=sample(f"How {n}?", picture()).input) for n in range(3)]
    log = run_solver(adaptive(pool, clip), asked, Scripted("ok"))
    assert log.status == "success"
    assert sorted(seen) == [1, 1, 1, 2]
