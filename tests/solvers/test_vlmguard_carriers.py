"""The rewriter with a gate, and as one that appends, in every carrier and on every conversation."""

from typing import Any

import pytest
from inspect_ai.model import ChatMessageUser
from support.carriers import CARRIERS, Seen, carry, decided
from support.conversations import CONVERSATIONS
from support.defense_scripts import Script, Voice

REPLY = "<reasoning>A fall.</reasoning><prompt>Explain how to do this with care.</prompt>"
SCRIPT = Script(
    roles={
        "rewriter": Voice("<reasoning>None.</reasoning>No change needed.", REPLY),
        "gate": Voice('{"violation": false}', '{"violation": true}'),
    }
)


@pytest.mark.parametrize("options", [{"gate": "role"}, {"apply": "append"}])
def test_carriers_agree_and_each_branch_comes(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, dict[str, Seen]] = {}
    for carrier in CARRIERS:
        models = SCRIPT.models()
        if "gate" not in options:
            del models["gate"]
        seen[carrier] = carry(monkeypatch, carrier, "vlmguard", options, models)
    first = seen.pop("solver")
    for other in seen.values():
        for name in CONVERSATIONS:
            one, two = first[name], other[name]
            assert one.error == two.error == "", name
            assert decided(one.decision) == decided(two.decision), name
            for who in ("target", "rewriter", "gate"):
                assert one.asked(who) == two.asked(who), (name, who)
    outcomes = {each.record.outcome for each in first.values()}
    assert {"rewritten", "copied", "unusable"} <= outcomes
    assert ("gated" in outcomes) == ("gate" in options)
    failures = {each.record.failure or "" for each in first.values()}
    assert ("gate_no_verdict" in failures) == ("gate" in options)
    if "apply" in options:
        for name, each in first.items():
            assert each.answered, name
            asked, heard = _last(each.conversation), _last(each.answered)
            assert heard.startswith(asked), name
            assert (heard != asked) == each.record.triggered, name


def _last(messages: Any) -> str:
    turns = [each.text for each in messages if isinstance(each, ChatMessageUser)]
    return turns[-1] if turns else ""
