"""All tasks, defenses, roles and guard formats, as cards, signatures and docstrings tell of them.

vlmguard list benchmarks
vlmguard list siuo                                 # all about one of them
python -m vlmguard.results.catalogue README.md docs/*.md    # `make readme`: renew their tables
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.cards import Card, DefenseCard, OtherTask, Role, cards
from vlmguard.guard.errors import UserError
from vlmguard.guard.guard_models.formats import FORMATS as GUARD_FORMATS
from vlmguard.guard.package import PACKAGE
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.logs.measures import ARROWS
from vlmguard.results.options_listed import (
    Option,
    common_options,
    option_facts,
    options_of,
    own_options,
)
from vlmguard.results.roles_listed import ListedRole, listed_roles

BENCHMARKS: Final = "benchmarks"
TASKS: Final = "tasks"
DEFENSES: Final = "defenses"
ROLES: Final = "roles"
FORMATS: Final = "formats"
KINDS: Final = (BENCHMARKS, TASKS, DEFENSES, ROLES, FORMATS)
NOTHING: Final = "–"
_SIZES: Final = 3
"""The most sizes of variants that a table lists; of more it gives the range."""


def as_sheets(kind: str | None = None) -> list[Sheet]:
    """Tables of benchmarks, other tasks, defenses and roles.

    Args:
        kind: One of `KINDS` (`tasks` are benchmarks and others), or None for all but formats.
    """
    sheets = []
    if kind in (BENCHMARKS, TASKS, None):
        header = ["benchmark", "samples", "judge calls a sample", "partner", "license", "headline"]
        rows = [_benchmark_row(card) for card in cards().benchmarks.values()]
        sheets.append(Sheet("Benchmarks", header, rows, labels=len(header)))
    if kind in (TASKS, None):
        header = ["task", "what it does", "run as", "calls to roles"]
        rows = [_task_row(task) for task in cards().tasks.values()]
        sheets.append(Sheet("Other tasks", header, rows, labels=len(header)))
    if kind in (DEFENSES, None):
        header = ["solver", "what it does", "calls to the target", "other calls"]
        rows = [_defense_row(card) for card in cards().defenses.values()]
        header += ["of several images", "roles and options (`-S name=value`)"]
        sheets.append(Sheet("Defenses", header, rows, labels=len(header)))
    if kind in (ROLES, None):
        header = ["role", "calls a sample, by who asks it"]
        rows = [_role_row(role) for role in listed_roles()]
        sheets.append(Sheet("Roles (--model-role NAME=MODEL)", header, rows, labels=len(header)))
    if kind == FORMATS:
        told = {name: each.facts for name, each in GUARD_FORMATS.items()}
        header = ["format", "what it is", "sides", "sees", "models"]
        rows = [
            [f"`{name}`", *(of[each] for each in ("Format", "Sides", "Sees", "Models"))]
            for name, of in told.items()
        ]
        title = "Formats of guard models (`adapter=NAME`, or wherever one is named)"
        sheets.append(Sheet(title, header, rows, labels=len(header)))
    return sheets


def all_about(name: str) -> Sheet:
    """A table of a single row with all that a user must know of a task, defense, role or format.

    Args:
        name: Its name.

    Raises:
        UserError: There is none of this name.
    """
    known = cards()
    roles = {role.name: role for role in listed_roles()}
    if name in known.benchmarks:
        facts = _benchmark_facts(known.benchmarks[name])
    elif name in known.tasks:
        facts = _task_facts(known.tasks[name])
    elif name in known.defenses:
        facts = _defense_facts(known.defenses[name])
    elif name in roles:
        facts = _role_facts(roles[name])
    elif name in GUARD_FORMATS:
        facts = {heading.lower(): fact for heading, fact in GUARD_FORMATS[name].facts.items()}
    else:
        names = [*known.benchmarks, *known.tasks, *known.defenses, *roles, *GUARD_FORMATS]
        raise UserError(
            f"{name} is no task, defense, role or format.{did_you_mean(name, [*KINDS, *names])} "
            f"`vlmguard list {{{','.join(KINDS)}}}` has the names, `vlmguard attack list` those of "
            "attacks."
        )
    told = {heading: cell for heading, cell in facts.items() if cell and cell != NOTHING}
    return Sheet("", ["name", *told], [[f"`{name}`", *told.values()]], labels=1 + len(told))


def as_json(kind: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """The same facts, and the rest of the cards, for programs."""
    content: dict[str, list[dict[str, Any]]] = {}
    if kind in (BENCHMARKS, TASKS, None):
        content[BENCHMARKS] = [
            {
                "name": card.name,
                "title": card.title,
                "task": card.task or card.name,
                "chosen_by": dict(card.chosen_by),
                "license": card.license,
                "gated": card.gated,
                "noncommercial": card.noncommercial,
                "partner": _partner_facts(card),
                "hub": card.hub,
                "obtain": card.obtain,
                "samples": dict(card.variants),
                "options": [option_facts(each) for each in own_options(card)],
                "judge_questions": card.questions({}),
                "headline": list(card.headline),
                "measures": {name: each.model_dump() for name, each in card.measures.items()},
            }
            for card in cards().benchmarks.values()
        ]
    if kind in (TASKS, None):
        content[TASKS] = [
            {
                "name": task.name,
                "summary": task.summary,
                "roles": dict(task.roles),
                "options": [option_facts(each) for each in options_of("task", task.name)],
            }
            for task in cards().tasks.values()
        ]
    if kind in (DEFENSES, None):
        content[DEFENSES] = [
            {
                "name": card.name,
                "title": card.title,
                "version": card.version,
                "paper": card.paper,
                "summary": card.summary,
                "target_calls": str(card.target_calls),
                "roles": [
                    {
                        "name": each.name,
                        "calls": str(each.calls),
                        "option": each.option,
                        "needed": each.needed,
                    }
                    for each in card.roles
                ],
                "images": dict(card.images),
                "options": [option_facts(each) for each in options_of("solver", card.name)],
                "fidelity": card.fidelity,
                "blind_to": card.blind_to,
            }
            for card in cards().defenses.values()
        ]
    if kind in (FORMATS, None):
        content[FORMATS] = [
            {"name": name, **{heading.lower(): fact for heading, fact in each.facts.items()}}
            for name, each in GUARD_FORMATS.items()
        ]
    if kind in (ROLES, None):
        content[ROLES] = [asdict(role) for role in listed_roles()]
    return content


def renewed(text: str, page: Path) -> str:
    """A page with its tables of benchmarks and defenses, if any, as the cards are now.

    Args:
        text: The page.
        page: Its place, from the root of the repository.

    Raises:
        UserError: A table has no end.
    """
    root = "../" * (len(page.parts) - 1)
    benchmarks, defenses = (as_sheets(kind)[0] for kind in (BENCHMARKS, DEFENSES))
    # What draws its own data, or takes the user's, has a section of its own.
    drawn = [f"`{card.name}`" for card in cards().benchmarks.values() if not card.variants]
    benchmarks.rows = [row for row in benchmarks.rows if row[0] not in drawn]
    for row in benchmarks.rows:
        card = cards().benchmarks[row[0].strip("`")]
        row[0] = f"[{row[0]}]({root}tasks/README.md#{card.task or card.name})"
    defenses.rows.insert(0, ["(none)", "undefended", "1", NOTHING, "all", ""])
    for kind, sheet in ((BENCHMARKS, benchmarks), (DEFENSES, defenses)):
        before, start, rest = text.partition(f"{table_marker(kind)}\n")
        if not start:
            continue
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise UserError(f"{page}: no line '<!-- end -->' behind the table of {kind}.")
        table = "\n".join(_line(row) for row in (sheet.header, ["---"] * len(sheet.header)))
        table += "".join(f"\n{_line(row)}" for row in sheet.rows)
        text = f"{before}{start}{table}\n{end}{after}"
    return text


def table_marker(kind: str) -> str:
    """The line before a table that is made of cards."""
    return f"<!-- {kind}: made by `make readme` -->"


def _benchmark_row(card: Card) -> list[str]:
    sizes = list(dict.fromkeys(size for size in card.variants.values() if size is not None))
    shown = " / ".join(f"{size:,}" for size in sizes)
    if len(sizes) > _SIZES:
        shown = f"{min(sizes):,} to {max(sizes):,}"
    return [
        f"`{card.name}`",
        shown or NOTHING,
        _asked(card, {}),
        _partner(card),
        _license(card),
        _headlines(card),
    ]


def _benchmark_facts(card: Card) -> dict[str, str]:
    """All about a benchmark, for `vlmguard list NAME`."""
    options = own_options(card)
    sizes = {
        f"{name} {NOTHING if size is None else format(size, ',')}"
        for name, size in card.variants.items()
    }
    return {
        "title": card.title,
        "run as": _run_as(card),
        "samples": ", ".join(sorted(sizes)),
        "options (-T name=value)": _told(options),
        "options of every task": ", ".join(each.name for each in common_options()),
        "judge calls a sample": _questions(card, options),
        "headline": _headlines(card),
        "partner": _partner(card, whole=True),
        "license": card.license,
        "terms": ", ".join(_terms(card)),
        "data": card.obtain,
    }


def _run_as(card: Card) -> str:
    """The task and the arguments that choose a benchmark."""
    chosen = [f"-T {option}={value}" for option, value in card.chosen_by.items()]
    return " ".join([f"{PACKAGE}/{card.task or card.name}", *chosen])


def _defense_facts(card: DefenseCard) -> dict[str, str]:
    """All about a defense, for `vlmguard list NAME`."""
    row = dict(zip(as_sheets(DEFENSES)[0].header[1:-1], _defense_row(card)[1:-1], strict=True))
    return {
        "title": card.title,
        **{heading: cell for heading, cell in row.items() if heading != "other calls"},
        "roles": "\n".join(map(_role_of_defense, card.roles)),
        "options (-S name=value)": _told(options_of("solver", card.name, card.notes)),
        "paper": card.paper,
        "fidelity": card.fidelity,
        "blind to": card.blind_to,
    }


def _role_of_defense(role: Role) -> str:
    instead = f", or {role.option}=CHECKPOINT" if role.option else ""
    return f"{role.name}: {role.calls}{instead}" + ("" if role.needed else " (can do without)")


def _told(options: list[Option]) -> str:
    return "\n".join(option.told for option in options)


def _task_row(task: OtherTask) -> list[str]:
    roles = ", ".join(f"{role} {calls}" for role, calls in task.roles.items())
    return [f"`{task.name}`", task.summary, f"{PACKAGE}/{task.name}", roles]


def _task_facts(task: OtherTask) -> dict[str, str]:
    """All about a task that is no benchmark, for `vlmguard list NAME`."""
    return {
        "what it does": task.summary,
        "run as": f"{PACKAGE}/{task.name}",
        "roles": "\n".join(f"{role}: {calls}" for role, calls in task.roles.items()),
        "options (-T name=value)": _told(options_of("task", task.name)),
    }


def _role_row(role: ListedRole) -> list[str]:
    asked = [f"{name} {calls}" for name, calls in {**role.tasks, **role.defenses}.items()]
    return [f"`{role.name}`", "; ".join(asked)]


def _role_facts(role: ListedRole) -> dict[str, str]:
    """All about a role, for `vlmguard list NAME`."""
    defenses = []
    for name, calls in role.defenses.items():
        instead = f", or {role.options[name]}=CHECKPOINT" if name in role.options else ""
        optional = " (can do without)" if name in role.optional else ""
        defenses.append(f"{name}: {calls}{instead}{optional}")
    return {
        "what it is": role.purpose,
        "bind it": f"--model-role {role.name}=MODEL",
        "calls a sample, by defense": "\n".join(defenses),
        "calls a sample, by task": "\n".join(f"{n}: {calls}" for n, calls in role.tasks.items()),
    }


def _partner(card: Card, whole: bool = False) -> str:
    """The harmless requests beside a benchmark's risky ones.

    Args:
        card: The benchmark.
        whole: Whether to tell the options of another task, too.
    """
    if card.partner is None:
        return NOTHING
    args = " ".join(f"{name}={value}" for name, value in card.partner.args.items())
    if card.partner.benchmark == card.name:
        return f"`{args}`" if args else "itself"
    more = f" {args}" if whole and args else ""
    return f"`{card.partner.benchmark}{more}`"


def _partner_facts(card: Card) -> dict[str, Any] | None:
    partner = card.partner
    return None if partner is None else {"name": partner.benchmark, "args": dict(partner.args)}


def _license(card: Card) -> str:
    """A license without what is said about it, and what its terms ask for."""
    name = re.split(r"[,;(]", card.license, maxsplit=1)[0].strip()
    more = "" if name == card.license else " …"
    gate = ", gated" if card.gated else ""
    return f"{name}{more}{gate}" if name else NOTHING


def _terms(card: Card) -> list[str]:
    gated = ["gated: accept its terms on the hub and set HF_TOKEN"] if card.gated else []
    return [*gated, *(["not for commercial use"] if card.noncommercial else [])]


def _defense_row(card: DefenseCard) -> list[str]:
    needed = [f"`{role.name}`" for role in card.roles if role.option is None]
    instead = [f"`{role.name}`" for role in card.roles if role.option is not None]
    roles = [f"{'role' if len(needed) == 1 else 'roles'} {', '.join(needed)}"] if needed else []
    roles += [f"roles {', '.join(instead)} in place of checkpoints"] if instead else []
    notes = {**{check.option: "by vlmguard calibrate" for check in card.checks}, **card.notes}
    known = {option.name: option for option in options_of("solver", card.name, notes)}
    options = [str(known[name]) for name in card.options]
    return [
        f"`{card.name}`",
        card.summary,
        str(card.target_calls),
        ", ".join(f"{role.name} {role.calls}" for role in card.roles) or NOTHING,
        _seen(card),
        "; ".join([*roles, ", ".join(options)]),
    ]


def _seen(card: DefenseCard) -> str:
    """What its stages see of several images: `all: answer, harm check; each alone: caption`."""
    kinds = {
        "all": "all",
        "each": "each alone",
        "altered": "altered",
        "none": "text alone",
        "format": "as the format sees them",
    }
    stages = {
        kind: [name.replace("_", " ") for name, how in card.images.items() if how == kind]
        for kind in kinds
    }
    return "; ".join(f"{kinds[how]}: {', '.join(names)}" for how, names in stages.items() if names)


def _questions(card: Card, options: list[Option]) -> str:
    """Questions to a judge, the benchmark's own and the general judge's, and what changes them."""
    usual = _asked(card, {})
    changes = [
        f"{asked} with `{option.name}={str(value).lower() if value is True else value}`"
        for option in options
        for value in (option.choices or ([True] if option.default is False else []))
        if (asked := _asked(card, {option.name: value})) != usual
    ]
    return "; ".join([usual, *changes])


def _asked(card: Card, args: Mapping[str, Any]) -> str:
    own, general, total = (
        card.questions({**args, **chosen})
        for chosen in ({"judge": "official"}, {"judge": "general"}, {})
    )
    return f"{own} + {general}" if own and general else str(total)


def _headlines(card: Card) -> str:
    return ", ".join(_headline(card, name, note) for name, note in card.headline.items())


def _headline(card: Card, name: str, note: str) -> str:
    known = {**{k: v for of in cards().measures.values() for k, v in of.items()}, **card.measures}
    arrow = ARROWS[known[name].direction or 0]
    shown = f"{name.replace('_', ' ')} {arrow}".rstrip()
    return f"{shown} ({note})" if note else shown


def _line(cells: list[str]) -> str:
    shown = " | ".join(cell.replace("|", "\\|") for cell in cells)
    return f"| {shown} |" if cells[-1] else f"| {shown.rstrip()} |"


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        page.write_text(renewed(page.read_text(encoding="utf-8"), page), encoding="utf-8")
