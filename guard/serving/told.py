"""The headers that tell a client what the guard did; the text of a rewrite is never in one."""

from typing import Final

from vlmguard.guard.serving.guarding import Decided, Guard

__all__ = ["SHADOW", "told"]

SHADOW: Final = {"x-vlmguard-action": "shadow"}
"""The headers where nothing has been decided when the answer begins."""


def told(guard: Guard, decided: Decided) -> dict[str, str]:
    """The headers of an answer.

    Args:
        guard: The guard.
        decided: What it decided.
    """
    return {
        "x-vlmguard-action": decided.told,
        "x-vlmguard-version": guard.defense.card.version,
        "x-vlmguard-ms": f"{decided.seconds * 1000:.0f}",
    }
