"""Cards are looked up once, and again as soon as another one is registered."""

import gc
from pathlib import Path

import pytest

from vlmguard.cli import main
from vlmguard.guard.cards import Card, View, cards, register


def toy(view: str) -> Card:
    """A card of a benchmark with a view."""
    of = View(of="judge.safety", on="benign")
    return Card(name="toy", title="Toy", shown_elsewhere=("x",), measures={view: of})


def test_a_card_that_is_registered_or_replaced_later_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = cards()
    assert cards() is before
    monkeypatch.setattr("vlmguard.guard.cards.registry._BENCHMARKS", dict(before.benchmarks))
    register(toy("first"))
    assert "toy" not in before.benchmarks
    assert cards().views["judge.first"] == ("judge.safety", True)
    for number in range(20):  # Cards that are gone leave their place in memory to others.
        register(toy(f"view_{number}"))
        assert f"judge.view_{number}" in cards().views
        assert "judge.first" not in cards().own_views


def test_a_leaderboard_leaves_pythons_collector_as_it_was(tmp_path: Path) -> None:
    before = gc.get_threshold()
    assert main(["leaderboard", str(tmp_path)]) == 2
    assert gc.get_threshold() == before
