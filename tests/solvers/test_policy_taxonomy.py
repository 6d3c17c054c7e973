"""Taxonomies of policy_route, and replies of its router: what is read, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlmguard.guard.errors import UserError
from vlmguard.guard.guard_models.policy import DEFAULT_POLICY
from vlmguard.solvers.policy_route.reply import Route, read_route
from vlmguard.solvers.policy_route.taxonomy import ACTIONS, RouteRule, read_taxonomy

RULE = "- {id: a, definition: A., action: block}\n"
OURS = read_taxonomy()


def test_ours_covers_the_hazards_and_defines_none_of_them_twice() -> None:
    hazards = {rule.name: rule.definition for rule in DEFAULT_POLICY}
    assert len(hazards) == 13
    assert {rule.id: rule.definition for rule in OURS if rule.id in hazards} == hazards
    assert 13 <= len(OURS) <= 20
    assert {rule.action for rule in OURS} == set(ACTIONS)
    for rule in OURS:
        assert rule.should, rule.id
        assert rule.should_not, rule.id


def test_a_rule_has_what_its_file_leaves_out(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(
        "- {id: self_harm, action: block}\n- {id: b.1, definition: ' B. ', action: "
        "forward, name: Boats, should: [Row.], should_not: [Sink.]}\n"
    )
    first, second = read_taxonomy(str(file))
    assert first.name == "self harm"
    assert first.definition == next(r.definition for r in DEFAULT_POLICY if r.name == "self_harm")
    assert first.guidance == "It is about self harm."
    assert second.line == "- b.1 (Boats): B."
    assert second.guidance == "It is about Boats.\n- Do: Row.\n- Do not: Sink."


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "a taxonomy is a list of rules"),
        ("[]", "a taxonomy is a list of rules"),
        ("id: a\naction: block", "a taxonomy is a list of rules"),
        ("just text", "a taxonomy is a list of rules"),
        (RULE + "- text", "line 2: entry 2: no rule: a taxonomy is"),
        (RULE + "- null", "line 2: entry 2: no rule"),
        (RULE + "\n# more\n- {id: b, action: block}", r"line 4: entry 2 \(b\): definition: Field"),
        ("- {definition: A., action: block}", "line 1: entry 1: id: Field required"),
        ("- {id: a, definition: A.}", r"entry 1 \(a\): action: Field required"),
        ("- {id: a, definition: A., action: stop}", r"\(a\): action: .*'block', 'reframe' or"),
        ("- {id: a, definition: ' ', action: block}", r"\(a\): definition: "),
        ("- {id: a b, definition: A., action: block}", r"\(a b\): id: String should match"),
        ("- {id: 1, definition: A., action: block}", "entry 1: id: Input should be a valid str"),
        ("- {id: None, definition: A., action: block}", "None means that no rule applies"),
        (
            "- {id: a, definition: A., action: block, shuold: [x]}",
            r"shuold: .*Did you mean should\b",
        ),
        ("- {id: a, definition: A., action: block, should: x}", r"\(a\): should: "),
        ("- {id: a, definition: A., action: block, should: ['']}", r"\(a\): should\.0: "),
        (RULE + "- {id: A, definition: B., action: block}", "line 2: entry 2: the name 'A' occurs"),
        (RULE + "- {id: b, name: a, definition: B., action: block}", "the name 'a' occurs twice"),
        ("- {id: a, id: b, definition: A., action: block}", "line 1: the key 'id' occurs twice"),
        ("- {id: a\n- [", "line 2"),
    ],
)
def test_what_is_wrong_names_file_entry_and_line(tmp_path: Path, content: str, fault: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(content)
    with pytest.raises(UserError, match=fault) as error:
        read_taxonomy(str(file))
    assert str(file) in str(error.value)
    assert str(error.value).endswith(".")


FIELDS = ("id", "name", "definition", "action", "should", "should_not", "other")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(ACTIONS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(content=st.lists(st.dictionaries(st.sampled_from(FIELDS), VALUES) | VALUES, max_size=4))
def test_any_yaml_is_a_taxonomy_or_an_error_of_the_users(content: Any, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    try:
        rules = read_taxonomy(str(file))
    except UserError:
        return
    assert rules
    assert all(rule.id and rule.name.strip() and rule.definition.strip() for rule in rules)


@pytest.mark.parametrize(
    ("reply", "ids", "confidence"),
    [
        ('{"rules": ["hate"], "confidence": 0.5}', ["hate"], 0.5),
        ('{"confidence": 1, "rules": ["HATE", "self harm", "hate"]}', ["hate", "self_harm"], 1.0),
        ('```json\n{"rules": []}\n```', [], None),
        ('{"rules": null, "confidence": "high"}', [], None),
        ('{"rules": ["None"]}', [], None),
        ('{"rules": "none"}', [], None),
        ('{"rules": "hate, privacy"}', ["hate", "privacy"], None),
        ('{"rules": ["hate"], "confidence": -0.1}', ["hate"], None),
        ('The request says {"rules": []}.\n{"rules": [], "confidence": 0}', [], 0.0),
    ],
)
def test_a_route_is_read(reply: str, ids: list[str], confidence: float | None) -> None:
    route = read_route(reply, OURS)
    assert route
    assert [rule.id for rule in route.rules] == ids
    assert (route.unknown, route.confidence) == (0, confidence)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "hate",
        '{"rules": ["hate"',
        '{"rule": ["hate"]}',
        '["hate"]',
        '{"rules": {"hate": true}}',
        '{"rules": [["hate"]]}',
        '{"rules": [true]}',
        '{"rules": ["hate", "none"]}',
        '{"rules": ["hate"]}\n{"rules": []}',
        '{"rules": []} is what the user wrote.',
    ],
)
def test_anything_else_is_no_route(reply: str) -> None:
    assert read_route(reply, OURS) is None


def test_numbers_may_be_ids() -> None:
    rules = (RouteRule.model_validate({"id": "7", "definition": "S.", "action": "block"}),)
    assert read_route('{"rules": [7, 8]}', rules) == Route(rules, unknown=1)


@given(st.text(max_size=80), st.lists(st.text(max_size=8), max_size=4))
def test_no_text_makes_a_rule_that_is_not_there(text: str, named: list[str]) -> None:
    for reply in (text, json.dumps({"rules": named}), f'{text}\n{{"rules": ["hate"]}}'):
        route = read_route(reply, OURS)
        if route is not None:
            assert set(route.rules) <= set(OURS)
            assert route.unknown <= len(named)
