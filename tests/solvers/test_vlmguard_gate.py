"""A gate before the rewriter: what it passes, what it has rewritten, and when it cannot tell."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageAssistant
from support.guarded import guarded_model
from support.scripted import (
    Scripted,
    answer_of,
    message_of,
    picture,
    record_of,
    run_solver,
    sample,
    user,
)

from vlmguard.guard.cards import Calls, cards
from vlmguard.guard.errors import UserError
from vlmguard.solvers import vlmguard

REWRITTEN = "<reasoning>A ladder on ice.</reasoning><prompt>How do I stay safe on it?</prompt>"
SAFE, UNSAFE = '{"violation": false}', '{"violation": true, "categories": ["violent_crimes"]}'


def models(gate: Any) -> tuple[Scripted, dict[str, Scripted]]:
    rewriter = Scripted(REWRITTEN, "rewriter")
    return Scripted("Use grips."), {"rewriter": rewriter, "gate": Scripted(gate, "gate")}


def test_what_the_gate_finds_safe_is_not_rewritten() -> None:
    target, roles = models(SAFE)
    log = run_solver(vlmguard(gate="role"), sample("What is it?", picture()), target, roles)
    assert target.calls[0].text == "What is it?"
    assert not roles["rewriter"].calls
    (asked,) = roles["gate"].calls
    assert "What is it?" in asked.text
    assert asked.images == [picture()]
    record = record_of(log)
    assert (record.action, record.outcome, record.triggered) == ("pass", "gated", False)
    assert (record.failure, record.rewritten) == (None, None)
    assert record.verdict is not None
    assert record.verdict.label == "safe"
    assert record.notes == {"gate": False}
    assert record.approximations == ["a gate lets requests pass unread by the rewriter"]
    assert [(stage.name, stage.role) for stage in record.stages] == [
        ("gate", "gate"),
        ("answer", "target"),
    ]


def test_what_it_finds_unsafe_is() -> None:
    target, roles = models(UNSAFE)
    log = run_solver(vlmguard(gate="role"), sample("How?", picture()), target, roles)
    assert target.calls[0].text == "How do I stay safe on it?"
    record = record_of(log)
    assert (record.action, record.outcome) == ("rewrite", "rewritten")
    assert record.verdict is not None
    assert record.verdict.categories == ("violent_crimes",)
    assert record.notes["gate"] is True
    assert record.notes["reasoning"] == "A ladder on ice."
    assert [stage.name for stage in record.stages] == ["gate", "rewrite", "answer"]


@pytest.mark.parametrize("reply", ["Lovely weather.", "", '{"violation": "perhaps"}'])
def test_a_verdict_that_cannot_be_read_does_not_open_the_gate(reply: str) -> None:
    target, roles = models(reply)
    log = run_solver(vlmguard(gate="role"), sample("How?"), target, roles)
    assert target.calls[0].text == "How do I stay safe on it?"
    record = record_of(log)
    assert (record.failure, record.outcome) == ("gate_no_verdict", "rewritten")
    assert (record.action, record.triggered) == ("rewrite", True)
    assert record.verdict is not None
    assert record.verdict.label is None
    assert "gate" not in record.notes


@pytest.mark.parametrize("choice", ["refuse", "raise"])
def test_or_it_follows_the_users_choice(choice: Any) -> None:
    target, roles = models("Lovely weather.")
    made = vlmguard(gate="role", on_failure=choice)
    log = run_solver(made, sample("How?"), target, roles)
    assert not target.calls
    assert not roles["rewriter"].calls
    if choice == "raise":
        assert "gate_no_verdict" in message_of(log)
        assert "s/1" in message_of(log)
    else:
        assert answer_of(log).startswith("I'm sorry")
        record = record_of(log)
        assert (record.failure, record.outcome) == ("gate_no_verdict", "unusable")


def test_of_two_failures_the_rewriters_is_told() -> None:
    target, roles = models("Lovely weather.")
    roles["rewriter"] = Scripted("", "rewriter")
    record = record_of(run_solver(vlmguard(gate="role"), sample("How?"), target, roles))
    assert (record.failure, record.outcome) == ("empty", "unusable")
    assert target.calls[0].text == "How?"


def test_a_guard_model_that_sees_nothing_of_a_request_does_not_open_the_gate() -> None:
    target, roles = models("No")
    made = vlmguard(gate="role", gate_adapter="yesno")
    record = record_of(run_solver(made, sample("", picture()), target, roles))
    assert not roles["gate"].calls
    assert record.outcome == "rewritten"
    assert record.notes["gate_reason"] == "empty"
    assert record.failure is None


def test_each_image_alone_is_enough_to_open_it() -> None:
    target, roles = models(
        lambda call: "User Safety: " + ("safe" if call.images == [picture()] else "unsafe")
    )
    images = picture(), picture("blue")
    made = vlmguard(gate="role", gate_adapter="nemotron")
    record = record_of(run_solver(made, sample("How?", *images), target, roles))
    assert sorted(call.images for call in roles["gate"].calls) == sorted(
        [[each] for each in images]
    )
    assert record.outcome == "rewritten"
    assert [stage.name for stage in record.stages] == ["gate", "gate", "rewrite", "answer"]
    assert roles["rewriter"].calls[0].images == [*images]


def test_the_format_takes_options(tmp_path: Path) -> None:
    (tmp_path / "ask.txt").write_text("Is this fine? {request}")
    adapter = {
        "adapter": "custom_regex",
        "prompt": str(tmp_path / "ask.txt"),
        "unsafe": "^stop",
        "safe": "^go",
    }
    target, roles = models("Go")
    made = vlmguard(gate="role", gate_adapter=adapter)
    record = record_of(run_solver(made, sample("How?"), target, roles))
    assert record.outcome == "gated"
    assert roles["gate"].calls[0].text == "Is this fine? How?"


def test_the_cache_sees_what_changed_in_a_file_of_the_format(tmp_path: Path) -> None:
    ask = tmp_path / "ask.txt"
    seen = set()
    for word in ("Fine?", "Fine?", "Good?"):
        ask.write_text(f"{word} {{request}}")
        adapter = {"adapter": "custom_regex", "prompt": str(ask), "unsafe": "^n", "safe": "^y"}
        model = guarded_model("vlmguard", Scripted("ok"), gate="role", gate_adapter=adapter)
        seen.add(model.api.base_url)
    assert len(seen) == 2


def test_a_missing_gate_stops_before_any_call() -> None:
    target, roles = models(SAFE)
    del roles["gate"]
    log = run_solver(vlmguard(gate="role"), sample("How?"), target, roles)
    assert "gate" in message_of(log)
    assert not target.calls


RULES = [
    {"name": "tools", "text": r"\b(saw|drill)s?\b", "image": True},
    {"text": "^dose"},
]


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "gate.yaml"
    path.write_text(yaml.safe_dump(RULES))
    return str(path)


@pytest.mark.parametrize(
    ("text", "image", "why"),
    [
        ("How does this SAW work?", True, "tools"),
        ("How does this saw work?", False, ""),
        ("How does this s\u200baw work?", True, "tools"),
        ("What did I see?", True, ""),
        ("Hello.\nDose of this?", False, "rule 2"),
        ("What is a dose?", False, ""),
    ],
)
def test_rules_say_when_to_rewrite(rules: str, text: str, image: bool, why: str) -> None:
    target, roles = models(SAFE)
    asked = sample(text, *([picture()] if image else []))
    record = record_of(run_solver(vlmguard(gate=rules), asked, target, roles))
    assert record.outcome == ("rewritten" if why else "gated")
    assert record.notes["gate"] is bool(why)
    assert record.notes.get("gate_reason", "") == why
    assert record.verdict is None
    assert not roles["gate"].calls
    assert len(roles["rewriter"].calls) == bool(why)


def test_rules_read_earlier_turns_of_the_user_and_their_images(rules: str) -> None:
    target, roles = models(SAFE)
    turns = [user("A saw.", picture()), ChatMessageAssistant(content="Yes."), user("And now?")]
    asked = Sample(id="s/1", input=list(turns))
    assert record_of(run_solver(vlmguard(gate=rules), asked, target, roles)).outcome == "rewritten"
    turns = [user("Hm.", picture()), ChatMessageAssistant(content="A saw."), user("And now?")]
    asked = Sample(id="s/1", input=list(turns))
    assert record_of(run_solver(vlmguard(gate=rules), asked, target, roles)).outcome == "gated"


def test_a_pattern_that_never_ends_does_not_open_the_gate(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(yaml.safe_dump([{"text": "(a+)+$"}, {"text": "(b|a)+x(a+)+$"}]))
    target, roles = models(SAFE)
    began = time.monotonic()
    log = run_solver(vlmguard(gate=str(path)), sample("a" * 5000 + "!"), target, roles)
    assert time.monotonic() - began < 20
    record = record_of(log)
    assert (record.failure, record.outcome) == ("gate_timeout", "rewritten")
    made = vlmguard(gate=str(path), on_failure="refuse")
    log = run_solver(made, sample("a" * 5000 + "!"), *models(SAFE))
    assert answer_of(log).startswith("I'm sorry")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "a gate is a list of rules"),
        ("text: x", "a gate is a list of rules"),
        ("- 3", "line 1: entry 1: no rule: a gate is a list"),
        (
            "- {image: true}\n- {name: a}",
            r"line 2: entry 2 \(a\): it says neither `text` nor `image`",
        ),
        ("- {text: '('}", r"line 1: entry 1: text=\(: cannot be read as a regular expression"),
        ("- {text: 'a*'}", "line 1: entry 1: .*matches an empty text"),
        ("- {txt: a}", "line 1: entry 1: txt: no such key. Did you mean text"),
        ("- {image: maybe}", "line 1: entry 1: image: "),
    ],
)
def test_what_is_wrong_with_rules_is_named(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"gate\.yaml: {says}"):
        vlmguard(gate=str(path))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"gate": "roles"}, "no such file. Write `role`"),
        ({"gate": "role", "gate_adapter": "lama_guard"}, "Did you mean llama_guard"),
        ({"gate": "role", "gate_adapter": {"adapter": "yesno", "policy": "x"}}, "no option policy"),
        ({"gate_adapter": "custom"}, "add -S gate=role"),
    ],
)
def test_options_that_do_not_fit_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        vlmguard(**options)


def test_the_card_says_whose_calls_a_gate_costs(rules: str) -> None:
    card = cards().defenses["vlmguard"]
    assert card.calls({}, ()) == {"gate": Calls(0, 0)}
    assert card.calls({"gate": rules}, ()) == {"gate": Calls(0, 0), "rewriter": Calls(0, 2)}
    asked = card.calls({"gate": "role"}, ())
    assert asked == {"gate": Calls(1, 1), "rewriter": Calls(0, 2)}
    each = card.calls({"gate": "role", "gate_adapter": "llama_guard_3_vision"}, ())
    assert each["gate"].further_images == 1
    assert card.lacks({"gate": "role"}, ["rewriter"], "") == ["no model for the role gate"]
    assert card.lacks({"gate": "role"}, ["rewriter", "gate"], "") == []
    assert card.lacks({"gate": rules}, ["rewriter"], "") == []
    captioned = {"adapter": "text_guard", "format": "yesno"}
    lacking = card.lacks({"gate": "role", "gate_adapter": captioned}, ["gate"], "")
    assert lacking == ["no model for the role captioner"]
