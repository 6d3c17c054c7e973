"""One log, one version: of the defense, of the prompts that a file gives, and of the data."""

from typing import Any

from inspect_ai.log import EvalSampleSummary

from vlmguard.guard.record import DATA_DIGEST
from vlmguard.results.logs.answers import LeftOut, tally_of


def check_one_version(summaries: list[EvalSampleSummary]) -> None:
    """Refuse a log that went on after a file had changed under its name.

    What its scorers judged with is compared by `conditions.judging_of`.

    Args:
        summaries: Its samples.

    Raises:
        LeftOut: Samples were guarded by different versions of a solver or under different prompts,
            or come from different data.
    """
    tallies = [tally for sample in summaries if (tally := tally_of(sample))]
    # A defense that failed before it had read its prompts notes none.
    prompts = {str(tally["template"]) for tally in tallies if tally.get("template")}
    data = {
        str(sample.metadata[DATA_DIGEST]) for sample in summaries if DATA_DIGEST in sample.metadata
    }
    for what, found, cause in (
        ("defense", versions_of(tallies), "vlmguard was"),
        ("prompts of its defense", prompts, "a file was"),
        ("data", data, "a file was"),
    ):
        if len(found) > 1:
            listed = ", ".join(each or "none noted" for each in sorted(found))
            raise LeftOut(
                f"its samples ran under {len(found)} versions of the {what} ({listed}): {cause} "
                f"changed before the run went on; run it again in a folder of its own"
            )


def versions_of(tallies: list[dict[str, Any]]) -> set[str]:
    """Versions of the defense in a log; that of a log from before there were any is empty.

    Args:
        tallies: Those of its samples; one that came to no defense says nothing of it.
    """
    return {str(tally.get("version", "")) for tally in tallies if tally["defense"] != "none"}
