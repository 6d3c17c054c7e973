"""JailGuard: variants of a request, and how far the answers to them differ."""

from vlmguard.solvers.jailguard.solver import jailguard

__all__ = ["jailguard"]
