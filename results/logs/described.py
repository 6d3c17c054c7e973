"""What tables say of a run beside its answers: its models, and how its outputs ended."""

from collections import Counter
from typing import Final

from inspect_ai.log import EvalLog

from vlmguard.results.logs.answers import GRADER
from vlmguard.results.logs.attack import ATTACKER
from vlmguard.results.logs.conditions import Judging, model_text, roles_of

__all__ = ["ITS_OWN_JUDGE", "guards_of", "judge_of", "on_outputs"]

ITS_OWN_JUDGE: Final = "its judge is its own guard model, and may miss again what that let pass"
"""A remark on a run."""

_OUTPUTS: Final = {
    "cut_off": "cut off",
    "blocked": "blocked by the defense",
    "refusal": "marked as refusals by the provider",
    "no_answer": "no answers",
}


def guards_of(log: EvalLog) -> dict[str, list[str]]:
    """The models of the defense by role, without the judge and an attack's own."""
    return {
        role: [model_text(each) for each in bound]
        for role, bound in roles_of(log).items()
        if role not in (GRADER, ATTACKER)
    }


def judge_of(judging: Judging) -> str:
    """Names of the judges, else of the exact scorers."""
    judges = dict.fromkeys(
        f"{name} (as {facts['judge_adapter']})" if "judge_adapter" in facts else name
        for facts in judging.values()
        for name in facts.get("judges", ())
    )
    exact = [facts["scorer"] for facts in judging.values() if "scorer" in facts]
    return ", ".join(judges or exact)


def on_outputs(outputs: Counter[tuple[str, str | None]]) -> list[str]:
    """How many outputs were not whole answers, and why.

    Args:
        outputs: The number of answers by kind and reason.
    """
    listed = [
        f"{count} {words}" + ("" if kind == "blocked" else f" ({reason})")
        for kind, words in _OUTPUTS.items()
        for (of, reason), count in sorted(outputs.items(), key=str)
        if of == kind
    ]
    return [f"of {outputs.total()} outputs {', '.join(listed)}"] if listed else []
