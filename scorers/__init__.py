"""Scorers for all tasks."""

from vlmguard.scorers.judge import judge
from vlmguard.scorers.refusal import refusal, refusal_with_prefix

__all__ = ["judge", "refusal", "refusal_with_prefix"]
