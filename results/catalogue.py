"""All benchmarks and defenses, as their cards and signatures describe them.

vlmguard list benchmarks
vlmguard list siuo                                 # all about one of them
python -m vlmguard.results.catalogue README.md     # `make readme`: renew the README's tables
"""

import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

# Inspect has no public name for the function of a registered task or solver.
from inspect_ai._util.registry import registry_lookup

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.cards import Card, DefenseCard, cards
from vlmguard.guard.errors import UserError
from vlmguard.guard.package import PACKAGE
from vlmguard.guard.task_options import TaskOptions
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.logs.measures import ARROWS

BENCHMARKS: Final = "benchmarks"
DEFENSES: Final = "defenses"
NOTHING: Final = "–"
_SIZES: Final = 3
"""The most sizes of variants that a table lists; of more it gives the range."""


@dataclass(frozen=True)
class Option:
    """An argument of a task or solver.

    Attributes:
        name: Its name.
        choices: The values that it takes, if they are few.
        default: What it is when not given.
        note: What its card says about its values.
    """

    name: str
    choices: tuple[str, ...]
    default: Any
    note: str = ""

    def __str__(self) -> str:
        value = "|".join(self.choices)
        if isinstance(self.default, bool):
            value = str(not self.default).lower()
        elif not value and isinstance(self.default, int):
            value = str(self.default)
        shown = f"`{self.name}={value}`" if value else f"`{self.name}`"
        return f"{shown} ({self.note})" if self.note else shown


def as_sheets(kind: str | None = None) -> list[Sheet]:
    """Tables of benchmarks, defenses, or both.

    Args:
        kind: `benchmarks`, `defenses`, or None for both.
    """
    sheets = []
    if kind in (BENCHMARKS, None):
        header = ["benchmark", "samples", "judge calls a sample", "partner", "license", "headline"]
        rows = [_benchmark_row(card) for card in cards().benchmarks.values()]
        sheets.append(Sheet("Benchmarks", header, rows, labels=len(header)))
    if kind in (DEFENSES, None):
        header = ["solver", "what it does", "calls to the target", "other calls"]
        rows = [_defense_row(card) for card in cards().defenses.values()]
        header += ["of several images", "roles and options (`-S name=value`)"]
        sheets.append(Sheet("Defenses", header, rows, labels=len(header)))
    return sheets


def all_about(name: str) -> Sheet:
    """A table of a single row with all that a user must know of a benchmark or defense.

    Args:
        name: Its name.

    Raises:
        UserError: There is none of this name.
    """
    benchmark, defense = cards().benchmarks.get(name), cards().defenses.get(name)
    if benchmark is not None:
        facts = _benchmark_facts(benchmark)
    elif defense is not None:
        facts = _defense_facts(defense)
    else:
        known = [*cards().benchmarks, *cards().defenses]
        meant = did_you_mean(name, [BENCHMARKS, DEFENSES, *known])
        raise UserError(
            f"{name} is no benchmark or defense, nor one of {BENCHMARKS}, {DEFENSES}.{meant} "
            f"Ours are {', '.join(known)}."
        )
    told = {heading: cell for heading, cell in facts.items() if cell and cell != NOTHING}
    return Sheet("", ["name", *told], [[f"`{name}`", *told.values()]], labels=1 + len(told))


def as_json(kind: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """The same facts, and the rest of the cards, for programs."""
    content: dict[str, list[dict[str, Any]]] = {}
    if kind in (BENCHMARKS, None):
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
                "options": [_option_facts(each) for each in _own_options(card)],
                "judge_questions": card.questions({}),
                "headline": list(card.headline),
                "measures": {name: each.model_dump() for name, each in card.measures.items()},
            }
            for card in cards().benchmarks.values()
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
                    {"name": each.name, "calls": str(each.calls), "option": each.option}
                    for each in card.roles
                ],
                "images": dict(card.images),
                "options": [_option_facts(each) for each in _options("solver", card.name)],
                "fidelity": card.fidelity,
                "blind_to": card.blind_to,
            }
            for card in cards().defenses.values()
        ]
    return content


def renewed(text: str) -> str:
    """A page with its tables of benchmarks and defenses as the cards are now.

    Raises:
        UserError: The page lacks a marker.
    """
    benchmarks, defenses = as_sheets()
    # What draws its own data, or takes the user's, has a section of its own.
    drawn = [f"`{card.name}`" for card in cards().benchmarks.values() if not card.variants]
    benchmarks.rows = [row for row in benchmarks.rows if row[0] not in drawn]
    for row in benchmarks.rows:
        card = cards().benchmarks[row[0].strip("`")]
        row[0] = f"[{row[0]}](tasks/README.md#{card.task or card.name})"
    defenses.rows.insert(0, ["(none)", "undefended", "1", NOTHING, "all", ""])
    for kind, sheet in ((BENCHMARKS, benchmarks), (DEFENSES, defenses)):
        marker = f"<!-- {kind}: made by `make readme` -->"
        before, start, rest = text.partition(f"{marker}\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise UserError(f"The page has no lines {marker!r} and '<!-- end -->'.")
        table = "\n".join(_line(row) for row in (sheet.header, ["---"] * len(sheet.header)))
        table += "".join(f"\n{_line(row)}" for row in sheet.rows)
        text = f"{before}{start}{table}\n{end}{after}"
    return text


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
    options = _own_options(card)
    sizes = {
        f"{name} {NOTHING if size is None else format(size, ',')}"
        for name, size in card.variants.items()
    }
    return {
        "title": card.title,
        "run as": _run_as(card),
        "samples": ", ".join(sorted(sizes)),
        "options (-T name=value)": ", ".join(map(str, options)),
        "options of every task": ", ".join(get_type_hints(TaskOptions)),
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
    row = dict(zip(as_sheets(DEFENSES)[0].header[1:], _defense_row(card)[1:], strict=True))
    return {
        "title": card.title,
        **row,
        "paper": card.paper,
        "fidelity": card.fidelity,
        "blind to": card.blind_to,
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
    roles += [f"or roles {', '.join(instead)}"] if instead else []
    notes = {**{check.option: "by `calibrate`" for check in card.checks}, **card.notes}
    known = {option.name: option for option in _options("solver", card.name, notes)}
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


def _own_options(card: Card) -> list[Option]:
    """The options of a benchmark that not every task has; none where its task runs others too."""
    if card.task:
        return []
    return _options("task", card.name, card.notes, get_type_hints(TaskOptions))


def _options(
    kind: Literal["task", "solver"],
    name: str,
    notes: Mapping[str, str] | None = None,
    common: Mapping[str, Any] | None = None,
) -> list[Option]:
    function: Any = registry_lookup(kind, f"{PACKAGE}/{name}")
    return [
        Option(each.name, _choices(each.annotation), each.default, (notes or {}).get(each.name, ""))
        for each in inspect.signature(function).parameters.values()
        if (common or {}).get(each.name) != each.annotation
        # Options that are passed on have no names here.
        and each.kind is not inspect.Parameter.VAR_KEYWORD
    ]


def _choices(annotation: Any) -> tuple[str, ...]:
    """The values of a Literal, or of one in a union."""
    if get_origin(annotation) is Literal:
        return tuple(str(each) for each in get_args(annotation))
    return tuple(choice for part in get_args(annotation) for choice in _choices(part))


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


def _option_facts(option: Option) -> dict[str, Any]:
    return {"name": option.name, "choices": list(option.choices), "default": option.default}


def _line(cells: list[str]) -> str:
    shown = " | ".join(cell.replace("|", "\\|") for cell in cells)
    return f"| {shown} |" if cells[-1] else f"| {shown.rstrip()} |"


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
