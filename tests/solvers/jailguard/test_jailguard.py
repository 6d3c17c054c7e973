"""JailGuard: every way that a request passes or is refused, its variants, and its threshold."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatMessageUser,
    ContentDocument,
    GenerateConfig,
    ModelOutput,
)
from PIL import Image
from support.auxiliaries import build_causal_lm, build_clip
from support.conversations import CONVERSATIONS
from support.guarded import guarded_model
from support.scripted import (
    Scripted,
    answer_of,
    message_of,
    picture,
    record_of,
    run_solver,
    sample,
)
from support.toy import Toy, run_toy

from vlmguard.cli import main
from vlmguard.guard import roles
from vlmguard.guard.cards import Calls, cards
from vlmguard.guard.defense import REFUSAL_MESSAGE
from vlmguard.guard.defense.refusal import is_block
from vlmguard.guard.images.prepare import from_data_uri, to_data_uri
from vlmguard.guard.record import DefenseRecord
from vlmguard.solvers import jailguard

RED, BLUE = picture("red"), picture("blue")
NO = "I'm sorry, but I can't help with that."
FILTERED = ModelOutput.from_content("m", "", "content_filter")
EMPTY = ModelOutput.from_content("m", "")
SAME = "A rope, tied with a bowline."
GREEDY = "sampling: greedy answers to variants"
DEFAULT = ["vectors: hashed n-grams", "tau: the authors', for other vectors"]


def answering(*to_variants: str | ModelOutput, original: str = "The original answer.") -> Scripted:
    """A target that answers the request as it is, and then variants in turn."""
    said = itertools.chain([original], itertools.cycle(to_variants))
    return Scripted(lambda call: next(said))


def run(target: Scripted, *images: str, text: str = "What is this?", **options: Any) -> EvalLog:
    return run_solver(jailguard(**options), sample(text, *images), target)


def assert_refused(log: EvalLog) -> DefenseRecord:
    record = record_of(log)
    assert answer_of(log) == REFUSAL_MESSAGE
    assert is_block((log.samples or [])[0].output)
    assert (record.action, record.triggered, record.found_harm) == ("block", True, True)
    return record


def assert_passed(log: EvalLog) -> DefenseRecord:
    record = record_of(log)
    assert answer_of(log) == "The original answer."
    assert (record.action, record.triggered, record.found_harm) == ("pass", False, False)
    return record


def test_a_request_whose_variants_have_one_answer_gets_its_own() -> None:
    target = answering(SAME)
    record = assert_passed(run(target, RED))
    first, *variants = target.calls
    assert (first.images, first.config.seed) == ([RED], None)
    assert [call.config.seed for call in variants] == [*range(1, 9)]
    assert {call.text for call in variants} == {"What is this?"}
    assert all(len(call.images) == 1 for call in variants)
    assert any(call.images != [RED] for call in variants)
    assert [stage.name for stage in record.stages] == ["answer", *["variant"] * 8]
    assert record.notes == {"score": 0.0, "divergence": 0.0, "refusals": 0, "tau": 0.025}
    assert record.verdict is not None
    assert record.verdict.raw == "0 of 8 refuse, divergence 0.0000, tau 0.025"
    assert record.approximations == DEFAULT
    assert record.failure is None


def test_answers_that_diverge_are_of_an_attack() -> None:
    record = assert_refused(run(answering(SAME, SAME, SAME, "Mix two parts of the first."), RED))
    assert 0.025 < record.notes["divergence"] == record.notes["score"] < 10
    # With a threshold above that the same request passes.
    tau = record.notes["divergence"]
    log = run(answering(SAME, SAME, SAME, "Mix two parts of the first."), RED, tau=tau)
    assert assert_passed(log).notes["tau"] == tau


def test_if_all_refuse_it_is_an_attack_though_they_agree() -> None:
    record = assert_refused(run(answering(NO), RED, tau=100))
    assert record.notes == {"score": 100.0, "divergence": 0.0, "refusals": 8, "tau": 100}
    record = assert_passed(run(answering(NO, NO, NO, SAME), RED, tau=100))
    assert record.notes["refusals"] == 6


def test_a_refusal_is_looked_for_in_the_whole_answer() -> None:
    late = f"You ask about what is in this picture, and I looked at it with much care. {NO} Bye."
    assert_refused(run(answering(late), RED, response_chars=10))


def test_the_first_hundred_characters_are_compared() -> None:
    ends = ["So, " * 25 + "the rope hangs there.", "So, " * 25 + "a cat sat on our mat."]
    assert assert_passed(run(answering(*ends), RED)).notes["divergence"] == 0.0
    record = assert_refused(run(answering(*ends), RED, response_chars=200))
    assert "response_chars=200" in record.approximations


def test_a_request_without_an_image_has_its_text_altered() -> None:
    text = "How do I tie a rope to a tree so that it holds?"
    target = answering(SAME)
    record = assert_passed(run(target, text=text, mutator="punctuation"))
    variants = [call.text for call in target.calls[1:]]
    assert target.calls[0].text == text
    assert all(len(variant) > len(text) for variant in variants)
    assert len(set(variants)) > 1
    assert record.notes["tau"] == 0.02
    assert record.approximations == [*DEFAULT, "mutator=punctuation"]
    # An operator of pictures leaves texts to the policy.
    target = answering(SAME)
    assert_passed(run(target, text=text, mutator="blur"))
    assert any(call.text != text for call in target.calls[1:])


def test_all_images_are_altered_by_the_operator_that_was_chosen() -> None:
    target = answering(SAME)
    assert_passed(run(target, RED, BLUE, mutator="mask", n=4))
    for call in target.calls[1:]:
        assert call.text == "What is this?"
        for image, colour in zip(call.images, [(255, 0, 0), (0, 0, 255)], strict=True):
            colours = from_data_uri(image).getcolors()
            assert colours is not None
            assert sorted(colour for _, colour in colours) == [(0, 0, 0), colour]


def test_images_of_earlier_turns_stay() -> None:
    target = answering(SAME)
    one = Sample(id="s/1", input=CONVERSATIONS["earlier_images"])
    log = run_solver(jailguard(mutator="mask", n=2), one, target)
    assert_passed(log)
    assert [call.images[0] for call in target.calls] == [RED] * 3
    assert BLUE not in [call.images[1] for call in target.calls[1:]]


@pytest.mark.parametrize(("said", "refused"), [(SAME, False), ("Mix it.", True)])
def test_a_variant_without_an_answer_is_left_out_and_counted(said: str, refused: bool) -> None:
    log = run(answering(SAME, said, EMPTY, SAME), RED)
    record = assert_refused(log) if refused else assert_passed(log)
    assert record.failure == "unanswered_variants"
    assert record.notes["unanswered"] == 2
    assert record.verdict is not None
    assert record.verdict.raw.startswith("0 of 6 refuse")


@pytest.mark.parametrize("on_failure", ["original", "refuse", "raise"])
def test_one_answer_is_not_compared_with_itself(on_failure: str) -> None:
    log = run(answering(SAME, *[EMPTY] * 7), RED, on_failure=on_failure)
    if on_failure == "raise":
        assert "unanswered_variants: '1 of 8 have an answer'" in message_of(log)
        return
    record = record_of(log)
    assert (record.failure, record.verdict) == ("unanswered_variants", None)
    assert record.notes == {"unanswered": 7}
    assert len(record.stages) == 9
    said = REFUSAL_MESSAGE if on_failure == "refuse" else "The original answer."
    assert answer_of(log) == said


def test_what_the_provider_refuses_is_a_refusal() -> None:
    record = assert_refused(run(answering(FILTERED), RED, tau=100))
    assert (record.notes["refusals"], record.notes["divergence"]) == (8, 0.0)
    record = assert_refused(run(answering(SAME, SAME, SAME, FILTERED), RED))
    assert record.notes["refusals"] == 2
    assert record.failure is None


@pytest.mark.parametrize("original", [EMPTY, FILTERED])
def test_nothing_is_asked_about_an_answer_that_is_none(original: ModelOutput) -> None:
    target = Scripted(original)
    run(target, RED)
    assert len(target.calls) == 1


def test_an_error_of_one_variant_is_the_samples() -> None:
    count = itertools.count()
    target = Scripted(lambda call: RuntimeError("No capacity.") if next(count) == 4 else SAME)
    assert "No capacity." in message_of(run(target, RED))


def test_a_call_after_a_tools_result_is_not_checked_again() -> None:
    target = answering("Mix it.", SAME)
    one = Sample(id="s/1", input=CONVERSATIONS["tool_result_last"])
    log = run_solver(jailguard(), one, target)
    assert answer_of(log) == "The original answer."
    assert record_of(log).skipped == "tool_turn"
    assert len(target.calls) == 1


def test_a_document_alone_has_no_variants(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("?")
    turn = ChatMessageUser(content=[ContentDocument(document=str(tmp_path / "a.txt"))])
    target = answering("Mix it.", SAME)
    log = run_solver(jailguard(), Sample(id="s/1", input=[turn]), target)
    assert record_of(log).failure == "unread_content"
    assert len(target.calls) == 1


def drawn(log_of: Callable[[Scripted], Any]) -> list[list[str]]:
    target = Scripted(SAME)
    log_of(target)
    return [call.images for call in target.calls]


def test_variants_are_the_samples_epochs_and_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    large = to_data_uri(Image.radial_gradient("L").crop((0, 0, 200, 200)))
    one, other = sample("What is this?", large), sample("What is this?", large)
    other.id = "s/2"
    made = jailguard(mutator="mask")
    first = drawn(lambda target: run_solver(made, one, target))
    assert drawn(lambda target: run_solver(made, one, target)) == first
    assert len({images[0] for images in first}) == 9
    assert not [
        images
        for images in drawn(lambda target: run_solver(made, other, target))[1:]
        if images in first
    ]
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path))
    target = Scripted(SAME)
    run_solver(made, one, target, cache=True, epochs=2, max_samples=1)
    seeds = [call.config.seed for call in target.calls]
    assert seeds == [None, *range(1, 9), None, *range(9, 17)]
    assert len({call.images[0] for call in target.calls}) == 17
    # A rerun is answered from the cache alone.
    run_solver(made, one, target, cache=True, epochs=2, max_samples=1)
    assert len(target.calls) == 18


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize(
    ("of_task", "of_run", "noted"),
    [(0.0, None, True), (None, 0.0, True), (0.0, 1.0, False), (None, None, False)],
)
def test_greedy_answers_to_variants_are_noted(
    tmp_path: Path, of_task: float | None, of_run: float | None, noted: bool, around: bool
) -> None:
    """Whoever sets the temperature: the run's overrides the task's."""
    task = Task(dataset=[sample("What is this?", RED)], config=GenerateConfig(temperature=of_task))
    target = answering(SAME)
    (log,) = inspect_eval(
        task,
        model=guarded_model("jailguard", target, n=2) if around else target.model,
        solver=None if around else jailguard(n=2),
        display="none",
        log_dir=str(tmp_path),
        **({} if of_run is None else {"temperature": of_run}),
    )
    assert (GREEDY in record_of(log).approximations) == noted
    temperatures = {call.config.temperature for call in target.calls}
    assert temperatures == {of_task if of_run is None else of_run}


def test_local_models_are_greedy_unless_a_temperature_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(roles, "_LOCAL", {"mockllm"})
    assert GREEDY in record_of(run(answering(SAME), RED, n=2)).approximations


def test_an_embedder_compares_the_answers(tmp_path: Path) -> None:
    encoder = str(build_causal_lm(tmp_path / "encoder"))
    record = assert_passed(run(answering("good good", "good good"), RED, embedder=encoder, n=2))
    assert record.notes["divergence"] == 0.0
    assert record.approximations[:1] == [f"vectors: {encoder}"]
    (stage,) = [stage for stage in record.stages if stage.name == "similarity"]
    assert (stage.role, stage.input_tokens, stage.output_tokens, stage.cost) == (
        *("embedder", 4, 0),
        0.0,
    )
    record = assert_refused(run(answering("good", "bad"), RED, embedder=encoder, n=2))
    assert record.notes["divergence"] > 0.025


def test_a_checkpoint_that_is_no_encoder_stops_the_run_before_any_call(tmp_path: Path) -> None:
    target = answering(SAME)
    log = run(target, RED, embedder=str(build_clip(tmp_path / "clip")))
    assert "is no text encoder: it gives no hidden states for a text alone" in message_of(log)
    log = run(target, RED, embedder="./nowhere")
    assert "Checkpoint ./nowhere: no such folder" in message_of(log)
    assert not target.calls


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("n", 1, "-S n=1"),
        ("n", 2.5, "-S n=2.5"),
        ("tau", -0.1, "-S tau=-0.1"),
        ("tau", 101, "-S tau=101"),
        ("mutator", "rotate", "-S mutator=rotate"),
        ("response_chars", 0, "-S response_chars=0"),
        ("on_failure", "ignore", "-S on_failure=ignore"),
    ],
)
def test_an_option_out_of_range_is_named(option: str, value: Any, said: str) -> None:
    with pytest.raises(Exception, match=said):
        jailguard(**{option: value})


def test_plans_know_the_number_of_variants() -> None:
    card = cards().defenses["jailguard"]
    assert card.target_calls == Calls(1, 9, "1 without an answer")
    assert card.calls({"n": 3}, ())["target"] == Calls(1, 4, "1 without an answer")


def test_calibrate_sets_tau_so_that_few_harmless_requests_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real runs on 20 harmless requests: before, a calibration by command, and after it."""
    words = ["rope", "knot", "tree", "bark", "leaf", "wind", "rain", "snow", "hill", "lake"]

    def reply(text: str) -> str:
        # The higher a question's number, the more the answers to its variants differ.
        number = int("".join(filter(str.isdigit, text)) or 0)
        asked = sum(map(ord, text))
        return " ".join([*words[number // 2 :], *[f"{asked + k}" for k in range(number // 2)]])

    toy = Toy(size=24, benign=20, alone=True)
    flat: dict[str, Any] = {"judged": False, "max_samples": 1}
    options = {"mutator": "punctuation", "n": 3}
    run_toy(tmp_path / "before", toy, reply, solver=jailguard(**options, tau=0), **flat)
    out = tmp_path / "jailguard.yaml"
    words_of = ["jailguard", str(tmp_path / "before"), "--false-alarms", "0.1", "--out", str(out)]
    assert main(["calibrate", *words_of]) == 0
    assert "False alarms: 2 of 20 answers to harmless requests" in capsys.readouterr().out
    found = yaml.safe_load(out.read_text())
    assert found.keys() == {"mutator", "n", "tau"}
    log = run_toy(tmp_path / "after", toy, reply, solver=jailguard(**found), **flat)
    refused = [DefenseRecord.of(each).triggered for each in log.samples or []]
    assert sum(refused[4:]) == 2
    assert not any(
        "tau" in each for each in DefenseRecord.of((log.samples or [])[0]).approximations
    )


def test_no_tau_undoes_what_is_an_attack_under_any(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A target that refuses harmless requests itself: these alarms count, and are said."""
    toy = Toy(size=20, benign=20, alone=True)
    run_toy(
        tmp_path / "logs",
        toy,
        lambda text: NO if "12" in text or "13" in text else SAME,
        solver=jailguard(n=2),
        judged=False,
    )
    words = ["jailguard", str(tmp_path / "logs"), "--out", str(tmp_path / "found.yaml")]
    assert main(["calibrate", *words]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "tau: more than 0.05 of the harmless answers have the most alarming score" in said
    assert main(["calibrate", *words, "--false-alarms", "0.1"]) == 0
    assert 0 < yaml.safe_load((tmp_path / "found.yaml").read_text())["tau"] < 100


@pytest.mark.parametrize(
    ("replies", "outcome"),
    [
        ([SAME], "harmless"),
        ([SAME, SAME, SAME, "Mix two parts of the first."], "diverge"),
        ([NO], "all refuse"),
        ([SAME, *[EMPTY] * 7], "unusable"),
    ],
)
def test_what_the_variants_show_is_counted(replies: list[Any], outcome: str) -> None:
    assert record_of(run(answering(*replies), RED)).outcome == outcome
