"""The logs of a run's shards are one run, equal to that of one log; what is missing is named."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from inspect_ai.log import EvalLog, EvalSample, read_eval_log, write_eval_log
from inspect_ai.model import ModelOutput
from support.attacked import looped
from support.shards import sharded, split
from support.toy import Toy, run_toy, say

from vlmguard.guard.errors import UserError
from vlmguard.guard.shards import place_of
from vlmguard.results.logs.frame import Results, read_results, read_run
from vlmguard.results.logs.run import Run

COUNT = 4
TOY = Toy(size=12, benign=3)
# By its number: grades, a refusal, and one answer that cannot be judged.
ANSWERS = [*(say(n % 10, n % 2 == 0, refuse=n == 4) for n in range(11)), "no grade in here"]
# All but the places of logs, their dates, and what a run of several logs cannot know.
SAME = [
    *("view", "column", "target", "target_settings", "defense", "defense_version", "defense_args"),
    *("template", "guards", "judge", "note", "declared", "reduced", "approximations", "remarks"),
    *("latency", "edited", "edits", "observed", "overhead_gap", "repeat", "asked", "shard"),
]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    folder = tmp_path_factory.mktemp("whole")
    return read_eval_log(run_toy(folder, TOY, ANSWERS, defended=True).location)


def read(*paths: Path) -> Results:
    return read_results([str(path) for path in paths])


def made(log: EvalLog, folder: Path, change: Callable[[EvalLog], None] = lambda log: None) -> Path:
    """The whole log, changed; the folder of its shards is `shards` beside it."""
    changed = log.model_copy(deep=True)
    change(changed)
    folder.mkdir(parents=True, exist_ok=True)
    write_eval_log(changed, str(folder / "whole.eval"))
    split(folder / "whole.eval", folder / "shards", COUNT)
    return folder


def check_same(one: Run, run: Run, timed: bool = True) -> None:
    """Compare two runs; without `timed` they were made at two times."""
    for frame, other in (
        (run.answers, one.answers),
        (run.samples(), one.samples()),
        (run.counted, one.counted),
    ):
        left = [] if timed else ["seconds"]
        pd.testing.assert_frame_equal(frame.drop(columns=left), other.drop(columns=left))
    for name in SAME:
        assert getattr(run, name) == getattr(one, name), name


def in_shard(number: int) -> Callable[[EvalLog], list[EvalSample]]:
    return lambda log: [s for s in log.samples or [] if place_of(s.id, COUNT) == number]


def whole(log: EvalLog) -> None:
    log.eval.metadata = {**(log.eval.metadata or {}), "note": "A note."}


def broken_off(log: EvalLog) -> None:
    """All samples of a shard ended with an error of the target: nothing of it is scored."""
    for sample in in_shard(2)(log):
        sample.scores = {}
        sample.output = ModelOutput()


def by_category(log: EvalLog) -> None:
    """The judge asks another question in each category, and one shard has but one of them."""
    for sample in log.samples or []:
        shown = "odd" if place_of(sample.id, COUNT) == 2 else sample.metadata["category"]
        sample.metadata["category"] = shown
        score = (sample.scores or {})["judge"]
        score.metadata = {**(score.metadata or {}), "judge_template": f"hash-{shown}"}


def in_tries(log: EvalLog) -> None:
    """A loop of an attack, whose most tries a shard of harmless requests does not tell."""
    for sample in in_shard(2)(log):
        sample.metadata["expected"] = "comply"
    looped("shuffle", {1: [False, True]}, defense="none")(log)
    log.eval.solver_args_passed = {"attack": "shuffle"}


def without_images(log: EvalLog) -> None:
    """The task left samples out, which the log of each shard names."""
    assert log.eval.metadata
    left_out = {"toy/98": {"category": "odd", "expected": "care"}, "toy/99": {}}
    log.eval.metadata["data"] = {**log.eval.metadata["data"], "left_out": left_out}


@pytest.mark.parametrize("change", [whole, broken_off, by_category, in_tries, without_images])
def test_shards_are_one_run_like_that_of_one_log(
    log: EvalLog, change: Callable[[EvalLog], None], tmp_path: Path
) -> None:
    folder = made(log, tmp_path, change)
    (one,), (run,) = read(folder / "whole.eval").runs, read(folder / "shards").runs
    check_same(one, run)
    numbers = [Path(path).parent.name for path in run.paths]
    assert numbers == [f"{number}-of-{COUNT}" for number in range(1, COUNT + 1)]
    assert (run.pace.rate, run.pace.began) == (None, one.pace.began)
    assert run.facts["Shards"] == "4"


def test_runs_of_shards_equal_a_run_of_all(tmp_path: Path) -> None:
    """Real runs with several answers to each question."""
    toy = Toy(size=7, benign=2)
    run_toy(tmp_path / "whole", toy, ANSWERS, epochs=2)
    for part in sharded(toy, 3):
        run_toy(tmp_path / "shards", part, ANSWERS, epochs=2)
    (one,), (run,) = read(tmp_path / "whole").runs, read(tmp_path / "shards").runs
    assert len(run.paths) == 3
    assert run.samples()["judge.safety"].to_dict() == one.samples()["judge.safety"].to_dict()
    check_same(one, run, timed=False)


def test_a_shard_with_all_samples_is_the_run(log: EvalLog, tmp_path: Path) -> None:
    folder = made(log, tmp_path, lambda log: None)
    (path,) = split(folder / "whole.eval", tmp_path / "one", 1)
    (one,), (run,) = read(folder / "whole.eval").runs, read(path).runs
    check_same(one, run)
    assert run.pace == one.pace
    assert run.facts["Command"].endswith("# was run in 1 shard")


@pytest.fixture
def parts(log: EvalLog, tmp_path: Path) -> list[Path]:
    """The logs of the shards, by number."""
    return sorted((made(log, tmp_path) / "shards").rglob("*.eval"))


def changed(path: Path, change: Callable[[EvalLog], None]) -> Path:
    """Change a log in its place."""
    log = read_eval_log(str(path))
    change(log)
    write_eval_log(log, str(path))
    return path


def again(path: Path, folder: Path, created: str) -> Path:
    """The same, made once more at another time."""
    copied = folder / path.parent.name / path.name
    copied.parent.mkdir(parents=True)
    log = read_eval_log(str(path))
    log.eval.created = created
    log.eval.eval_id += created
    log.eval.task_id += created
    write_eval_log(log, str(copied))
    return copied


EARLIER, LATER = "2020-01-01T00:00:00+00:00", "2040-01-01T00:00:00+00:00"


def test_a_run_without_some_of_its_shards_is_unfinished(parts: list[Path]) -> None:
    parts[2].unlink()
    parts[3].unlink()
    results = read(*parts[:2])
    assert results.runs == []
    reason = "unfinished: shards 3-of-4 and 4-of-4 are missing; run the same command again"
    assert results.left_out == {
        str(parts[0]): reason,
        str(parts[1]): f"left out with {parts[0]}",
    }
    with pytest.raises(UserError, match="shards 3-of-4 and 4-of-4 are missing"):
        read_run(str(parts[0].parent.parent.parent / "shards"))


def test_a_shard_that_was_cut_off_or_lacks_samples_is_missing(parts: list[Path]) -> None:
    def cut_off(log: EvalLog) -> None:
        log.status = "cancelled"

    def lacking(log: EvalLog) -> None:
        log.samples = (log.samples or [])[1:]
        assert log.results
        log.results.total_samples = len(log.samples)
        log.eval.dataset.sample_ids = None  # as in logs of other programs

    changed(parts[1], cut_off)
    changed(parts[2], lacking)
    left_out = read(*parts).left_out
    assert left_out[str(parts[0])].startswith("unfinished: shards 2-of-4 and 3-of-4 are missing")
    assert left_out[str(parts[1])] == "unfinished (status cancelled); run the same command again"
    held = len(read_eval_log(str(parts[2])).samples or [])
    assert left_out[str(parts[2])] == (
        f"shard 3-of-4 holds {held} samples, and {held + 1} fall to it; run it again"
    )
    assert left_out[str(parts[3])] == f"left out with {parts[0]}"


def of_version(log: EvalLog) -> None:
    log.eval.task_version = "2-A"


def at_temperature(log: EvalLog) -> None:
    log.eval.model_generate_config.temperature = 0.5


def of_other_samples(log: EvalLog) -> None:
    log.eval.config.sample_id = ["toy/1"]


def other_judge(log: EvalLog) -> None:
    for sample in log.samples or []:
        score = (sample.scores or {})["judge"]
        score.metadata = {**(score.metadata or {}), "judges": ["mockllm/another"]}


def other_prompts(log: EvalLog) -> None:
    for sample in log.samples or []:
        for score in (sample.scores or {}).values():
            if tally := (score.metadata or {}).get("defense"):
                tally["template"] = "changed"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (of_version, "task version 1-A and 2-A"),
        (at_temperature, "settings temperature none and 0.5"),
        (of_other_samples, "choice of samples sample_id none and ['toy/1']"),
        (other_judge, "judging by judge judges ['mockllm/grader'] and ['mockllm/another']"),
        (other_prompts, "prompts of the defense "),
    ],
)
def test_shards_that_differ_are_not_mixed(
    parts: list[Path], change: Callable[[EvalLog], None], said: str
) -> None:
    changed(parts[2], change)
    results = read(*parts)
    assert results.runs == []
    reason = results.left_out[str(parts[0])]
    assert reason.startswith(f"unfinished: shard 3-of-4 is there and differs: {said}")
    assert reason.endswith("; run the same command again")
    assert "shards 1-of-4, 2-of-4 and 4-of-4 are" not in reason
    assert "1-of-4 is there and differs" in results.left_out[str(parts[2])]


def test_the_newest_log_of_a_shard_counts(parts: list[Path], tmp_path: Path) -> None:
    new = again(parts[1], tmp_path / "new", LATER)
    copied = tmp_path / "copy.eval"
    copied.write_bytes(parts[2].read_bytes())
    results = read(*parts, new, copied)
    (run,) = results.runs
    assert run.paths == (str(parts[0]), str(new), *map(str, parts[2:]))
    assert run.created == LATER
    assert results.left_out[str(parts[1])] == f"older run of the same as {new}"
    assert "copy of" in (results.left_out.get(str(copied)) or results.left_out[str(parts[2])])
    assert results.repeats == []  # no whole run


def test_a_whole_run_and_one_in_shards_are_repeats_of_each_other(
    parts: list[Path], tmp_path: Path
) -> None:
    whole = again(tmp_path / "whole.eval", tmp_path / "again", LATER)
    results = read(*parts, whole)
    (run,) = results.runs
    assert run.paths == (str(whole),)
    assert results.repeats == [tuple(map(str, parts))]
    assert set(results.left_out.values()) == {f"older run of the same as {whole}"}
    # Shards without one of them are an older run that was done again.
    results = read(*parts[1:], whole)
    assert set(results.left_out.values()) == {f"older run, done again as {whole}"}
    newer = [again(path, tmp_path / "newer", "2041-01-01T00:00:00+00:00") for path in parts]
    (run,) = read(whole, *newer).runs
    assert run.paths == tuple(map(str, newer))


def test_of_two_numbers_of_shards_the_whole_or_the_newest_counts(
    parts: list[Path], tmp_path: Path
) -> None:
    threes = split(tmp_path / "whole.eval", tmp_path / "threes", 3)
    newer = [again(path, tmp_path / "newer", LATER) for path in threes]
    (run,) = read(*parts, *newer).runs
    assert run.paths == tuple(map(str, newer))
    results = read(*parts, *newer[:2])
    (run,) = results.runs
    assert run.paths == tuple(map(str, parts))
    assert results.left_out[str(newer[0])] == (
        f"unfinished: shard 3-of-3 is missing; run the same command again; until then {parts[0]} "
        f"counts"
    )


def test_shards_of_two_commits_say_so(parts: list[Path]) -> None:
    def committed(log: EvalLog) -> None:
        log.eval.packages = {**log.eval.packages, "inspect_ai": "9.9"}

    changed(parts[0], committed)
    (run,) = read(*parts).runs
    assert run.provenance["inspect_ai"].startswith("9.9, ")
    assert any(text.startswith("its shards ran under several versions") for text in run.remarks)
    assert run.facts["Inspect AI version"].startswith("9.9, ")


def test_a_judge_that_was_added_to_all_shards_is_a_second_view(parts: list[Path]) -> None:
    def add(log: EvalLog) -> None:
        for sample in log.samples or []:
            first = (sample.scores or {})["judge"]
            about = {**(first.metadata or {}), "judges": ["mockllm/another"]}
            assert sample.scores is not None
            sample.scores["judge1"] = first.model_copy(update={"metadata": about})
        assert log.eval.scorers
        log.eval.scorers.append(log.eval.scorers[0].model_copy(update={"name": "judge1"}))

    for path in parts[:3]:
        changed(path, add)
    (run,) = read(*parts).runs
    assert any("judge1, added later, judged 3 of 4 shards" in text for text in run.remarks)
    changed(parts[3], add)
    first, second = read(*parts).runs
    assert (first.view, first.judge) == (0, "mockllm/grader")
    assert (second.view, second.judge) == (1, "mockllm/another")
    assert second.paths == tuple(map(str, parts))
