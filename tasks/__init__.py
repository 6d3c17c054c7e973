"""Benchmarks as Inspect tasks, one file each."""

from vlmguard.tasks.siuo import siuo

__all__ = ["siuo"]
