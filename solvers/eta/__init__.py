"""ETA (Evaluating Then Aligning): two checks of the answer, then guided decoding."""

from vlmguard.solvers.eta.solver import eta

__all__ = ["eta"]
