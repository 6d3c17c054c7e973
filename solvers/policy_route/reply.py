"""Reads the router's reply: the rules that a request falls under."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmguard.guard.guard_models.json_reply import verdict_object
from vlmguard.solvers.policy_route.taxonomy import NONE, RouteRule

__all__ = ["Route", "read_route"]


@dataclass(frozen=True)
class Route:
    """What the router said.

    Attributes:
        rules: The rules, in its order.
        unknown: How many of its rules are not in the taxonomy.
        confidence: How sure it is, 0 to 1; None if it gives no such number.
    """

    rules: tuple[RouteRule, ...]
    unknown: int = 0
    confidence: float | None = None


def read_route(reply: str, taxonomy: Sequence[RouteRule]) -> Route | None:
    """Read a reply, without its thinking.

    Rules go by id or name, in any case. An empty list, `none` and null are no rule.

    Args:
        reply: The reply.
        taxonomy: The rules that it may name.

    Returns:
        The route; None if the reply has no JSON object with `rules` that counts (`json_reply`), or
        names rules and none.
    """
    content = verdict_object(reply, "rules", ("confidence",))
    if content is None:
        return None
    named = content["rules"]
    if isinstance(named, str):
        named = named.split(",")
    listed = named if isinstance(named, list) else [named]
    if any(isinstance(each, dict | list | bool | float) for each in listed):
        return None
    words = ["" if each is None else str(each).strip().casefold() for each in listed]
    wanted = [word for word in dict.fromkeys(words) if word not in NONE]
    if wanted and len(wanted) < len(set(words)):
        return None
    known = {name.casefold(): rule for rule in taxonomy for name in (rule.id, rule.name)}
    rules = tuple(dict.fromkeys(known[word] for word in wanted if word in known))
    unknown = sum(word not in known for word in wanted)
    return Route(rules, unknown, _confidence(content.get("confidence")))


def _confidence(given: object) -> float | None:
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    return float(given) if 0 <= given <= 1 else None
