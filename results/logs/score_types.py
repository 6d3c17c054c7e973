"""What the metadata of scores must look like to be read: logs may be edited, or anybody's."""

from typing import Any, Final

from inspect_ai.log import EvalSampleSummary

from vlmguard.results.logs.answers import LeftOut, tally_of

_NUMBERS: Final = ("calls", "target_calls", "input_tokens", "output_tokens", "seconds")


def check_kinds(summaries: list[EvalSampleSummary]) -> None:
    """Refuse scores whose metadata are of another kind than those that scorers write.

    Args:
        summaries: The samples of a log.

    Raises:
        LeftOut: One is; names sample, scorer and field.
    """
    for sample in summaries:
        for scorer, score in (sample.scores or {}).items():
            metadata = score.metadata or {}
            judges, threshold = metadata.get("judges", []), metadata.get("threshold", 0.0)
            fits = {
                "judges": isinstance(judges, list)
                and all(isinstance(each, str) for each in judges),
                "threshold": _is_number(threshold),
                "unscored": isinstance(metadata.get("unscored", {}), dict),
            }
            for name, good in fits.items():
                if not good:
                    raise LeftOut(
                        f"sample {sample.id}: {name} of {scorer} is {str(metadata[name])[:60]!r}, "
                        f"which no scorer writes; score it again with inspect score"
                    )
        tally = tally_of(sample) or {}
        approximations = tally.get("approximations", [])
        if not (
            all(tally.get(name) is None or _is_number(tally[name]) for name in _NUMBERS)
            and isinstance(approximations, list)
            and all(isinstance(each, str) for each in approximations)
        ):
            raise LeftOut(f"sample {sample.id}: its tally of the defense holds what is no figure")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
