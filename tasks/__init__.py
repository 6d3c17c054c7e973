"""Benchmarks as Inspect tasks, one file each."""

from vlmguard.tasks.siuo import siuo
from vlmguard.tasks.vlguard import vlguard

__all__ = ["siuo", "vlguard"]
