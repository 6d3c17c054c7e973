"""What a decision says of a request."""

from typing import Literal

import pytest

from vlmguard.guard.decision import Action, Decision, Verdict


@pytest.mark.parametrize(
    ("action", "reason", "label", "flags"),
    [
        ("pass", "", None, False),
        ("pass", "self_check", "unsafe", False),
        ("block", "flagged", "unsafe", True),
        ("rewrite", "rewritten", None, True),
        ("rewrite", "high risk", "unsafe", True),
        ("rewrite", "low risk", "safe", False),
        # By a threshold, against the guard's label.
        ("rewrite", "flagged", "safe", True),
        ("block", "flagged", "safe", True),
    ],
)
def test_a_changed_request_is_flagged_unless_its_verdict_is_safe(
    action: Action, reason: str, label: Literal["safe", "unsafe"] | None, flags: bool
) -> None:
    verdict = None if label is None else Verdict(raw="", label=label)
    assert Decision(action, "How?", reason, verdict=verdict).flags is flags
