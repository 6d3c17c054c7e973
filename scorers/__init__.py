"""Scorers for all tasks."""

from vlmguard.scorers.judge import judge
from vlmguard.scorers.refusal import refusal, refusal_with_prefix

# Tables show measures in the order in which they are registered.
# isort: split
from vlmguard.scorers.guard_judge import guard_judge
from vlmguard.scorers.intervention import intervention
from vlmguard.scorers.leak import leak

__all__ = ["guard_judge", "intervention", "judge", "leak", "refusal", "refusal_with_prefix"]
