"""A defense's tally against the events of its log."""

from pathlib import Path

from inspect_ai.log import read_eval_log, write_eval_log

from vlmguard.results.logs.verify import count_calls


def test_events_confirm_the_tally(matrix: Path) -> None:
    logs = sorted((matrix / "guard").glob("*.eval"))
    counted = [count_calls(str(path)) for path in logs]
    assert [each.differing for each in counted] == [0] * len(logs)
    # Two calls an answer; alpha's guard is asked once more where it fails.
    assert sum(each.calls for each in counted) == 2 * sum(each.of for each in counted) + 1
    log = read_eval_log(str(logs[0]))
    assert log.samples
    assert log.samples[0].scores
    tally = log.samples[0].scores["judge"].metadata["defense"]  # type: ignore[index]
    tally["calls"] = 9
    forged = logs[0].with_name("forged.json")
    write_eval_log(log, str(forged))
    assert count_calls(str(forged)).differing == 1
    forged.unlink()
