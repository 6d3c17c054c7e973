"""Policy route: a model sorts requests by the rules of a taxonomy, which say what is done."""

from vlmguard.solvers.policy_route.solver import policy_route

__all__ = ["policy_route"]
