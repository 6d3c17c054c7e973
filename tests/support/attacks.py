"""Attacks that are registered for a test alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from vlmguard.guard.attacks import AttackCard, attack, base


@contextmanager
def registered(card: AttackCard, factory: base.Factory) -> Iterator[AttackCard]:
    """An attack that lists and commands know while the block runs."""
    with patch.dict(base._CARDS), patch.dict(base._FACTORIES):
        attack(card)(factory)
        yield card
