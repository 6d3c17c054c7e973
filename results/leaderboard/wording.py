"""Names of models in tables, and notes for their reader."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from vlmguard.guard.cards import cards
from vlmguard.results.leaderboard.settings_words import as_text, parsed
from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.measures import Measure
from vlmguard.results.logs.run import Run
from vlmguard.results.sanitize import clean

_OF_OTHERS: Final = (
    *("fireworks", "groq", "hf", "hf-vlm", "openai-api", "openrouter", "sglang", "together"),
    "vllm",
)
"""Providers whose models have an owner or a service before their names."""

_BETTER: Final = {1: "more", -1: "less", 0: "neither more nor less"}


def short_models(names: Iterable[str]) -> dict[str, str]:
    """Short names of models: without provider and owner where they stay distinct."""
    unique = list(dict.fromkeys(names))
    steps = [[_last_part(each), _without_provider(each), each] for each in unique]
    taken = Counter(name for each in steps for name in set(each))
    return {
        each: next((name for name in of if taken[name] == 1), each)
        for each, of in zip(unique, steps, strict=True)
    }


def _last_part(model: str) -> str:
    """A model's name without provider, and without the owner or service that these name first."""
    provider, _, name = model.partition("/")
    return name.rstrip("/").rsplit("/", 1)[-1] if provider in _OF_OTHERS else name or model


def _without_provider(model: str) -> str:
    return model.partition("/")[2] or model


def heading(column: Column) -> str:
    """A benchmark with its variant, and the attack that it is under."""
    return column.heading


def templates(column: Column) -> str:
    """Hashes of templates and phrases, e.g. `judge 1a2b3c`; tables of one judge may differ."""
    facts = json.loads(column.judging) if column.judging else {}
    named = {
        scorer: found.get("judge_template") or found.get("keywords_hash")
        for scorer, found in facts.items()
    }
    return ", ".join(f"{scorer} {digest}" for scorer, digest in named.items() if digest)


def brief(text: str) -> str:
    """JSON settings as `name=value`; any other text as it is."""
    values = parsed(text)
    return text if values is None else as_text(values)


def on_samples(sizes: Collection[int], shared: int, intersect: bool) -> str:
    """Note on a group whose runs hold different samples.

    Args:
        sizes: Number of samples of each run.
        shared: Number of samples that all runs have.
        intersect: Whether only these are used.
    """
    if not shared:
        return "runs share no sample: means are not comparable"
    if intersect:
        return f"only the {shared} samples that all runs share"
    return (
        f"runs hold different samples ({', '.join(map(str, sorted(set(sizes))))}; {shared} shared "
        f"by all): means are not comparable; --intersect uses the shared ones"
    )


def on_measures(measures: list[Measure]) -> list[str]:
    """Notes on how measures are read."""
    notes = []
    if any(measure.macro for measure in measures):
        notes.append("macro: the mean over categories, each counting alike")
    unbounded = [measure.column for measure in measures if measure.unbounded]
    if unbounded:
        notes.append(
            f"range not declared: {', '.join(unbounded)} (no percentages, no worst case); to "
            f'declare it: Task(metadata={{"measures": {{"NAME": {{"max": ...}}}}}})'
        )
    names = {measure.name for measure in measures}
    said = [each for of in cards().measures.values() for each in of.items()]
    notes += [measure.note for name, measure in said if measure.note and name in names]
    guessed = [measure for measure in measures if measure.guessed]
    if guessed:
        listed = ", ".join(
            f"{measure.column} ({_BETTER[measure.better]} is better)" for measure in guessed
        )
        notes.append(
            f"guessed from the name: {listed}; to declare it: "
            f'Task(metadata={{"measures": {{"NAME": {{"lower_is_better": ...}}}}}})'
        )
    return notes


def on_run(run: Run) -> list[str]:
    """Notes on a single run."""
    said = [*run.declared.remarks, *run.remarks]
    return [_approximate(run), *said] if run.approximations else said


def on_approximations(defenses: Mapping[Run, str]) -> list[str]:
    """Notes above all tables: a line for each defense that deviates from its paper, and how."""
    said = [
        clean(f"{defense}: {_approximate(run)}")
        for run, defense in defenses.items()
        if run.approximations
    ]
    return list(dict.fromkeys(said))


def _approximate(run: Run) -> str:
    return f"an approximation of the defense: {', '.join(run.approximations)}"
