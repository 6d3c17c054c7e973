"""The conditions of a log, which must agree for two results to be compared."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from inspect_ai.log import EvalLog
from inspect_ai.model import GenerateConfig, ModelConfig

from vlmguard.guard.cards import cards
from vlmguard.guard.redaction import redact, redact_text
from vlmguard.guard.task_options import SHOWN_ELSEWHERE
from vlmguard.guard.transport import TRANSPORT
from vlmguard.results.logs.answers import GRADER, LeftOut, Names, bare, digest, reducer_name
from vlmguard.results.logs.around import asked_by
from vlmguard.results.logs.attack import ATTACKER, Noted, attack_of, attack_words, is_loop
from vlmguard.results.logs.summaries import Summary

Judging = dict[str, dict[str, Any]]
"""For each scorer what it judged with."""

_SAMPLING: Final = tuple(name for name in GenerateConfig.model_fields if name not in TRANSPORT)
# What ends a sample early.
_LIMITS: Final = (
    *("message_limit", "turn_limit", "token_limit", "token_limit_type"),
    *("time_limit", "working_limit", "cost_limit"),
)
# Facts about judging that scorers note.
_JUDGING: Final = ("judges", "judge_adapter", "threshold", "keywords_hash")
_TEMPLATE: Final = "judge_template"


@dataclass(frozen=True)
class Column:
    """What must agree for two results to be compared.

    Attributes:
        benchmark: Name of the card, or display name of the task, the same for runs by path and by
            package.
        title: Name of the benchmark.
        variant: Split or track.
        version: Task version.
        data: Digest of the data's files, independent of their folder.
        settings: Task arguments, drawing and sampling settings that affect scores, limits of a
            sample, and a solver that puts the questions in another way.
        judging: For each scorer its model, template, phrases.
        attack: Name, version, options, seed and font of the attack, and the tries of a loop; empty
            without an attack.
    """

    benchmark: str
    title: str
    variant: str
    version: str
    data: str
    settings: str
    judging: str
    attack: str = ""

    @property
    def under(self) -> str:
        """The attack as users type it; empty without one."""
        return attack_words(self.attack)

    @property
    def heading(self) -> str:
        """The benchmark with its variant, and the attack."""
        # A part that repeats the title says nothing: `tiny/figstep` of FigStep.
        parts = [each for each in self.variant.split("/") if each != self.title.lower()]
        named = f"{self.title} {'/'.join(parts)}".strip()
        return f"{named} under {self.under}" if self.attack else named


def column_of(log: EvalLog, judging: Judging, noted: Noted) -> Column:
    """The conditions of a log.

    Args:
        log: Its header.
        judging: The judging conditions of each scorer.
        noted: What an attack noted of its samples.

    Raises:
        LeftOut: Its samples ran under several versions of an attack.
    """
    spec = log.eval
    metadata = spec.metadata or {}
    card = cards().benchmark(bare(spec.task), spec.task_args)
    # A task may run several benchmarks, of which each is a row of its own.
    name = card.name if card and card.task else spec.task_display_name or bare(spec.task)
    return Column(
        benchmark=name,
        title=str(metadata.get("benchmark", bare(spec.task))),
        variant=str(metadata.get("variant", "")),
        version=str(spec.task_version),
        data=_data_digest(metadata.get("data")),
        settings=as_text(_settings(log)),
        judging=as_text(judging | _grader_settings(roles_of(log).get(GRADER, []), judging)),
        attack=as_text(attack_of(spec, noted.values(), _attackers(log))),
    )


def judging_of(summaries: list[Summary], names: Names) -> Judging:
    """The judging conditions of each scorer of a view.

    Args:
        summaries: The samples.
        names: The scorers of the view.

    Returns:
        For each scorer the facts in its scores; a scorer without any is left out. Scores of answers
        that were not judged (no answer, nothing to compare with) may have none.

    Raises:
        LeftOut: Two samples (for prompts: of one category) state different facts.
    """
    return judged_of(summaries, names).conditions


@dataclass(frozen=True)
class Judged:
    """What each scorer judged with, as its scores note it.

    Attributes:
        facts: By scorer: judges, threshold, phrases.
        templates: By scorer, its prompt for each category: a benchmark may ask another question in
            each (as MM-SafetyBench does).
    """

    facts: Judging = field(default_factory=dict)
    templates: dict[str, dict[str, str]] = field(default_factory=dict)

    def takes(self, name: str, facts: dict[str, Any], templates: dict[str, str]) -> bool:
        """Add facts of a scorer, and say whether they agree with the known ones."""
        return _agrees(self.facts.setdefault(name, {}), facts) and _agrees(
            self.templates.setdefault(name, {}), templates
        )

    @property
    def conditions(self) -> Judging:
        """The facts by scorer, with one digest of its prompts; a scorer without any is left out."""
        found = {}
        for name, facts in sorted(self.facts.items()):
            # A rule that needs neither judge nor phrases is no condition: it may be added to one
            # log alone.
            if all_of := {**facts, **_prompt(self.templates.get(name, {}))}:
                found[name] = all_of
        return found


def judged_of(summaries: list[Summary], names: Names) -> Judged:
    """What each scorer of a view judged with; arguments and errors as of `judging_of`."""
    found = Judged()
    for sample in summaries:
        category = str(sample.metadata.get("category") or "")
        for scorer, score in (sample.scores or {}).items():
            if scorer not in names:
                continue
            name, metadata = names[scorer], score.metadata or {}
            facts: dict[str, Any] = {fact: metadata[fact] for fact in _JUDGING if fact in metadata}
            if name == "judge" and not scorer.startswith("judge"):
                facts["scorer"] = scorer
            prompt = {category: metadata[_TEMPLATE]} if _TEMPLATE in metadata else {}
            if not found.takes(name, facts, prompt):
                raise LeftOut(f"its samples were scored by {scorer} in different ways")
    return found


def _prompt(by_category: dict[str, str]) -> dict[str, str]:
    """The identity of a scorer's prompts; nothing for a scorer without one."""
    different = list(dict.fromkeys(by_category.values()))
    if not different:
        return {}
    return {_TEMPLATE: digest(by_category) if len(different) > 1 else different[0]}


def _agrees(known: dict[str, Any], facts: dict[str, Any]) -> bool:
    """Add facts to the known ones; returns whether they agree."""
    return all(known.setdefault(name, fact) == fact for name, fact in facts.items())


def roles_of(log: EvalLog) -> dict[str, list[ModelConfig]]:
    """The models bound to each role."""
    bindings = log.eval.model_roles or {}
    return {role: bound if isinstance(bound, list) else [bound] for role, bound in bindings.items()}


def model_text(model: ModelConfig) -> str:
    """A model with its settings: a base alone and with an adapter are two guards."""
    settings = _model_settings(model)
    return f"{model.model} {as_text(settings)}" if settings else model.model


def _attackers(log: EvalLog) -> list[str]:
    return [model_text(each) for each in roles_of(log).get(ATTACKER, [])]


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The items that have a value."""
    return {name: value for name, value in values.items() if value is not None}


def as_text(values: dict[str, Any]) -> str:
    """Settings as one text, the same for equal settings, with secrets by digest, or empty."""
    if not values:
        return ""
    return json.dumps(redact(values), sort_keys=True, default=lambda each: redact_text(str(each)))


def sampling_of(column: Column) -> dict[str, Any]:
    """How the target was asked to draw its answers."""
    settings: dict[str, Any] = json.loads(column.settings) if column.settings else {}
    return {name: settings[name] for name in _SAMPLING if name in settings}


def _settings(log: EvalLog) -> dict[str, Any]:
    spec = log.eval
    metadata = spec.metadata or {}
    card = cards().benchmark(bare(spec.task), spec.task_args)
    elsewhere = SHOWN_ELSEWHERE.union(card.shown_elsewhere if card else ())
    settings = {name: value for name, value in spec.task_args.items() if name not in elsewhere}
    settings |= {
        name: {key: value for key, value in noted.items() if key != "origin"}
        if isinstance(noted := metadata[name], dict)
        else noted
        for name in (card.conditions if card else ())
        if name in metadata
    }
    # A loop of an attack is a condition of its own.
    settings |= {} if is_loop(spec) else asked_by(spec)
    # As Inspect generates: task and command line override the model's own settings.
    config = spec.model_generate_config.merge(log.plan.config).model_dump()
    settings |= given({name: config[name] for name in _SAMPLING})
    limits = spec.config.model_dump()
    settings |= given({name: limits[name] for name in _LIMITS})
    if (spec.config.epochs or 1) > 1:
        named = spec.config.epochs_reducer
        reducers = None if named is None else [reducer_name(each) for each in named]
        settings |= {"epochs": spec.config.epochs, "reducer": reducers}
    return given(settings)


def _data_digest(data: Any) -> str:
    """Digest of contents only: the same files in another folder are the same data."""
    if not isinstance(data, dict):
        return digest(data)
    content = {name: value for name, value in data.items() if name != "origin"}
    if isinstance(content.get("files"), dict):
        content["files"] = sorted(content["files"].values())
    return digest(content)


def _model_settings(model: ModelConfig) -> dict[str, Any]:
    config = model.config.model_dump()
    return {**given(model.args), **given({name: config[name] for name in _SAMPLING})}


def _grader_settings(graders: list[ModelConfig], judging: Judging) -> Judging:
    """Arguments of the judges, if the log has them (it may not, if it was judged again)."""
    named = {name for facts in judging.values() for name in facts.get("judges", ())}
    settings = {each.model: _model_settings(each) for each in graders if each.model in named}
    known = {name: each for name, each in settings.items() if each}
    return {"graders": known} if known else {}
