"""What Inspect View lists of a task's samples, and in which order."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from inspect_ai.viewer import (
    ScoreColorScale,
    TaskSamplesColumn,
    TaskSamplesView,
    ViewerConfig,
)

from vlmguard.guard.cards import GLANCED, Card, Measure, View, registered
from vlmguard.scorers.at_a_glance import CATEGORY, REWRITTEN

__all__ = ["viewer"]

_JUDGED: Final = ("safety", "helpful", "safe_and_helpful")


def viewer(card: Card, scorers: Iterable[str], *, target: bool = False) -> ViewerConfig:
    """The list of samples: id, category, request, rewritten request, answer, and the scores.

    Args:
        card: The benchmark.
        scorers: Its scorers' headlines in order, `SCORER.KEY` or `SCORER.KEY.METRIC`.
        target: Whether samples have a target to compare the answer with.
    """
    shown = _scores(card, scorers)
    headline = next(iter(shown), "")
    score = TaskSamplesColumn.score
    return ViewerConfig(
        task_samples_view=TaskSamplesView(
            name="vlmguard",
            columns=[
                TaskSamplesColumn(id="sampleStatus"),
                TaskSamplesColumn(id="sampleId"),
                score(GLANCED, CATEGORY),
                TaskSamplesColumn(id="input"),
                score(GLANCED, REWRITTEN),
                TaskSamplesColumn(id="target", visible=target),
                TaskSamplesColumn(id="answer"),
                *(score(*name.split("."), visible=_is_listed(name, headline)) for name in shown),
                *(TaskSamplesColumn(id=name, visible=False) for name in ("tokens", "duration")),
            ],
            score_labels={
                CATEGORY: "Category",
                REWRITTEN: "Rewritten request",
                **{name.split(".")[1]: _label(name, measure) for name, measure in shown.items()},
            },
            score_color_scales={
                name.split(".")[1]: scale
                for name, measure in shown.items()
                if (scale := _scale(measure)) is not None
            },
        )
    )


def _scores(card: Card, scorers: Iterable[str]) -> Mapping[str, Measure | None]:
    """Columns of scores, `SCORER.KEY`, with how to read each."""
    known: dict[str, Measure] = {}
    for scorer, measures in registered().measures.items():
        known |= {f"{scorer}.{key}": each for key, each in measures.items()}
    found: dict[str, Measure | None] = {}
    for name in scorers:
        scorer, key, *_ = name.split(".")
        own = _keys(card, scorer)
        keys = _JUDGED if key in _JUDGED else [key] if key in own else [*own]
        for each in keys or [key]:
            general = known.get(f"judge.{each}")
            found[f"{scorer}.{each}"] = known.get(f"{scorer}.{each}") or own.get(each) or general
    return found


def _is_listed(name: str, headline: str) -> bool:
    """Whether a score is listed; refusals are a click away, but where they are all that counts."""
    return name == headline or not name.startswith("refusal")


def _keys(card: Card, scorer: str) -> dict[str, Measure]:
    """A scorer's own measures on the card, by key."""
    own = {name.rpartition(".")[::2]: measure for name, measure in card.measures.items()}
    return {
        key: measure
        for (of, key), measure in own.items()
        if of in ("", scorer) and not isinstance(measure, View)
    }


def _label(name: str, measure: Measure | None) -> str:
    label = measure.label.removesuffix(" %") if measure else ""
    return label or name.split(".")[1].replace("_", " ").capitalize()


def _scale(measure: Measure | None) -> Any:
    """Colours from bad to good; none for a measure that points nowhere."""
    if measure is None or not measure.direction or measure.max is None:
        return None
    palette: Any = "good-high" if measure.direction > 0 else "good-low"
    return ScoreColorScale(palette=palette, min=0, max=measure.max)
