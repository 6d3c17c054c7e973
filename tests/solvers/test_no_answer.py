"""Post-hoc defenses with missing answers, with marked refusals, and with thinking."""

from collections.abc import Callable

import pytest
from inspect_ai.model import (
    ContentReasoning,
    ContentText,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)
from inspect_ai.solver import Solver
from support.scripted import USAGE, Call, Scripted, picture, record_of, run_solver, sample

from vlmguard.guard.record import DefenseRecord
from vlmguard.solvers import ecso, eta, mllm_protector

LENGTH = "This model's maximum context length is 4096 tokens."
NO_ANSWER = {
    "empty": ModelOutput.from_content("m", ""),
    "thinking": ModelOutput.from_content("m", [ContentReasoning(reasoning="Hm.")]),
    "thoughts": ModelOutput.from_content("m", "<think>Hm, let me", "max_tokens"),
    "too_long": ModelOutput.from_content("m", LENGTH, "model_length", error=LENGTH),
}
REFUSED = {
    "filtered": ModelOutput.from_content("m", "", "content_filter"),
    "filter_error": ModelOutput.from_content("m", "The prompt was filtered.", "content_filter"),
    "refusal": ModelOutput.from_content("m", [ContentText(text="Not for me.", refusal=True)]),
}
DEFENSES: dict[str, tuple[Callable[[], Solver], tuple[str, ...]]] = {
    "ecso": (ecso, ()),
    "mllm_protector": (lambda: mllm_protector(on_failure="refuse"), ("detector", "detoxifier")),
    "eta": (lambda: eta(decoding="response", on_failure="refuse"), ("reward", "image_safety")),
}


@pytest.mark.parametrize("defense", DEFENSES)
@pytest.mark.parametrize("kind", [*NO_ANSWER, *REFUSED])
def test_there_is_nothing_to_check_and_nothing_is_paid(defense: str, kind: str) -> None:
    made, names = DEFENSES[defense]
    output = {**NO_ANSWER, **REFUSED}[kind]
    target = Scripted(output)
    roles = {name: Scripted("UNSAFE", name) for name in names}
    log = run_solver(made(), sample("How?", picture()), target, roles)
    record = record_of(log)
    assert record.failure == ("no_answer" if kind in NO_ANSWER else None)
    assert not record.triggered
    assert [stage.name for stage in record.stages] == ["answer"]
    assert len(target.calls) == 1
    assert not any(role.calls for role in roles.values())
    (only,) = log.samples or []
    assert only.output.choices[0].model_dump(exclude={"message": {"id"}}) == output.choices[
        0
    ].model_dump(exclude={"message": {"id"}})
    assert len(only.messages) == 2


def thoughtful(call: Call) -> str:
    """A target that thinks aloud, with only a closing tag."""
    if "yes or no only" in call.text:
        return "Yes? It says no harm, but the cliff.\n</think>\n\nYes."
    if "Describe the image" in call.text:
        return "<think>A draft caption.</think>A red square."
    if "HARMLESS" in call.text:
        return "<think>Hm.</think>A safe answer."
    return "A draft answer.</think>First answer."


def test_thinking_does_not_switch_ecso_off() -> None:
    target = Scripted(thoughtful)
    record = record_of(run_solver(ecso(), sample("How?", picture()), target))
    assert record.triggered
    assert record.failure is None
    _, check, _, final = target.calls
    assert "First answer." in check.text
    assert "A draft" not in check.text
    assert "A red square." in final.text
    assert "A draft" not in final.text


@pytest.mark.parametrize("end", ["\n</think>", "<|channel|>analysis<|message|>", "</think><think>"])
def test_a_tag_at_the_end_does_not_switch_defenses_off(end: str) -> None:
    for defense, names in DEFENSES.values():
        roles = {name: Scripted("UNSAFE", name) for name in names}
        target = Scripted(f"Take a knife.{end}")
        record = record_of(run_solver(defense(), sample("How?", picture()), target, roles))
        assert record.failure != "no_answer"
        assert any("check" in stage.name for stage in record.stages)


@pytest.mark.parametrize("kind", ["too_long", "filter_error"])
def test_a_caption_that_is_none_is_noted(kind: str) -> None:
    none = {**NO_ANSWER, **REFUSED}[kind]

    def reply(call: Call) -> str | ModelOutput:
        if "yes or no only" in call.text:
            return "Yes."
        if "Describe the image" in call.text:
            return none
        return "An answer."

    target = Scripted(reply)
    record = record_of(run_solver(ecso(), sample("How?", picture()), target))
    assert record.failure == "no_caption"
    assert none.completion not in target.calls[-1].text
    assert "<hints>\n\n</hints>" in target.calls[-1].text


@pytest.mark.parametrize(("given", "expected"), [(None, 1024), (256, 1024), (4096, 4096)])
def test_a_user_can_give_the_checks_more_tokens(given: int | None, expected: int) -> None:
    seen: list[GenerateConfig] = []

    def reply(
        messages: object, tools: object, tool_choice: object, config: GenerateConfig
    ) -> ModelOutput:
        seen.append(config)
        output = ModelOutput.from_content("m", "Yes." if len(seen) == 2 else "A text.")
        output.usage = USAGE
        return output

    # As `--max-tokens`, and as `generate` of a target of `vlmguard run`.
    target: Model = get_model(
        "mockllm/target",
        custom_outputs=reply,
        memoize=False,
        config=GenerateConfig(max_tokens=given, temperature=0.7),
    )
    run_solver(ecso(), sample("How?", picture()), target)
    assert [config.max_tokens for config in seen] == [given, expected, expected, given]
    assert [config.temperature for config in seen] == [0.7, 0.0, 0.0, 0.0]


def protected(detector: str | ModelOutput, detoxifier: str | ModelOutput) -> DefenseRecord:
    roles = {"detector": Scripted(detector, "d"), "detoxifier": Scripted(detoxifier, "x")}
    target = Scripted("<think>Draft.</think>First answer.")
    log = run_solver(mllm_protector(), sample("How?", picture()), target, roles)
    assert "Draft." not in roles["detector"].calls[0].text
    record = record_of(log)
    record.notes["final"] = (log.samples or [])[0].output.completion
    return record


def test_thinking_does_not_switch_mllm_protector_off() -> None:
    record = protected("It seems SAFE? No.</think>UNSAFE", "<think>Soften it.</think>Kind.")
    assert record.triggered
    assert record.failure is None
    assert record.notes["final"] == "Kind."


@pytest.mark.parametrize("kind", ["thoughts", "too_long", "filter_error"])
def test_what_is_no_text_of_the_detoxifier_replaces_nothing(kind: str) -> None:
    record = protected("UNSAFE", {**NO_ANSWER, **REFUSED}[kind])
    assert record.failure == "empty_rewrite"
    assert record.notes["final"] == "<think>Draft.</think>First answer."


def test_thinking_does_not_switch_eta_off() -> None:
    drawn = iter(["<think>Draft 9.</think>Poor.", NO_ANSWER["too_long"], "Draft.</think>Good."])

    def grade(call: Call) -> str:
        assert "Draft" not in call.text
        return "<think>10? No.</think>9" if "Good." in call.text else "9?</think>1"

    target = Scripted(lambda call: next(drawn) if "Begin your answer" in call.text else "First.")
    roles = {
        "reward": Scripted(grade, "reward"),
        "image_safety": Scripted("No? There is blood.</think>Yes", "image_safety"),
    }
    log = run_solver(eta(decoding="response", n=3), sample("How?", picture()), target, roles)
    record = record_of(log)
    assert record.triggered
    assert record.failure is None
    assert (log.samples or [])[0].output.completion == "Good."


def test_candidates_that_are_no_answers_leave_the_first_answer() -> None:
    def reply(call: Call) -> str | ModelOutput:
        return NO_ANSWER["empty"] if "Begin your answer" in call.text else "First."

    roles = {"reward": Scripted("1", "reward"), "image_safety": Scripted("Yes", "image_safety")}
    log = run_solver(eta(decoding="response"), sample("How?", picture()), Scripted(reply), roles)
    assert record_of(log).failure == "no_candidate"
    assert (log.samples or [])[0].output.completion == "First."
