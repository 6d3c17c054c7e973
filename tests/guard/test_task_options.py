"""Which judge an option means."""

from typing import Any

import pytest

from vlmguard.guard.task_options import judging_guard, kind_of_judge


@pytest.mark.parametrize(
    ("judge", "kind", "guard"),
    [
        ("all", "all", None),
        ("none", "none", None),
        ("guardian", "guardian", None),
        ("guard", "guard", ("custom", {})),
        ("guard/llama_guard", "guard", ("llama_guard", {})),
        ({"adapter": "custom", "policy": "p.yaml"}, "guard", ("custom", {"policy": "p.yaml"})),
    ],
)
def test_a_guard_that_judges_names_its_format(
    judge: Any, kind: str, guard: tuple[str, dict[str, Any]] | None
) -> None:
    assert kind_of_judge(judge) == kind
    assert judging_guard(judge) == guard
