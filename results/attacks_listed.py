"""All attacks, as their cards, signatures and docstrings tell of them: `vlmguard attack list`."""

from typing import Any

from vlmguard.guard.attacks import AttackCard, attack_cards, chosen_attack
from vlmguard.guard.attacks.base import factory_of
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.options_listed import Option, option_facts, options_taken

__all__ = ["attacks_json", "attacks_sheet", "one_attack"]

_SEED = Option("seed", (), 0, about="Seed of all that is random; every attack has it.")


def attacks_sheet() -> Sheet:
    """A table of all attacks."""
    header = ["attack", "what it does", "kind", "on", "roles", "options", "paper", "closed"]
    rows = [
        [
            f"`{card.name}`",
            card.summary,
            _kind(card),
            _on(card),
            _roles(card),
            ", ".join(_named(card)),
            card.paper,
            card.closed,
        ]
        for card in attack_cards().values()
    ]
    title = "Attacks (-T attack=NAME, or --solver attack_loop -S attack=NAME)"
    return Sheet(title, header, rows, labels=len(header))


def one_attack(name: str) -> Sheet:
    """A table of a single row with all that a user must know of an attack.

    Args:
        name: Its name, with options or without.

    Raises:
        UserError: There is none of this name.
    """
    card = _card(name)
    facts = {
        "title": card.title,
        "what it does": card.summary,
        "kind": _kind(card),
        "run as": _run_as(card),
        "on": _on(card),
        "counts as adaptive": "yes" if card.adaptive else "",
        "roles": _roles(card),
        "options (NAME:OPTION=VALUE)": "\n".join(each.told for each in _options(card)),
        "paper": card.paper,
        "fidelity": card.fidelity,
        "closed": card.closed,
        "version": card.version,
    }
    told = {heading: cell for heading, cell in facts.items() if cell}
    return Sheet("", ["name", *told], [[f"`{card.name}`", *told.values()]], labels=1 + len(told))


def attacks_json(name: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """The same facts for programs.

    Args:
        name: An attack; None for all.

    Raises:
        UserError: There is none of this name.
    """
    chosen = [_card(name)] if name else list(attack_cards().values())
    return {
        "attacks": [
            {
                "name": card.name,
                "title": card.title,
                "version": card.version,
                "paper": card.paper,
                "summary": card.summary,
                "kind": card.kind,
                "tries": card.tries,
                "adaptive": card.adaptive,
                "draws": card.draws,
                "on": card.on,
                "roles": [{"name": role.name, "calls": str(role.calls)} for role in card.roles],
                "options": [option_facts(each) for each in _options(card)],
                "fidelity": card.fidelity,
                "closed": card.closed,
            }
            for card in chosen
        ]
    }


def _card(name: str) -> AttackCard:
    return chosen_attack(name, "attack").card


def _kind(card: AttackCard) -> str:
    if card.kind == "dialogue":
        return f"dialogue, up to {card.tries} turns"
    return card.kind if card.tries == 1 else f"{card.kind}, up to {card.tries} tries in a loop"


def _on(card: AttackCard) -> str:
    return {"risky": "risky samples", "benign": "harmless samples", "all": "all samples"}[card.on]


def _run_as(card: AttackCard) -> str:
    loop = f"--solver attack_loop -S attack={card.name}"
    if card.kind != "static":
        return loop
    return f"-T attack={card.name}" + (f", or {loop}" if card.tries > 1 else "")


def _roles(card: AttackCard) -> str:
    return ", ".join(f"{role.name} {role.calls}" for role in card.roles)


def _named(card: AttackCard) -> list[str]:
    """The options that its card has for lists, with their choices."""
    known = {each.name: each for each in _options(card)}
    return [str(known[name]) for name in card.options]


def _options(card: AttackCard) -> list[Option]:
    return [*options_taken(factory_of(card.name)), _SEED]
