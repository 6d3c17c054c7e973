"""`vlmguard data fetch`: gets the data of benchmarks from where their authors publish them."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.cards import Card
from vlmguard.guard.data_source import DATA_ROOT, data_root
from vlmguard.guard.errors import UserError
from vlmguard.guard.package import PACKAGE
from vlmguard.guard.terminal import say_error, say_next
from vlmguard.tasks.data.check import describe
from vlmguard.tasks.data.command import known_sets
from vlmguard.tasks.data.fetch.consent import ask_consent, conditions
from vlmguard.tasks.data.fetch.progress import shown_progress
from vlmguard.tasks.data.fetch.record import RECORD
from vlmguard.tasks.data.fetch.sets import Outcome, fetch_set, sources

__all__ = ["run"]


def run(names: list[str], data_dir: str | None, accepted: list[str], dry_run: bool) -> int:
    """Fetch benchmarks one after another. The arguments are declared in `vlmguard.cli`.

    Args:
        names: The benchmarks.
        data_dir: Folder with a folder for each, instead of `VLMGUARD_DATA`; made if it is missing.
        accepted: Those whose license the user has accepted.
        dry_run: Whether only to say what would be fetched.

    Returns:
        Exit status: 0 if all of them are complete now, 1 if something is missing or altered, 2 if a
        source refused or failed.

    Raises:
        UserError: No such benchmark, none that can be fetched, no folder, or a license that was not
            accepted.
    """
    chosen = _known(names)
    _known(accepted)
    root = data_root(data_dir)
    if root is None:
        raise UserError(f"where to? Name a folder with --data-dir, or set {DATA_ROOT}.")
    if dry_run:
        print("\n\n".join(_plan(card, root) for card in chosen))
        return 0
    ask_consent(chosen, accepted)
    statuses = [_fetch(card, root) for card in chosen]
    ready = [card.name for card, status in zip(chosen, statuses, strict=True) if status == 0]
    if ready:
        if data_root() != root:
            say_next(f"export {DATA_ROOT}={shlex.quote(str(root))}")
        say_next(f"inspect eval {PACKAGE}/{ready[0]} --model MODEL --model-role grader=JUDGE")
    return max(statuses)


def _known(names: Sequence[str]) -> list[Card]:
    """The cards of these names, each once; an error tells of all that cannot be fetched."""
    known = known_sets()
    can = ", ".join(name for name, card in known.items() if card.fetchable)
    asked = dict.fromkeys(names)
    faults = [
        f"no benchmark {name}.{did_you_mean(name, known)} Choose among: {can}."
        for name in asked
        if name not in known
    ]
    cards = [known[name] for name in asked if name in known]
    faults += [
        f"{card.name} cannot be fetched. {card.obtain}" for card in cards if not card.fetchable
    ]
    if faults:
        raise UserError("\n".join(faults))
    return cards


def _plan(card: Card, root: Path) -> str:
    lines = [f"{card.title} ({card.name}) into {root / card.name}", f"  license   {card.license}"]
    if conditions(card):
        lines.append(f"  to accept {conditions(card)}: --accept-license {card.name}")
    return "\n".join([*lines, *(f"  from      {source}" for source in sources(card))])


def _fetch(card: Card, root: Path) -> int:
    try:
        with shown_progress() as report:
            outcome = fetch_set(card, root, report)
    except UserError as error:
        # The others can still be fetched.
        say_error(_without_this_command(str(error), card))
        return 2
    print(_without_this_command(_described(outcome, root / card.name), card), flush=True)
    return 0 if outcome.complete else 1


def _without_this_command(message: str, card: Card) -> str:
    """A message with another way than the command that just failed."""
    return message.replace(card.how_to_get, f"By hand: {card.obtain}")


def _described(outcome: Outcome, folder: Path) -> str:
    lines = [
        describe(outcome.checked, fetched=True),
        *(f"  fetched   {source}" for source in outcome.taken),
    ]
    lines += [f"  not there {name}" for name in outcome.lacking]
    if outcome.altered:
        lines.append(f"  altered   {_count(outcome.altered)} not as published; delete and fetch:")
        lines += [f"            {name}" for name in outcome.altered]
    if outcome.dead:
        lines.append(
            f"  missing   {_count([*outcome.dead])} not fetched (also in {folder / RECORD}):"
        )
        lines += [f"            {name}: {reason}" for name, reason in outcome.dead.items()]
    return "\n".join(lines)


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} file{'s' * (len(names) != 1)}"
