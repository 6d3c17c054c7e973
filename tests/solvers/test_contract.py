"""The contract of all defenses, in every carrier, on conversations of every kind."""

import asyncio
import inspect
import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import pytest
from inspect_ai.model import (
    ChatMessage,
    ChatMessageUser,
    ContentText,
    GenerateConfig,
    get_model,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver
from support.carriers import CARRIERS, Seen, carry, decided, samples_of
from support.conversations import CONVERSATIONS, spelled
from support.defense_scripts import SCRIPTS, script_of
from support.scripted import run_solver
from support.servers import NOT_SERVED, SERVERS, app_of

from vlmguard import solvers
from vlmguard.guard.cards import cards
from vlmguard.guard.decision import ON_FAILURE, Decision
from vlmguard.guard.defense import (
    REFUSAL_MESSAGE,
    Conversation,
    Defense,
    Target,
    defense_named,
)
from vlmguard.guard.defense.refusal import is_block
from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import parts_of
from vlmguard.guard.serving.upstream import Upstream

DEFENSES = [name for name in cards().defenses if name in vars(solvers)]
SKIPPED = {"tool_result_last": "tool_turn", "no_user_turn": "no_user_turn", "empty": "empty"}
SETTINGS: dict[str, Any] = {
    "seed": 7,
    "stop_seqs": ["END"],
    "reasoning_effort": "low",
    "extra_body": {"a": 1},
    "max_tokens": 2000,
    "system_message": "Be brief.",
    "temperature": 0.7,
}
SERVED = [each for each in itertools.product(SERVERS, DEFENSES) if each not in NOT_SERVED]
UNREADABLE = [
    (name, voice)
    for name in DEFENSES
    if name in SCRIPTS  # else the other tests say what to add
    for voice, said in script_of(name).voices.items()
    if said.unreadable is not None
]


def made(defense: str) -> Defense:
    return defense_named(defense)(**script_of(defense).options)


@pytest.fixture(scope="module")
def carried() -> Iterator[Any]:
    """What happened to all conversations, by carrier and defense; each pair is run once."""
    with pytest.MonkeyPatch.context() as patch:

        @cache
        def of(carrier: str, defense: str) -> dict[str, Seen]:
            script = script_of(defense)
            return carry(patch, carrier, defense, script.options, script.models())

        yield of


@pytest.mark.parametrize(("carrier", "defense"), SERVED)
def test_a_server_does_what_the_solver_does(carried: Any, carrier: str, defense: str) -> None:
    whole = carrier == "proxy" and made(defense).needs_output
    _same(carried("solver", defense), carried(carrier, defense), defense, whole)


def test_a_guard_model_that_refuses_answers_does_so_at_a_gateway(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Its script has answers made anew, which no gateway lets it do.
    options, script = {"check": "both", "on_flag": "refuse"}, script_of("guard_model")
    of = {
        carrier: carry(monkeypatch, carrier, "guard_model", options, script.models())
        for carrier in ("solver", *SERVERS)
    }
    flagged = [seen.record.notes.get("flagged", {}) for seen in of["solver"].values()]
    assert {"input", "output"} <= {side for each in flagged for side in each if each[side]}
    for carrier in SERVERS:
        _same(of["solver"], of[carrier], "guard_model", whole=carrier == "proxy")


def _same(expected: dict[str, Seen], found: dict[str, Seen], defense: str, whole: bool) -> None:
    """Check that a server did what the solver did; `whole`: the record has the model's answer."""
    for name in CONVERSATIONS:
        one, other = expected[name], found[name]
        assert _readable(decided(other.decision)) == _readable(decided(one.decision)), name
        assert one.output
        assert other.output
        assert other.output.completion == one.output.completion, name
        assert other.output.stop_reason == one.output.stop_reason, name
        assert is_block(other.output) == is_block(one.output), name
        for who in ("target", *script_of(defense).roles):
            assert other.asked(who) == one.asked(who), (name, who)
        assert _noted(other, whole) == _noted(one, whole), name


@pytest.mark.parametrize(("carrier", "defense"), NOT_SERVED)
def test_what_a_server_cannot_do_is_refused_at_its_start(carrier: str, defense: str) -> None:
    script = script_of(defense)
    roles = {name: model for name, model in script.models().items() if name != "target"}

    async def start() -> None:
        app = app_of(carrier, defense, script.options, roles, Upstream("http://upstream/v1"))
        async with app.router.lifespan_context(app):
            pass

    with pytest.raises(UserError, match=NOT_SERVED[carrier, defense]):
        asyncio.run(start())


def _readable(decision: dict[str, Any]) -> dict[str, Any]:
    """A decision as far as a server reads conversations: it looks at no tool's name or arguments.

    What the model gets is compared whole.
    """
    for message in decision.get("messages", []):
        message.pop("function", None)
        for call in message.get("tool_calls", []):
            del call["function"], call["arguments"]
    return decision


def _noted(seen: Seen, whole: bool) -> dict[str, Any]:
    """A record; without the model's answer where the server only passes that on, or never asks."""
    noted = _timeless(seen)
    if not whole:
        noted["stages"] = [stage for stage in noted["stages"] if stage["name"] != "answer"]
    return noted


@pytest.mark.parametrize("defense", DEFENSES)
@pytest.mark.parametrize("carrier", [name for name in CARRIERS if name != "solver"])
def test_a_carrier_does_what_the_solver_does(carried: Any, carrier: str, defense: str) -> None:
    expected, found = carried("solver", defense), carried(carrier, defense)
    for name in CONVERSATIONS:
        one, other = expected[name], found[name]
        assert one.error == other.error == "", name
        assert decided(other.decision) == decided(one.decision), name
        assert one.output
        assert other.output
        assert other.output.completion == one.output.completion, name
        assert other.output.stop_reason == one.output.stop_reason, name
        assert is_block(other.output) == is_block(one.output), name
        for who in ("target", *script_of(defense).roles):
            assert other.asked(who) == one.asked(who), (name, who)
        assert _timeless(other) == _timeless(one), name


# Not of a server: its client's settings stand in the body, which goes on as it came
# (tests/guard/serving/); a defense's questions get no more of them than the room of an answer.
@pytest.mark.parametrize("defense", DEFENSES)
def test_a_carrier_asks_under_the_settings_of_the_solver(defense: str) -> None:
    asked = {}
    for carrier, carry_it in CARRIERS.items():
        script = script_of(defense)
        models = script.models("alarmed") if script.voices else script.models()
        samples = samples_of(["image"])
        log = carry_it(defense, script.options, models, samples, **SETTINGS)
        assert log.status == "success"
        # A system message of the settings may stand before or behind the defense's own.
        asked[carrier] = sorted(
            (
                (sorted(spelled(c.messages), key=repr), _set(c.config))
                for c in models["target"].calls
            ),
            key=repr,
        )
    expected = asked.pop("solver")
    assert all(config["reasoning_effort"] == "low" for _, config in expected)
    for carrier, found in asked.items():
        assert found == expected, carrier


def _set(config: GenerateConfig) -> dict[str, Any]:
    return config.model_dump(exclude_none=True, exclude={"system_message"})


def _timeless(seen: Seen) -> dict[str, Any]:
    dumped = seen.record.model_dump()
    for stage in dumped["stages"]:
        stage.pop("seconds")
    dumped["stages"].sort(key=repr)
    return dumped


@pytest.mark.parametrize(("carrier", "defense"), [*itertools.product(CARRIERS, DEFENSES), *SERVED])
def test_only_the_last_user_turn_changes(carried: Any, carrier: str, defense: str) -> None:
    for name, seen in carried(carrier, defense).items():
        assert seen.error == "", name
        assert seen.record.defense == defense
        if seen.answered is None:
            assert seen.record.action == "block", name
            continue
        asked, heard = seen.conversation, list(seen.answered)
        if len(heard) == len(asked) + 1:
            assert heard.pop(0).role == "system", name
        last = max((n for n, each in enumerate(asked) if each.role == "user"), default=-1)
        for place, (before, after) in enumerate(zip(asked, heard, strict=True)):
            if place != last:
                assert spelled([after]) == spelled([before]), (name, place)
            else:
                assert isinstance(after, ChatMessageUser)
                assert _kept(defense, _pictures(before), _pictures(after)), name
        if name in SKIPPED and not made(defense).needs_output:
            assert seen.record.skipped == SKIPPED[name]
            assert spelled(heard) == spelled(asked), name
            assert seen.record.action == "pass"


@pytest.mark.parametrize("defense", DEFENSES)
def test_to_decide_is_the_first_step_of_a_run(carried: Any, defense: str) -> None:
    script = script_of(defense)
    models = script.models()
    target = models.pop("target")
    one = made(defense)
    decisions: dict[str, Decision] = {}

    @solver
    def deciding() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            name = f"Sample {state.sample_id}"
            asked = Conversation(list(state.messages), name, epoch=state.epoch)
            # What needs the target's scores decides nothing without it.
            at_hand = None if script.provider == "mockllm" else Target(get_model())
            decisions[str(state.sample_id)] = await one.decide(asked, target=at_hand)
            return state

        return solve

    log = run_solver(deciding(), samples_of(CONVERSATIONS), target, models, max_samples=1)
    assert log.status == "success"
    assert not target.calls
    for name, seen in carried("solver", defense).items():
        decision = decisions[name]
        if not one.needs_output:
            assert decided(decision) == decided(seen.decision), name
        heard = None if decision.action == "block" else spelled(decision.messages)
        assert heard == (seen.answered and spelled(seen.answered)), name


def _kept(defense: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> bool:
    """Whether the target got the images that the defense's card says."""
    sees = cards().defenses[defense].images["answer"]
    if after == before:
        return True
    if sees == "none":
        return after == [part for part in before if part["type"] != "image"]
    return sees == "altered" and [part["type"] for part in after] == [p["type"] for p in before]


def _pictures(message: ChatMessage) -> list[dict[str, Any]]:
    return [each.model_dump() for each in parts_of(message) if not isinstance(each, ContentText)]


@pytest.mark.parametrize("defense", DEFENSES)
def test_the_scripts_make_a_defense_do_all_that_it_can_do(carried: Any, defense: str) -> None:
    seen = carried("solver", defense).values()
    assert any(each.record.triggered for each in seen)
    script = script_of(defense)
    if script.voices:
        assert any(not each.record.triggered and not each.record.skipped for each in seen)
        assert any(each.record.failure for each in seen)


@pytest.mark.parametrize("on_failure", ON_FAILURE)
@pytest.mark.parametrize(("defense", "voice"), UNREADABLE)
def test_what_cannot_be_read_is_neither_safe_nor_unsafe(
    defense: str, voice: str, on_failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = script_of(defense)
    options = {**script.options, "on_failure": on_failure}
    models = script.models("alarmed", unreadable=voice)
    seen = carry(monkeypatch, "solver", defense, options, models, "image")["image"]
    assert seen.record.failure
    if on_failure == "raise":
        assert seen.record.failure in seen.error
        return
    assert not seen.error
    assert seen.decision
    assert seen.decision.failure == seen.record.failure
    if (verdict := seen.record.verdict) is not None:
        assert verdict.label is None or verdict.raw != script.voices[voice].unreadable
    assert seen.output
    if on_failure == "refuse":
        assert seen.output.completion == REFUSAL_MESSAGE
        assert is_block(seen.output)
        assert (seen.record.action, seen.record.triggered) == ("block", True)
    else:
        assert seen.answered
        assert spelled(seen.answered) == spelled(CONVERSATIONS["image"])
        assert seen.output.completion.startswith("Answer ")
        assert not is_block(seen.output)


@pytest.mark.parametrize("defense", DEFENSES)
def test_what_to_do_without_a_verdict_has_one_vocabulary(defense: str) -> None:
    options = inspect.signature(defense_named(defense)).parameters
    choices = {name: get_args(option.annotation) for name, option in options.items()}
    assert {name for name, of in choices.items() if "raise" in of} <= {"on_failure", "on_refusal"}
    assert choices.get("on_failure", ON_FAILURE) == ON_FAILURE
    assert set(choices.get("on_refusal", ON_FAILURE)) >= set(ON_FAILURE)
    assert "on_failure" in options or not script_of(defense).voices


def test_a_defense_without_a_script_is_told_what_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(SCRIPTS, "ecso")
    with pytest.raises(LookupError, match=r"Add SCRIPTS\['ecso'\] to .*defense_scripts\.py"):
        script_of("ecso")
