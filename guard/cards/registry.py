"""All cards that there are: tasks, solvers and scorers register them, all others look them up."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from inspect import isfunction
from typing import Any, Final

from vlmguard.guard.cards.benchmarks import Card, OtherTask
from vlmguard.guard.cards.defenses import DefenseCard
from vlmguard.guard.cards.measures import Measure, View
from vlmguard.guard.errors import UserError

__all__ = ["Cards", "cards", "check_names", "register", "register_measures", "registered"]


@dataclass(frozen=True)
class Cards:
    """All that is registered.

    Attributes:
        benchmarks: By name, in the order of names.
        defenses: By name of the solver: ours, then in the order of names.
        tasks: Tasks that are no benchmarks, by name.
        measures: How to read the measures of the scorers that any task may have, by scorer.
    """

    benchmarks: Mapping[str, Card]
    defenses: Mapping[str, DefenseCard]
    tasks: Mapping[str, OtherTask]
    measures: Mapping[str, Mapping[str, Measure]]

    def benchmark(self, task: str, args: Mapping[str, Any]) -> Card | None:
        """The benchmark that a task runs with these arguments; None for a task of others.

        Args:
            task: Name of the task, without a package.
            args: Its arguments.
        """
        for card in self.benchmarks.values():
            if card.task == task and card.chosen_by.items() <= args.items():
                return card
        return self.benchmarks.get(task)

    @cached_property
    def own_views(self) -> Mapping[str, View]:
        """The views on benchmarks' cards, by column: the scorer and the view's name."""
        return {
            f"{measure.of.partition('.')[0]}.{name}": measure
            for card in self.benchmarks.values()
            for name, measure in card.measures.items()
            if isinstance(measure, View)
        }

    @cached_property
    def views(self) -> Mapping[str, tuple[str, bool]]:
        """Columns that repeat another one for some samples: its name, and if these are benign."""
        common = {
            name: (f"{scorer}.{measure.of}", measure.on == "benign")
            for scorer, measures in self.measures.items()
            for name, measure in measures.items()
            if isinstance(measure, View)
        }
        own = self.own_views.items()
        return common | {name: (view.of, view.on == "benign") for name, view in own}


_BENCHMARKS: Final[dict[str, Card]] = {}
_DEFENSES: Final[dict[str, DefenseCard]] = {}
_TASKS: Final[dict[str, OtherTask]] = {}
_MEASURES: Final[dict[str, Mapping[str, Measure]]] = {}


def register(card: Card | DefenseCard | OtherTask) -> None:
    """Register a card."""
    if isinstance(card, Card):
        _BENCHMARKS[card.name] = card
    elif isinstance(card, DefenseCard):
        _DEFENSES[card.name] = card
    else:
        _TASKS[card.name] = card


def register_measures(scorer: str, measures: Mapping[str, Measure]) -> None:
    """Register how to read the measures of a scorer, for all tasks.

    Args:
        scorer: Its name, without a package.
        measures: By key of its scores; a `View` by a name of its own.
    """
    _MEASURES[scorer] = measures


def check_names(package: Mapping[str, Any], named: Collection[str]) -> None:
    """Refuse a package with a task or solver whose card has another name.

    Args:
        package: The package's names, `globals()`; what it imported from its modules counts.
        named: Names on the cards so far; those of others' files may be among them.

    Raises:
        UserError: A function has no card of its name.
    """
    inside = f"{package['__name__']}."
    ours = [
        name for name, it in package.items() if isfunction(it) and it.__module__.startswith(inside)
    ]
    for name in ours:
        if name not in named:
            others = ", ".join(sorted({*named} - {*ours})) or "none"
            raise UserError(
                f"{package[name].__module__}: no registered card has the name of its function "
                f"{name}. Cards with the name of no function: {others}. Write CARD = "
                f"...(name={name!r}, ...) and register(CARD) beside the function."
            )


def registered() -> Cards:
    """The cards of the modules that have been imported so far."""
    known: tuple[Mapping[str, object], ...] = (_BENCHMARKS, _DEFENSES, _TASKS, _MEASURES)
    return _registered(tuple(id(each) for those in known for each in those.values()))


# Tables ask for it thousands of times. The result holds the cards, so that no other card can have
# the identity of one of them.
@lru_cache(maxsize=1)
def _registered(_of: tuple[int, ...]) -> Cards:
    ours_first = sorted(_DEFENSES.values(), key=lambda card: (not card.ours, card.name))
    return Cards(
        benchmarks={name: _BENCHMARKS[name] for name in sorted(_BENCHMARKS)},
        defenses={card.name: card for card in ours_first},
        tasks={name: _TASKS[name] for name in sorted(_TASKS)},
        measures=dict(_MEASURES),
    )


def cards() -> Cards:
    """All cards of the package, and those that others registered.

    Imports every task and solver, so call it at run time, not while a module is imported.
    """
    # An incomplete set of cards would look complete.
    if "__all__" not in vars(import_module("vlmguard._registry")):
        raise RuntimeError(
            "cards() was called while tasks and solvers are still being imported: call it when "
            "something runs, not in the body of a module."
        )
    return registered()
