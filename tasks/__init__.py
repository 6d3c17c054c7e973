"""Benchmarks as Inspect tasks, one file each."""

from vlmguard.tasks.figstep import figstep
from vlmguard.tasks.microworld import microworld
from vlmguard.tasks.mm_safetybench import mm_safetybench
from vlmguard.tasks.siuo import siuo
from vlmguard.tasks.vlguard import vlguard

__all__ = ["figstep", "microworld", "mm_safetybench", "siuo", "vlguard"]
