"""SIA (intent awareness): what it asks, and its three stages."""

from vlmguard.solvers.sia.solver import sia

__all__ = ["sia"]
