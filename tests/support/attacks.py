"""Attacks that are registered for a test alone."""

from collections.abc import Iterator
from contextlib import contextmanager

from vlmguard.guard.attacks import AttackCard, attack, base


@contextmanager
def registered(card: AttackCard, factory: base.Factory) -> Iterator[AttackCard]:
    """An attack that lists and commands know while the block runs."""
    attack(card)(factory)
    try:
        yield card
    finally:
        del base._CARDS[card.name], base._FACTORIES[card.name]
