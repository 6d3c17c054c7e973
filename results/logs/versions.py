"""One log, one version: of the prompts that a file gives, and of the data."""

from inspect_ai.log import EvalSampleSummary

from vlmguard.guard.record import DATA_DIGEST
from vlmguard.results.logs.answers import LeftOut, tally_of


def check_one_version(summaries: list[EvalSampleSummary]) -> None:
    """Refuse a log that went on after a file had changed under its name.

    What its scorers judged with is compared by `rows.judging_of`.

    Args:
        summaries: Its samples.

    Raises:
        LeftOut: Samples were guarded under different prompts, or come from different data.
    """
    tallies = [tally for sample in summaries if (tally := tally_of(sample))]
    # A defense that failed before it had read its prompts notes none.
    prompts = {str(tally["template"]) for tally in tallies if tally.get("template")}
    data = {
        str(sample.metadata[DATA_DIGEST]) for sample in summaries if DATA_DIGEST in sample.metadata
    }
    for what, found in (("prompts of its defense", prompts), ("data", data)):
        if len(found) > 1:
            raise LeftOut(
                f"its samples ran under {len(found)} versions of the {what} "
                f"({', '.join(sorted(found))}): a file was changed before the run went on; run it "
                f"again in a folder of its own"
            )
