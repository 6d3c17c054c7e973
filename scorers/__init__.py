"""Scorers that every task offers."""

from vlmguard.scorers.judge import judge
from vlmguard.scorers.refusal import refusal

__all__ = ["judge", "refusal"]
