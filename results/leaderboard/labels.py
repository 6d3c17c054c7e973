"""Short names of rows and groups, and the footnotes that tell what the names leave out.

Two things with different settings never share a name: where words do not tell them apart, the
numbers of their footnotes do.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL
from vlmguard.results.leaderboard.settings_words import (
    Short,
    joined,
    option,
    parsed,
    plain,
    worded,
)
from vlmguard.results.leaderboard.wording import brief, short_models
from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.run import Run
from vlmguard.results.sanitize import clean

__all__ = ["Label", "footnote_lines", "label_rows", "name_columns", "unlike", "whole_condition"]

_Named = TypeVar("_Named", bound=Hashable)
_GRADERS: Final = "graders"
_ROW: Final = 40
"""Letters of a row's name."""
_DIFFERS: Final = 44
"""Letters of what sets a group apart from others of its heading."""

_SUPERSCRIPTS: Final = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Label:
    """Names of target and defense in a row.

    Attributes:
        target: Short name of the target.
        defense: Short name of the defense.
        exact_target: The target with all settings that tell it from others.
        exact_defense: The same of the defense.
    """

    target: str
    defense: str
    exact_target: str
    exact_defense: str


def label_rows(runs: Collection[Run], footnotes: list[str]) -> dict[Run, Label]:
    """Labels of all runs of a table, as short as they can be while they stay distinct.

    Args:
        runs: The runs.
        footnotes: What short names leave out is added to them.
    """
    kinds = _Kinds(runs)
    found = {run: (kinds.target(run), kinds.defense(run)) for run in runs}
    # The order of names, and not of logs, numbers the footnotes.
    exact = dict(sorted(found.items(), key=lambda pair: pair[1]))
    models = short_models(run.target for run in runs)
    short_targets = {exact[run][0]: kinds.short_target(run, models) for run in exact}
    short_defenses = {exact[run][1]: kinds.short_defense(run) for run in exact}
    targets = _numbered(short_targets, {each: each for each in short_targets}, footnotes)
    defenses = _numbered(short_defenses, {each: each for each in short_defenses}, footnotes)
    return {
        run: Label(targets[target], defenses[defense], target, defense)
        for run, (target, defense) in exact.items()
    }


class _Kinds:
    """In which settings runs of one name differ."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.settings: dict[str, set[str]] = defaultdict(set)
        self.guards: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.templates: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.versions: dict[str, set[str]] = defaultdict(set)
        for run in runs:
            self.settings[run.target].add(run.target_settings)
            self.guards[run.defense, run.defense_args].add(run.guards)
            self.templates[run.defense, run.defense_args].add(run.template)
            self.versions[run.defense].add(run.defense_version)

    def target(self, run: Run) -> str:
        """The target, with its settings where others have other ones."""
        several = len(self.settings[run.target]) > 1 and run.target_settings
        return f"{run.target} ({brief(run.target_settings)})" if several else run.target

    def defense(self, run: Run) -> str:
        """The defense with its options, and what else tells it from others."""
        name = _defense_name(run)
        if run.defense_args:
            name += f" ({brief(run.defense_args)})"
        if self._several(self.guards, run) and run.guards:
            name += f" [{brief(run.guards)}]"
        if self._several(self.templates, run) and run.template:
            name += f" template {run.template}"
        if len(self.versions[run.defense]) > 1:
            name += f" version {run.defense_version or 'not noted'}"
        return name

    def short_target(self, run: Run, models: Mapping[str, str]) -> Short:
        """The same in words."""
        name = models[run.target]
        if len(self.settings[run.target]) < 2 or not run.target_settings:
            return Short(name)
        return _in_brackets(name, _all_worded(run.target_settings))

    def short_defense(self, run: Run) -> Short:
        """The same in words."""
        options = parsed(run.defense_args) if run.defense_args else {}
        said = [option(*each) for each in (options or {}).items()]
        if self._several(self.guards, run) and run.guards:
            others = self.guards[run.defense, run.defense_args]
            said += _guards(run.guards, others)
        if self._several(self.templates, run) and run.template:
            said.append(worded("template", run.template))
        if len(self.versions[run.defense]) > 1:
            said.append(worded("version", run.defense_version or "not noted"))
        return _in_brackets(_defense_name(run), said)

    @staticmethod
    def _several(of: Mapping[tuple[str, str], set[str]], run: Run) -> bool:
        return len(of[run.defense, run.defense_args]) > 1


def name_columns(columns: Collection[Column], footnotes: list[str]) -> dict[Column, str]:
    """What distinguishes each group from others with the same heading; empty if there are none.

    Args:
        columns: The conditions of all groups.
        footnotes: What short names leave out is added to them.
    """
    by_heading: dict[str, list[Column]] = defaultdict(list)
    for column in columns:
        by_heading[column.heading].append(column)
    judges = short_models(name for column in columns for name in _judges(column))
    named: dict[Column, str] = {}
    for heading, of in by_heading.items():
        if len(of) == 1:
            named[of[0]] = ""
            continue
        short = {each: _apart(each, of, judges) for each in of}
        exact = {each: whole_condition(each, of) for each in of}
        named |= _numbered(short, exact, footnotes, heading)
    return named


def whole_condition(column: Column, of: Collection[Column]) -> str:
    """All conditions in which a group differs from others, as text."""
    names = ("benchmark", "title", "variant", "version", "data", "settings", "judging", "attack")
    return "; ".join(
        f"{name} {brief(_field(column, name)) or 'none'}"
        for name in names
        if len({_field(each, name) for each in of}) > 1
    )


def footnote_lines(footnotes: Collection[str]) -> list[str]:
    """Footnotes with their numbers, a line each."""
    return [f"{_superscript(number)} {said}" for number, said in enumerate(footnotes, 1)]


def _numbered(
    short: Mapping[_Named, Short],
    exact: Mapping[_Named, str],
    footnotes: list[str],
    about: str = "",
) -> dict[_Named, str]:
    """A label for each thing: its short name, and the number of its footnote if it has one.

    Args:
        short: Their short names.
        exact: All that distinguishes them, as text.
        footnotes: New ones are added.
        about: What the names belong to, for their footnotes.
    """
    shared = Counter(each.text for each in short.values())
    labels: dict[_Named, str] = {}
    used: set[str] = set()
    # Who is named in full keeps that name, whatever others are called.
    for each in sorted(short, key=lambda each: short[each].text != exact[each]):
        text, left = short[each].text, short[each].left_out
        if shared[text] > 1 and not left and text != exact[each]:
            left = exact[each]
        label = f"{text}{_number(about, text, left, footnotes)}" if left else text
        while label in used:
            label += _number(about, label, exact[each], footnotes)
        used.add(label)
        labels[each] = label
    return labels


def _number(about: str, text: str, left: str, footnotes: list[str]) -> str:
    name = " ".join(filter(None, [about, f"({text})" if about and text else text]))
    said = clean(f"{name}: {left}" if name else left)
    if said not in footnotes:
        footnotes.append(said)
    return _superscript(footnotes.index(said) + 1)


def _superscript(number: int) -> str:
    return str(number).translate(_SUPERSCRIPTS)


def _in_brackets(name: str, said: Iterable[Short]) -> Short:
    short = joined(said, max(_ROW - len(name) - 3, 12))
    return Short(f"{name} ({short.text})" if short.text else name, short.left_out)


def _all_worded(text: str) -> list[Short]:
    values = parsed(text)
    return [Short(text)] if values is None else [worded(*each) for each in values.items()]


def _guards(text: str, others: Collection[str]) -> list[Short]:
    """The models of a defense's roles that differ from those of other runs."""
    own = parsed(text) or {}
    rivals = [parsed(each) or {} for each in others]
    bound = {
        role: plain(models)
        for role, models in own.items()
        if any(each.get(role) != models for each in rivals)
    }
    names = short_models(_model(models) for models in bound.values())
    found: list[Short] = []
    for role, models in bound.items():
        model = _model(models)
        settings = parsed(models[len(model) :].strip())
        if any(_model(plain(each.get(role, ""))) != model for each in rivals):
            found.append(Short(f"{role} {names[model]}"))
        if settings is not None:
            # A base and its adapter are two guards.
            found += [option(*each) for each in settings.items()]
        elif models != model:
            found.append(Short("", f"{role}={models}"))
    return found


def _model(models: str) -> str:
    """A model without its settings, which follow its name."""
    return models.split(" ", 1)[0]


def _defense_name(run: Run) -> str:
    return UNDEFENDED_LABEL if run.defense == "none" else run.defense


def _apart(column: Column, of: Collection[Column], judges: Mapping[str, str]) -> Short:
    """What distinguishes a group from others, in words."""
    said: list[Short] = [*_judged(column, of, judges)]
    for name in ("settings", "attack"):
        said += _different(column, of, name)
    for name in ("variant", "version", "data", "benchmark", "title"):
        values = {_field(each, name) for each in of}
        if len(values) > 1 and _field(column, name):
            said.append(worded({"benchmark": "task"}.get(name, name), _field(column, name)))
    return joined(said, _DIFFERS)


def _different(column: Column, of: Collection[Column], name: str) -> list[Short]:
    """The settings that at least one other group lacks or has with another value."""
    own = parsed(_field(column, name)) or {}
    rivals = [parsed(_field(each, name)) or {} for each in of]
    return [
        worded(f"attack_{setting}" if (name, setting) == ("attack", "version") else setting, value)
        for setting, value in unlike(own, rivals)
    ]


def unlike(
    own: Mapping[str, object], rivals: Collection[Mapping[str, object]]
) -> list[tuple[str, object]]:
    """The settings that at least one rival lacks or has with another value, nested ones too."""
    found: list[tuple[str, object]] = []
    for setting, value in own.items():
        theirs = [each.get(setting) for each in rivals]
        inner = [each for each in theirs if isinstance(each, dict)]
        if all(each == value for each in theirs):
            continue
        if isinstance(value, dict) and len(inner) == len(theirs):
            found += unlike(value, inner)
        else:
            found.append((setting, value))
    return found


def _judged(column: Column, of: Collection[Column], judges: Mapping[str, str]) -> list[Short]:
    """Who judged, and in what else the judging differs from that of others."""
    own, names = _judging(column), _judges(column)
    said: list[Short] = []
    if any(_judges(each) != names for each in of):
        by = " and ".join(judges[name] for name in names)
        said.append(Short(f"judged by {by}" if by else "rules only"))
    alike = [_judging(each) for each in of if _judges(each) == names]
    if missing := [name for name in _scorers(alike) if name not in own]:
        said.append(Short(f"without {' and '.join(missing)}"))
    rivals = [_judging(each) for each in of]
    for scorer, facts in own.items():
        if scorer == _GRADERS:
            continue
        others = [each[scorer] for each in rivals if scorer in each]
        for fact, value in unlike({n: v for n, v in facts.items() if n != "judges"}, others):
            short = worded(fact, value)
            said.append(Short(short.text, short.left_out and f"{scorer}: {short.left_out}"))
    settings = [each.get(_GRADERS, {}) for each in alike]
    for _, of_judge in unlike(own.get(_GRADERS, {}), settings):
        values = of_judge if isinstance(of_judge, dict) else {}
        for short in (worded(*each) for each in values.items()):
            said.append(Short(f"judge with {short.text}", short.left_out))
    return said


def _scorers(judgings: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for each in judgings for name in each if name != _GRADERS))


def _judging(column: Column) -> dict[str, dict[str, object]]:
    """For each scorer what it judged with."""
    found = parsed(column.judging) or {}
    return {name: facts for name, facts in found.items() if isinstance(facts, dict)}


def _judges(column: Column) -> list[str]:
    found: dict[str, None] = {}
    for facts in _judging(column).values():
        judges = facts.get("judges")
        found |= dict.fromkeys(map(str, judges)) if isinstance(judges, list) else {}
    return list(found)


def _field(column: Column, name: str) -> str:
    return {
        "attack": column.attack,
        "benchmark": column.benchmark,
        "data": column.data,
        "judging": column.judging,
        "settings": column.settings,
        "title": column.title,
        "variant": column.variant,
        "version": column.version,
    }[name]
