"""The roles that models can have, with who asks them, and how often."""

from dataclasses import dataclass

from vlmguard.guard.cards import Cards, DefenseCard, Role, cards

__all__ = ["GRADER", "ListedRole", "listed_roles"]

GRADER = "grader"


@dataclass(frozen=True)
class ListedRole:
    """A role.

    Attributes:
        name: Its name (`--model-role NAME=MODEL`).
        purpose: What the model in it is.
        defenses: Calls for one sample, by the defense that asks it.
        tasks: The same by the task.
        options: Arguments that name a checkpoint in its place, by defense.
        optional: Defenses that can do without it.
    """

    name: str
    purpose: str
    defenses: dict[str, str]
    tasks: dict[str, str]
    options: dict[str, str]
    optional: tuple[str, ...]


def listed_roles() -> list[ListedRole]:
    """All roles: the judge, then those of defenses and tasks by name."""
    known = cards()
    asked: dict[str, list[tuple[DefenseCard, Role]]] = {}
    for card in known.defenses.values():
        for role in card.roles:
            asked.setdefault(role.name, []).append((card, role))
    tasks = _tasks(known)
    names = sorted(asked.keys() | tasks.keys(), key=lambda name: (name != GRADER, name))
    return [
        ListedRole(
            name,
            "the judge of answers" if name == GRADER else "",
            {card.name: str(role.calls) for card, role in asked.get(name, ())},
            tasks.get(name, {}),
            {card.name: role.option for card, role in asked.get(name, ()) if role.option},
            tuple(card.name for card, role in asked.get(name, ()) if not role.needed),
        )
        for name in names
    ]


def _tasks(known: Cards) -> dict[str, dict[str, str]]:
    """The roles of tasks: calls by task."""
    found: dict[str, dict[str, str]] = {}
    for card in known.benchmarks.values():
        if questions := card.questions({}):
            found.setdefault(GRADER, {})[card.name] = str(questions)
        for role, calls in card.roles.items():
            found.setdefault(role, {})[card.name] = calls
    for task in known.tasks.values():
        for role, calls in task.roles.items():
            found.setdefault(role, {})[task.name] = calls
    return found
