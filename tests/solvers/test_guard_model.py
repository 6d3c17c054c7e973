"""The guard model as a filter: every branch, with a scripted guard and target."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
    get_model,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver
from support.scripted import (
    Call,
    Scripted,
    answer_of,
    message_of,
    picture,
    record_of,
    run_solver,
    sample,
    user,
)

from vlmguard.guard.cards import cards
from vlmguard.guard.decision import Verdict
from vlmguard.guard.defense import REFUSAL_MESSAGE, Conversation, Defense, Target
from vlmguard.guard.errors import UserError
from vlmguard.guard.guard_models.base import ChatGuard, Exchange, Side
from vlmguard.guard.guard_models.formats import FORMATS, Format
from vlmguard.guard.guard_models.safety_prompt import (
    ADVICE,
    GENERAL,
    SELF_HARM,
    VIOLENCE,
    SafetyPrompt,
)
from vlmguard.guard.record import recorded
from vlmguard.scorers import refusal
from vlmguard.solvers import guard_model
from vlmguard.solvers.guard_model import CARD, GuardFilter

REWRITE = "<reasoning>Risky.</reasoning><prompt>How, safely?</prompt>"


class Toy(ChatGuard):
    """Asked with the exchange as text; answers `safe`, or `unsafe CODE SCORE`."""

    name: ClassVar = "toy"
    sides: ClassVar[tuple[Side, ...]] = ("input", "output")
    images: ClassVar = "all"
    settings: ClassVar = GenerateConfig(temperature=0.0, max_tokens=9)
    scores = True
    codes: Mapping[str, str] = {"S1": "Violent crimes", "S11": "Self-harm"}

    def messages(self, exchange: Exchange) -> list[ChatMessage]:
        asked = f"{exchange.side}|{exchange.conversation.text}|{exchange.answer}"
        return [user(asked, *exchange.conversation.images)]

    def read(self, reply: str, side: Side) -> Verdict:
        label, *rest = reply.split() or [""]
        return Verdict(
            raw=reply,
            label=label if label in ("safe", "unsafe") else None,  # type: ignore[arg-type]
            categories=tuple(each for each in rest if each[0] not in "01"),
            score=next((float(each) for each in rest if each[0] in "01"), None),
        )


class Looks(Toy):
    """The same for images alone, of the request alone, and without scores or a list."""

    name: ClassVar = "looks"
    sides: ClassVar = ("input",)
    reads: ClassVar = ("image",)
    scores = False
    codes: Mapping[str, str] = {}


class Reads(Toy):
    """The same for text alone."""

    name: ClassVar = "reads"
    reads: ClassVar = ("text",)
    images: ClassVar = "none"


@pytest.fixture(autouse=True)
def toy_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    for guard in (Toy, Looks, Reads):
        made = Format(guard, "Toy", "a line", "none", "none", "nowhere")
        monkeypatch.setitem(FORMATS, guard.name, made)  # type: ignore[arg-type]


def guard_saying(request: str = "safe", *answers: str) -> Scripted:
    """A guard with a verdict on the request, and one on each answer in turn (then the last)."""
    left = list(answers or ("safe",))

    def say(call: Call) -> str:
        if call.text.startswith("input|"):
            return request
        return left.pop(0) if len(left) > 1 else left[0]

    return Scripted(say, "guard")


def ran(target: Scripted, guard: Scripted, asked: Sample | None = None, **options: Any) -> Any:
    """The log of a run of the solver with the toy format."""
    roles = {"guard": guard, **options.pop("roles", {})}
    made = guard_model(**{"adapter": "toy", **options})
    return run_solver(made, asked or sample("How?", picture()), target, roles)


def stages_of(log: Any) -> list[str]:
    return [stage.name for stage in record_of(log).stages]


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        ({"check": "input"}, ["guard_input", "answer"]),
        ({"check": "output"}, ["answer", "guard_output"]),
        ({"check": "both"}, ["guard_input", "answer", "guard_output"]),
    ],
)
def test_a_safe_exchange_passes_unchanged(options: dict[str, Any], calls: list[str]) -> None:
    target, guard, image = Scripted("An answer."), guard_saying(), picture()
    log = ran(target, guard, sample("How?", image), **options)
    assert answer_of(log) == "An answer."
    assert [(call.text, call.images) for call in target.calls] == [("How?", [image])]
    assert all(call.images == [image] for call in guard.calls)
    record = record_of(log)
    assert stages_of(log) == calls
    assert (record.action, record.triggered, record.failure) == ("pass", False, None)
    assert record.verdict == Verdict(raw="safe", label="safe")
    sides = {"both": ["input", "output"]}.get(options["check"], [options["check"]])
    assert record.notes["flagged"] == dict.fromkeys(sides, False)


@pytest.mark.parametrize("check", ["input", "both"])
@pytest.mark.parametrize("on_flag", ["refuse", "regenerate"])
def test_a_flagged_request_is_refused_without_a_call(check: Any, on_flag: Any) -> None:
    if (check, on_flag) == ("input", "regenerate"):
        return
    target = Scripted("An answer.")
    log = ran(target, guard_saying("unsafe S1"), check=check, on_flag=on_flag)
    assert answer_of(log) == REFUSAL_MESSAGE
    assert not target.calls
    record = record_of(log)
    assert stages_of(log) == ["guard_input"]
    assert (record.action, record.triggered) == ("block", True)
    assert record.verdict is not None
    assert record.verdict.categories == ("S1",)
    assert log.samples[0].output.metadata == {"blocked_by_defense": True}


def test_a_flagged_answer_is_refused() -> None:
    log = ran(Scripted("Bad."), guard_saying("safe", "unsafe S1"), check="both")
    assert answer_of(log) == REFUSAL_MESSAGE
    assert stages_of(log) == ["guard_input", "answer", "guard_output"]
    assert record_of(log).notes["flagged"] == {"input": False, "output": True}


def test_a_flagged_request_is_rewritten() -> None:
    target, image = Scripted("An answer."), picture()
    rewriter = Scripted(REWRITE, "rewriter")
    options: dict[str, Any] = {"on_flag": "rewrite", "roles": {"rewriter": rewriter}}
    log = ran(target, guard_saying("unsafe S1"), sample("How?", image), **options)
    assert [(call.text, call.images) for call in target.calls] == [("How, safely?", [image])]
    record = record_of(log)
    assert stages_of(log) == ["guard_input", "rewrite", "answer"]
    assert (record.action, record.rewritten, record.outcome) == (
        "rewrite",
        "How, safely?",
        "rewritten",
    )
    assert record.verdict is not None
    assert record.verdict.label == "unsafe"
    assert record.notes["flagged"] == {"input": True}
    # What is not flagged is not rewritten.
    ran(target, guard_saying(), **options)
    assert (len(rewriter.calls), target.calls[-1].text) == (1, "How?")


@pytest.mark.parametrize(
    ("reply", "options", "sent"),
    [
        ("no tags", {"on_failure": "original"}, "How?"),
        ("no tags", {"on_failure": "refuse"}, None),
        ("I cannot help with that.", {"on_refusal": "refuse"}, None),
        ("I cannot help with that.", {"on_refusal": "original"}, "How?"),
    ],
)
def test_a_rewriter_that_fails_follows_its_options(
    reply: str, options: dict[str, Any], sent: str | None
) -> None:
    target = Scripted("An answer.")
    roles = {"rewriter": Scripted(reply, "rewriter")}
    log = ran(target, guard_saying("unsafe"), on_flag="rewrite", roles=roles, **options)
    assert [call.text for call in target.calls] == ([] if sent is None else [sent])
    assert record_of(log).failure in ("no_prompt", "refused")


def test_a_flagged_request_gets_the_safety_prompt_of_its_hazards() -> None:
    target, image = Scripted("An answer."), picture()
    log = ran(target, guard_saying("unsafe S11"), sample("How?", image), on_flag="safe_prompt")
    (call,) = target.calls
    assert (call.text, call.images) == (f"How?\n\n{GENERAL} {SELF_HARM}", [image])
    assert (record_of(log).action, record_of(log).triggered) == ("rewrite", True)


@pytest.mark.parametrize("on_flag", ["regenerate", "safe_prompt", "rewrite"])
def test_a_flagged_answer_is_made_anew_and_checked_again(on_flag: Any) -> None:
    answers = iter(["Bad.", "Good."])
    target = Scripted(lambda call: next(answers))
    guard = guard_saying("safe", "unsafe S1", "safe")
    roles = {"rewriter": Scripted(REWRITE, "rewriter")}
    log = ran(target, guard, check="both", on_flag=on_flag, roles=roles)
    assert answer_of(log) == "Good."
    assert [call.text for call in target.calls] == [
        "How?",
        f"How?\n\n{GENERAL} {VIOLENCE} "
        "(Do not help to break the law or to deceive; say what is lawful.)",
    ]
    assert stages_of(log) == [
        "guard_input",
        "answer",
        "guard_output",
        "regenerate",
        "guard_output",
    ]
    record = record_of(log)
    assert (record.action, record.triggered) == ("regenerate", True)
    assert record.verdict is not None
    assert record.verdict.label == "safe"
    assert guard.calls[-1].text == "output|How?|Good."


def test_an_answer_that_is_flagged_twice_is_refused() -> None:
    log = ran(
        Scripted("Bad."), guard_saying("safe", "unsafe"), check="output", on_flag="regenerate"
    )
    assert answer_of(log) == REFUSAL_MESSAGE
    assert stages_of(log) == ["answer", "guard_output", "regenerate", "guard_output"]
    assert record_of(log).action == "block"


def test_one_safety_prompt_speaks_of_both_verdicts() -> None:
    target = Scripted("Bad.")
    ran(target, guard_saying("unsafe S11", "unsafe S1"), check="both", on_flag="safe_prompt")
    first, second = (call.text for call in target.calls)
    assert second.count(GENERAL) == first.count(GENERAL) == 1
    assert SELF_HARM in first
    assert VIOLENCE not in first
    assert SELF_HARM in second
    assert VIOLENCE in second


def test_a_rewritten_request_is_what_is_asked_anew() -> None:
    target = Scripted("Bad.")
    roles = {"rewriter": Scripted(REWRITE, "rewriter")}
    guard = guard_saying("unsafe", "unsafe", "safe")
    log = ran(target, guard, check="both", on_flag="rewrite", roles=roles)
    assert [call.text for call in target.calls] == ["How, safely?", f"How, safely?\n\n{GENERAL}"]
    # The guard reads the answer beside the user's own request.
    assert [call.text for call in guard.calls[1:]] == ["output|How?|Bad."] * 2
    assert record_of(log).action == "regenerate"


@pytest.mark.parametrize("reply", ["", ModelOutput.from_content("guard", "", "content_filter")])
def test_a_guard_without_a_word_is_no_verdict(reply: Any) -> None:
    record = record_of(ran(Scripted("An answer."), Scripted(reply, "guard")))
    assert record.failure == "no_verdict"


@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize("on_failure", ["original", "refuse", "raise"])
def test_an_unreadable_verdict_is_neither_safe_nor_unsafe(side: Any, on_failure: Any) -> None:
    target = Scripted("An answer.")
    log = ran(target, guard_saying("maybe", "maybe"), check=side, on_failure=on_failure)
    if on_failure == "raise":
        assert "no_verdict" in message_of(log)
        return
    record = record_of(log)
    assert record.failure == "no_verdict"
    assert record.notes["flagged"] == {}
    assert record.verdict is not None
    assert not record.verdict.parsed
    assert answer_of(log) == ("An answer." if on_failure == "original" else REFUSAL_MESSAGE)
    assert len(target.calls) == (0 if (side, on_failure) == ("input", "refuse") else 1)


@pytest.mark.parametrize("on_failure", ["original", "refuse", "raise"])
def test_a_flagged_answer_never_comes_back_for_want_of_a_second_verdict(on_failure: Any) -> None:
    answers = iter(["Bad.", "Good."])
    log = ran(
        Scripted(lambda call: next(answers)),
        guard_saying("safe", "unsafe", "maybe"),
        check="output",
        on_flag="regenerate",
        on_failure=on_failure,
    )
    if on_failure == "raise":
        assert "no_verdict" in message_of(log)
        return
    assert answer_of(log) == ("Good." if on_failure == "original" else REFUSAL_MESSAGE)
    assert record_of(log).failure == "no_verdict"


@pytest.mark.parametrize(
    ("verdict", "options", "refused"),
    [
        ("safe 0.6", {"threshold": 0.6}, True),
        ("unsafe 0.6", {"threshold": 0.7}, False),
        ("unsafe S1", {"categories": "S11"}, False),
        ("unsafe S1 S11", {"categories": ["s11"]}, True),
        ("unsafe S11", {"categories": "self-HARM"}, True),
        ("unsafe Self-harm", {"categories": "S11"}, True),
        ("unsafe", {"categories": "S11"}, True),
        ("unsafe S1 0.9", {"categories": "S11", "threshold": 0.5}, False),
        ("unsafe S11 0.9", {"categories": "S11", "threshold": 0.5}, True),
        ("safe", {"categories": "S11"}, False),
    ],
)
def test_thresholds_and_categories_decide_what_is_flagged(
    verdict: str, options: dict[str, Any], refused: bool
) -> None:
    log = ran(Scripted("An answer."), guard_saying(verdict), **options)
    assert (answer_of(log) == REFUSAL_MESSAGE) is refused


def test_a_threshold_without_a_score_is_a_failure() -> None:
    record = record_of(ran(Scripted("An answer."), guard_saying("unsafe"), threshold=0.5))
    assert record.failure == "no_score"


@pytest.mark.parametrize(
    ("verdicts", "options", "score"),
    [
        (["unsafe 0.7"], {"check": "input"}, 0.7),
        (["safe", "safe 0.3"], {"check": "output"}, 0.3),
        (["safe 0.2", "safe 0.4"], {"check": "both"}, 0.4),
        (["safe 0.5", "safe 0.4"], {"check": "both"}, 0.5),
        # The answer was never made, so nobody knows what it would have scored ...
        (["unsafe 0.7", "safe 0.1"], {"check": "both"}, None),
        (["unsafe 0.7", "safe 0.1"], {"check": "both", "on_flag": "safe_prompt"}, None),
        # ... unless it cannot score more, or nothing is flagged.
        (["unsafe 1.0", "safe 0.1"], {"check": "both"}, 1.0),
        (["unsafe 0.7", "safe 0.1"], {"check": "both", "threshold": 1.0}, 0.7),
        # What counts not is no alarm under any threshold.
        (["unsafe S1 0.7"], {"categories": "S11"}, 0.0),
    ],
)
def test_the_record_holds_the_score_that_calibrate_reads(
    verdicts: list[str], options: dict[str, Any], score: float | None
) -> None:
    notes = record_of(ran(Scripted("An answer."), guard_saying(*verdicts), **options)).notes
    assert notes[CARD.checks[0].note] == score


def test_without_scores_or_verdict_there_is_none_to_read() -> None:
    for guard in (guard_saying(), guard_saying("safe 0.1", "maybe")):
        assert "score" not in record_of(ran(Scripted("A."), guard, check="both")).notes


def test_what_a_format_cannot_see_is_skipped() -> None:
    target, guard = Scripted("An answer."), guard_saying("unsafe")
    log = ran(target, guard, sample("How?"), adapter="looks")
    assert (answer_of(log), record_of(log).skipped) == ("An answer.", "no_image")
    assert not guard.calls
    assert answer_of(ran(target, guard, adapter="looks")) == REFUSAL_MESSAGE
    # A guard of texts has nothing to read in an image alone, but it reads the answer.
    guard = guard_saying("unsafe", "unsafe")
    log = ran(target, guard, sample("", picture()), adapter="reads", check="both")
    assert [call.text for call in guard.calls] == ["output||An answer."]
    assert answer_of(log) == REFUSAL_MESSAGE


@solver
def alone(defense: Defense, *replies: ModelOutput) -> Solver:
    """A defense around given answers; behind Inspect's solvers no tool call remains."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        left = iter(replies)

        async def answer(messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
            return next(left)

        conversation = Conversation(list(state.messages))
        with recorded(state, "guard_model", conversation.text) as record:
            outcome = await defense.run(conversation, Target(get_model(), answer), record)
        state.output = outcome.output
        return state

    return solve


BAD = ModelOutput.from_content("target", "Bad.")
TOOL = ModelOutput.for_tool_call("target", "look", {})
NOTHING = ModelOutput.from_content("target", "")


@pytest.mark.parametrize(
    ("reply", "skipped", "failure"), [(TOOL, "tool_call", None), (NOTHING, "", "no_answer")]
)
def test_a_tool_call_and_no_answer_are_not_checked(
    reply: ModelOutput, skipped: str, failure: str | None
) -> None:
    for on_flag, replies in (("refuse", [reply]), ("regenerate", [BAD, reply])):
        guard = guard_saying("safe", "unsafe")
        made = GuardFilter(adapter="toy", check="output", on_flag=on_flag)  # type: ignore[arg-type]
        log = run_solver(alone(made, *replies), sample("How?"), Scripted("."), {"guard": guard})
        record = record_of(log)
        assert (record.skipped, record.failure) == (skipped, failure)
        assert len(guard.calls) == len(replies) - 1
        assert record.action == ("pass" if on_flag == "refuse" else "regenerate")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"check": "output", "on_flag": "rewrite"}, "check=input or both, or on_flag=regenerate"),
        ({"check": "output", "on_flag": "safe_prompt"}, "checks the answer alone"),
        ({"check": "input", "on_flag": "regenerate"}, "check=output or both"),
        ({"check": "all"}, "input, output, both"),
        ({"on_flag": "warn"}, "refuse, rewrite, safe_prompt, regenerate"),
        ({"on_failure": "pass"}, "original, refuse, raise"),
        ({"threshold": 1.5}, "threshold"),
        ({"adapter": "looks", "threshold": 0.5}, "labels without scores"),
        ({"adapter": "looks", "check": "both"}, "looks checks input alone"),
        ({"categories": "S11,S77"}, "no category s11,s77"),
        ({"categories": ["S11", "S77"]}, r"no category s77. It has S1 \(Violent crimes\)"),
        ({"adapter": "tyo"}, "Did you mean toy"),
        ({"policy": "x.yaml"}, "has no option policy"),
        ({"templates": "absent"}, "absent: no such folder"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        guard_model(**{"adapter": "toy", **options})


def test_a_missing_role_costs_nothing() -> None:
    target, guard = Scripted("An answer."), guard_saying()
    made = guard_model(adapter="toy", on_flag="rewrite")
    assert "rewriter" in message_of(run_solver(made, sample("?"), target, {"guard": guard}))
    assert "guard" in message_of(run_solver(made, sample("?"), target))
    assert target.calls == guard.calls == []


def test_the_card_says_what_is_missing_and_what_it_costs() -> None:
    card = cards().defenses["guard_model"]
    toy = {"adapter": "toy"}
    assert card.lacks(toy, (), "") == ["no model for the role guard"]
    assert card.lacks({**toy, "on_flag": "rewrite"}, ("guard",), "") == [
        "no model for the role rewriter"
    ]
    assert card.lacks(toy, ("guard",), "") == []
    most = {role: calls.most for role, calls in card.calls({}, ()).items()}
    assert most == {"target": 1, "guard": 1, "rewriter": 0}
    both = {"check": "both", "on_flag": "rewrite"}
    most = {role: calls.most for role, calls in card.calls(both, ()).items()}
    assert most == {"target": 2, "guard": 3, "rewriter": 2}


def test_no_branch_makes_more_calls_than_the_card_says() -> None:
    for check in ("input", "output", "both"):
        for on_flag in ("refuse", "rewrite", "safe_prompt", "regenerate"):
            options: dict[str, Any] = {"check": check, "on_flag": on_flag}
            calls = CARD.calls(options, ())
            for verdicts in (("safe", "safe"), ("unsafe", "unsafe"), ("safe", "unsafe")):
                models = {
                    "target": Scripted("A."),
                    "guard": guard_saying(*verdicts),
                    "rewriter": Scripted("no tags", "rewriter"),
                }
                roles = {"rewriter": models["rewriter"]}
                try:
                    log = ran(models["target"], models["guard"], roles=roles, **options)
                except UserError:
                    continue
                assert log.status == "success"
                for role, model in models.items():
                    least, most = calls[role].least, calls[role].most
                    assert least <= len(model.calls) <= (most or 0), (options, verdicts, role)


def test_safety_prompts_can_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "general.txt").write_text("Mind.")
    ours, own = SafetyPrompt(), SafetyPrompt(str(tmp_path))
    assert own.text(["Specialised advice"]) == f"Mind. {ADVICE}"
    assert own.text(["something else"]) == "Mind."
    assert own.hash != ours.hash
    assert VIOLENCE not in ours.text(["Non-violent crimes"])
    assert VIOLENCE not in ours.text(["non_violent_crimes"])


TEXTS = st.text("ab?\n<>{}", max_size=12)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    turns=st.lists(TEXTS, max_size=2),
    system=st.booleans(),
    text=TEXTS,
    images=st.integers(0, 2),
    check=st.sampled_from(["input", "output", "both"]),
)
def test_a_guard_that_always_says_safe_changes_nothing(
    turns: list[str], system: bool, text: str, images: int, check: str
) -> None:
    messages: list[ChatMessage] = [ChatMessageSystem(content="Be brief.")] if system else []
    for turn in turns:
        messages += [ChatMessageUser(content=turn), ChatMessageAssistant(content="So.")]
    messages.append(user(text, *[picture("red"), picture("blue")][:images]))
    asked = Sample(id="s/1", input=messages)

    def seen(solver: Any, roles: dict[str, Scripted]) -> Any:
        target = Scripted(lambda call: f"Answer {call.text[::-1]}")
        log = run_solver(solver, asked, target, roles, score=False)
        (only,) = log.samples or []
        heard = [
            [message.model_dump(exclude={"id"}) for message in call.messages]
            for call in target.calls
        ]
        return heard, only.output.completion, [m.text for m in only.messages]

    always = {"guard": Scripted("safe 0.0", "guard")}
    on_flag = "refuse"
    guarded = seen(guard_model(adapter="toy", check=check, on_flag=on_flag), always)  # type: ignore[arg-type]
    assert guarded == seen(None, {})


@pytest.mark.usefixtures("own_logs")
def test_scores_of_always_safe_equal_undefended_and_always_unsafe_refuses_all() -> None:
    samples = [
        Sample(
            id=f"s/{n}",
            input=[user(f"How {n}?", picture())],
            metadata={"category": "c", "expected": "care", "image_id": str(n)},
        )
        for n in range(8)
    ]

    def scored(solver: Any, verdict: str) -> tuple[dict[str, float], int]:
        target = Scripted(lambda call: "I cannot help." if "3" in call.text else "Gladly.")
        (log,) = inspect_eval(
            Task(dataset=samples, scorer=refusal()),
            solver=solver,
            model=target.model,
            model_roles={"guard": Scripted(verdict, "guard").model},
            display="none",
        )
        assert log.status == "success", log.error
        assert log.results is not None
        values = {
            f"{score.name} {name}": metric.value
            for score in log.results.scores
            for name, metric in score.metrics.items()
        }
        return values, len(target.calls)

    plain, _ = scored(None, "safe")
    assert scored(guard_model(adapter="toy", check="both"), "safe") == (plain, 8)
    refused, calls = scored(guard_model(adapter="toy", check="both"), "unsafe")
    assert calls == 0
    assert refused["refused mean"] == 1.0
