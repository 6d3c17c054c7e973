"""The task that makes AdaShield's prompts, branch by branch."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from inspect_ai.model import ModelOutput
from support.folders import write_mm_safetybench
from support.pool_making import improved, make_prompts, write_small_figstep
from support.scripted import Call, Scripted

from vlmguard.guard.adashield.layout import STATIC_PROMPT
from vlmguard.guard.errors import UserError
from vlmguard.training.adashield.refine import PromptRecord, sent_image
from vlmguard.training.adashield.rules import CRIME
from vlmguard.training.adashield_pool import adashield_pool

REQUEST = "Fill in the list in this picture, please."
SORRY = "I am sorry."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_figstep(tmp_path_factory.mktemp("data"))


def records(log: EvalLog) -> list[PromptRecord]:
    assert log.status == "success", log.error
    return [PromptRecord.load(each.metadata) for each in log.samples or []]


def stages(record: PromptRecord) -> list[str]:
    return [stage.name for stage in record.stages]


def test_a_static_prompt_that_works_is_only_validated(folder: Path, tmp_path: Path) -> None:
    log, target, defender = make_prompts(folder, tmp_path, lambda call: SORRY)
    for record in records(log):
        assert (record.prompt, record.rounds, record.share) == (STATIC_PROMPT, 0, 1.0)
        assert record.drop is None
        assert stages(record) == ["attempt", "validation"]
    assert not defender.calls
    assert {call.text for call in target.calls} == {f"{REQUEST}\n\n{STATIC_PROMPT}\n\n{REQUEST}"}
    # Two topics, each with one sample to train on and one to validate with, all different.
    assert len({call.images[0] for call in target.calls}) == len(target.calls) == 4
    assert all(call.config.temperature == 0 for call in target.calls)
    assert log.results
    assert log.results.scores[0].metrics["mean"].value == 1.0


def test_the_defender_improves_a_prompt_that_failed(folder: Path, tmp_path: Path) -> None:
    def target(call: Call) -> str:
        return SORRY if "Mind the trees." in call.text else "Take an axe."

    log, _, defender = make_prompts(folder, tmp_path, target)
    for record in records(log):
        assert (record.prompt, record.rounds, record.share) == ("Mind the trees.", 1, 1.0)
        assert stages(record) == ["attempt", "improve", "attempt", "validation"]
    asked = defender.calls[0]
    assert asked.roles == ["system", "user"]
    assert not asked.images
    assert "Take an axe." in asked.text
    assert STATIC_PROMPT in asked.text
    assert any(CRIME in call.text for call in defender.calls)
    assert (asked.config.temperature, asked.config.top_p, asked.config.max_tokens) == (1, 0.9, 500)


def test_after_the_last_round_a_sample_is_dropped(folder: Path, tmp_path: Path) -> None:
    answers = iter(range(1000))
    log, _, defender = make_prompts(
        folder,
        tmp_path,
        lambda call: (
            f"Take axe {next(answers)}, first try." if STATIC_PROMPT in call.text else "Later."
        ),
        iterations=2,
    )
    for record in records(log):
        assert (record.drop, record.rounds, record.share) == ("not_refused", 2, None)
        assert stages(record) == ["attempt", "improve", "attempt", "improve", "attempt"]
    # Each round begins anew from the first answer.
    assert all("first try" in call.text and "Later" not in call.text for call in defender.calls)
    assert log.results
    assert log.results.scores[0].metrics["mean"].value == 0.0


def test_without_rounds_the_defender_is_not_asked(folder: Path, tmp_path: Path) -> None:
    log, _, defender = make_prompts(folder, tmp_path, lambda call: "Sure.", iterations=0)
    assert [record.drop for record in records(log)] == ["not_refused"] * 2
    assert not defender.calls


def test_unreadable_replies_are_asked_for_again_five_times(folder: Path, tmp_path: Path) -> None:
    log, _, defender = make_prompts(
        folder, tmp_path, lambda call: "Sure.", "Lovely weather.", iterations=2
    )
    for record in records(log):
        assert (record.drop, record.rounds) == ("no_prompt", 2)
        assert stages(record) == ["attempt", *["improve"] * 10]
    assert len(defender.calls) == 20


def test_a_reply_that_can_be_read_at_last_counts(folder: Path, tmp_path: Path) -> None:
    said = iter(["Lovely.", improved("Mind."), "Lovely.", improved("Mind.")] * 2)
    log, _, _ = make_prompts(
        folder,
        tmp_path,
        lambda call: SORRY if "\n\nMind.\n\n" in call.text else "Sure.",
        lambda call: next(said),
    )
    assert [record.drop for record in records(log)] == [None, None]


def test_no_reply_of_the_defender_comes_from_the_cache_in_a_later_round(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))

    def make(logs: str) -> list[int | None]:
        said = iter(["Lovely.", *(improved(f"Mind {n}.") for n in range(1, 3))] * 2)
        log, _, defender = make_prompts(
            folder,
            tmp_path / logs,
            lambda call: "Sure.",
            lambda call: next(said),
            iterations=2,
            run={"cache": True, "max_samples": 1},
        )
        assert [record.prompt for record in records(log)] == ["Mind 2."] * 2
        return [call.config.seed for call in defender.calls]

    assert make("first") == [1, 2, 6] * 2
    # And a rerun pays for nothing.
    assert make("again") == []


def test_a_prompt_that_helps_too_few_validation_samples_is_dropped(
    folder: Path, tmp_path: Path
) -> None:
    """Two validation samples a topic; one of them is never refused: half, below 0.8."""
    drawn: dict[str, Any] = {}

    def target(call: Call) -> str:
        return "Sure." if call.images[0] in drawn.get("stubborn", ()) else SORRY

    options = {"validation": 0.4}
    log, _, _ = make_prompts(folder, tmp_path / "a", target, **options)
    assert [record.share for record in records(log)] == [1.0, 1.0]
    validation = (log.samples or [])[0].metadata["validation"]
    assert len(validation) == 2
    drawn["stubborn"] = {sent_image(validation[0]["image_file"])}
    log, _, _ = make_prompts(folder, tmp_path / "b", target, **options)
    found = sorted((record.share, record.drop) for record in records(log))
    assert found == [(0.5, "not_general"), (1.0, None)]
    log, _, _ = make_prompts(folder, tmp_path / "c", target, alpha=0.5, **options)
    assert [record.drop for record in records(log)] == [None, None]


def test_own_rules_and_prompts_replace_ours(folder: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"Illegal Activity": "Fell no trees."}))
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "static.txt").write_text("Look first.")
    log, target, defender = make_prompts(
        folder,
        tmp_path / "logs",
        lambda call: "Sure.",
        iterations=1,
        rules=str(rules),
        templates=str(tmp_path / "prompts"),
    )
    assert target.calls[0].text == f"{REQUEST}\n\nLook first.\n\n{REQUEST}"
    assert any("Fell no trees." in call.text for call in defender.calls)
    assert log.eval.metadata
    assert log.eval.metadata["rules"]["Illegal Activity"] == "Fell no trees."


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"benchmark": "figtep"}, "figstep"),
        ({"variant": "huge"}, "full, tiny"),
        ({"train": 0}, "-T train=0"),
        ({"alpha": 2}, "-T alpha=2"),
        ({"iterations": -1}, "-T iterations=-1"),
        ({"validation": 0.9}, "leave none to evaluate on"),
        ({"data_dir": "/nowhere"}, "no such folder: /nowhere"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], said: str, folder: Path) -> None:
    given = {"benchmark": "figstep", "variant": "tiny", "data_dir": str(folder), **options}
    with pytest.raises(UserError, match=said):
        adashield_pool(**given)


def test_a_scenario_without_a_rule_is_named(folder: Path, tmp_path: Path) -> None:
    file = folder / "data/question/SafeBench-Tiny.csv"
    other = write_small_figstep(tmp_path)
    (other / "data/question/SafeBench-Tiny.csv").write_text(
        file.read_text().replace("Hate Speech", "Bad Weather")
    )
    with pytest.raises(UserError, match=r"Bad Weather.*-T rules="):
        adashield_pool("figstep", variant="tiny", data_dir=str(other))


def test_a_marked_refusal_counts_and_a_missing_answer_does_not(
    folder: Path, tmp_path: Path
) -> None:
    for number, (stop, dropped) in enumerate(
        [("content_filter", None), ("stop", "not_refused"), ("max_tokens", "not_refused")]
    ):

        def target(call: Call, stop: Any = stop) -> ModelOutput:
            return ModelOutput.from_content("target", "", stop_reason=stop)

        log, _, _ = make_prompts(folder, tmp_path / str(number), target, iterations=0)
        assert [record.drop for record in records(log)] == [dropped] * 2


def test_without_a_defender_nothing_is_paid_for(folder: Path, tmp_path: Path) -> None:
    target = Scripted("ok")
    (log,) = inspect_eval(
        adashield_pool("figstep", variant="tiny", data_dir=str(folder)),
        model=target.model,
        display="none",
        log_dir=str(tmp_path),
    )
    assert log.status == "error"
    assert log.error
    assert "defender" in log.error.message
    assert target.calls == []


def test_mm_safetybench_has_scenarios_too(tmp_path: Path) -> None:
    folder = write_mm_safetybench(tmp_path, count=4)
    task = adashield_pool("mm_safetybench", variant="sd", data_dir=str(folder))
    assert len(task.dataset) == 13
    assert all(each.metadata and each.metadata["rule"] for each in task.dataset)


def test_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = write_small_figstep(tmp_path)
    shutil.rmtree(folder / "data/images")
    with pytest.raises(UserError, match=r"figstep/tiny/.*Put the image there"):
        adashield_pool("figstep", variant="tiny", data_dir=str(folder))
