"""Asks before data whose license or owner sets conditions are fetched."""

import sys
from collections.abc import Collection, Sequence

from vlmguard.guard.cards import Card
from vlmguard.guard.errors import UserError

__all__ = ["ask_consent", "conditions"]


def conditions(card: Card) -> str:
    """Why a benchmark's license must be accepted: `gated`, `non-commercial` or both; else empty."""
    said = {"gated": card.gated, "non-commercial": card.noncommercial}
    return " and ".join(name for name, true in said.items() if true)


def ask_consent(chosen: Sequence[Card], accepted: Collection[str]) -> None:
    """Ask for each benchmark whose license must be accepted; all before anything is fetched.

    Args:
        chosen: The benchmarks.
        accepted: Names of those whose license the user has accepted already.

    Raises:
        UserError: One was not accepted, or there is no terminal to ask at.
    """
    open_ = [card for card in chosen if conditions(card) and card.name not in accepted]
    if open_ and not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        listed = "\n".join(f"  {card.name} ({conditions(card)}): {card.license}" for card in open_)
        flags = " ".join(f"--accept-license {card.name}" for card in open_)
        raise UserError(
            f"these licenses must be accepted first, and there is no terminal to ask at:\n"
            f"{listed}\nRead them, and add {flags} to accept."
        )
    for card in open_:
        print(f"{card.title} is {conditions(card)}. License: {card.license}", file=sys.stderr)
        print(f"Type {card.name} to accept it: ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip() != card.name:
            raise UserError(f"the license of {card.name} was not accepted; nothing was fetched.")
