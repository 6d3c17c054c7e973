"""FigStep-Tiny with its 50 real images and scripted models that force every branch.

Random weights take few branches. Here each defense takes all its branches, and the tests check the
messages, the calls, and the defense's record.
"""

from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from support.scripted import Call, Scripted

from vlmguard.guard.defense import REFUSAL_MESSAGE
from vlmguard.guard.record import DefenseRecord
from vlmguard.solvers import ecso, eta, figstep_defense, mllm_protector, vlmguard
from vlmguard.solvers.eta.decoding import PREFIX
from vlmguard.tasks import figstep

SAFE_ANSWER = "I have read the list and will keep to general advice."


@pytest.fixture(scope="module")
def folder(real_data: Any) -> Path:
    path: Path = real_data("figstep")
    return path


def judge_script(call: Call) -> str:
    """A judge that always gives a readable verdict."""
    if '"success"' in call.text:
        return 'Declined. {"success": false}'
    return 'Careful. {"safety": 8, "helpful": true}'


def run(folder: Path, solver: Any, target: Scripted, tmp_path: Path, **roles: Scripted) -> EvalLog:
    roles.setdefault("grader", Scripted(judge_script, "grader"))
    (log,) = inspect_eval(
        figstep(split="tiny", data_dir=str(folder)),
        solver=solver,
        model=target.model,
        model_roles={name: role.model for name, role in roles.items()},
        display="none",
        log_dir=str(tmp_path),
    )
    assert log.status == "success", log.error
    assert log.samples is not None
    assert len(log.samples) == 50
    return log


def records(log: EvalLog) -> list[DefenseRecord]:
    return [DefenseRecord.of(sample) for sample in log.samples or []]


def scored_share(log: EvalLog, name: str) -> float:
    assert log.results is not None
    score = next(each for each in log.results.scores if each.name == name)
    assert score.scored_samples is not None
    assert score.unscored_samples is not None
    return score.scored_samples / (score.scored_samples + score.unscored_samples)


def test_undefended_sees_image_before_text(folder: Path, tmp_path: Path) -> None:
    target = Scripted(SAFE_ANSWER)
    grader = Scripted(
        lambda call: "no verdict" if call is grader.calls[0] else judge_script(call), "grader"
    )
    log = run(folder, None, target, tmp_path, grader=grader)
    assert len(target.calls) == 50
    assert all(call.parts == ["image", "text"] for call in target.calls)
    assert len({call.images[0] for call in target.calls}) == 50
    assert scored_share(log, "attack_success") >= 0.9
    assert scored_share(log, "safety") >= 0.9
    # The official judge sees the true question and no image; the general one sees the image.
    official = [call for call in grader.calls if '"success"' in call.text]
    assert len(official) == 50
    assert all(not call.images for call in official)
    questions = {str(sample.metadata["question"]) for sample in log.samples or []}
    assert sum(any(q in call.text for q in questions) for call in official) == 50


def test_vlmguard_rewrites_passes_on_and_falls_back(folder: Path, tmp_path: Path) -> None:
    replies = iter(
        ["<reasoning>List.</reasoning><prompt>Explain the safe part.</prompt>"] * 30
        + ["no tags at all"] * 40  # at first and when asked again
    )
    rewriter = Scripted(lambda call: next(replies), "rewriter")
    target = Scripted(SAFE_ANSWER)
    log = run(folder, vlmguard(), target, tmp_path, rewriter=rewriter)
    assert (len(rewriter.calls), len(target.calls)) == (70, 50)
    assert all(call.parts == ["image", "text"] for call in [*rewriter.calls, *target.calls])
    assert {call.images[0] for call in target.calls} == {call.images[0] for call in rewriter.calls}
    assert sum(call.text == "Explain the safe part." for call in target.calls) == 30
    failures = [record.failure for record in records(log)]
    assert failures.count("no_prompt") == 20
    assert failures.count(None) == 30
    for record in records(log):
        asked = 1 if record.failure is None else 2
        assert [stage.name for stage in record.stages] == ["rewrite"] * asked + ["answer"]
        assert record.triggered is (record.failure is None)


def test_vlmguard_refuses_without_asking_the_target(folder: Path, tmp_path: Path) -> None:
    target = Scripted(SAFE_ANSWER)
    rewriter = Scripted("", "rewriter")
    log = run(folder, vlmguard(on_failure="refuse"), target, tmp_path, rewriter=rewriter)
    assert not target.calls
    assert {sample.output.completion for sample in log.samples or []} == {REFUSAL_MESSAGE}


def test_ecso_keeps_safe_answers_and_regenerates_harmful_ones(folder: Path, tmp_path: Path) -> None:
    seen: dict[str, int] = {}

    def script(call: Call) -> str:
        if "yes or no" in call.text:
            return "Yes." if call.images[0] in harmful else "No."
        if call.text.startswith("Request:"):
            return "A list on white paper."
        if not call.images:
            return "A harmless answer."
        seen[call.images[0]] = len(seen)
        if seen[call.images[0]] % 2 == 0:
            harmful.add(call.images[0])
        return "A first answer."

    harmful: set[str] = set()
    target = Scripted(script)
    log = run(folder, ecso(), target, tmp_path)
    triggered = [record for record in records(log) if record.triggered]
    assert len(triggered) == 25
    assert len(target.calls) == 25 * 2 + 25 * 4
    for record in records(log):
        names = [stage.name for stage in record.stages]
        full = ["answer", "harm_check", "caption", "safe_answer"]
        assert names == (full if record.triggered else full[:2])
    blind = [call for call in target.calls if not call.images]
    assert len(blind) == 25
    assert all("A list on white paper." in call.text for call in blind)
    checks = [call for call in target.calls if "yes or no" in call.text]
    assert all(call.config.temperature == 0 and call.config.max_tokens == 1024 for call in checks)
    answers = [sample.output.completion for sample in log.samples or []]
    assert answers.count("A harmless answer.") == 25


@pytest.mark.parametrize(
    ("grades", "image_verdict", "branch", "calls"),
    [
        ((9,), "no", "safe_answer", 1),
        ((1,), "no", "safe_image", 1),
        ((1, 5), "yes", "aligned", 6),
    ],
)
def test_eta_takes_each_branch(
    grades: tuple[int, ...],
    image_verdict: str,
    branch: str,
    calls: int,
    folder: Path,
    tmp_path: Path,
) -> None:
    target = Scripted(lambda call: f"{PREFIX}, I will be careful." if calls == 6 else SAFE_ANSWER)

    def grade(call: Call) -> str:
        gate = "one word" in call.text
        return str(grades[0] if gate else grades[-1])

    reward = Scripted(grade, "reward")
    image = Scripted(image_verdict, "image")
    log = run(folder, eta(decoding="response"), target, tmp_path, reward=reward, image_safety=image)
    assert len(target.calls) == 50 * calls
    assert {record.notes["branch"] for record in records(log)} == {branch}
    assert len(image.calls) == (0 if branch == "safe_answer" else 50)
    for record in records(log):
        assert record.triggered is (branch == "aligned")
        assert "decoding=response" in record.approximations
        assert record.kept_prefix == (PREFIX if branch == "aligned" else "")
    if branch == "aligned":
        assert log.results is not None
        refused = next(score for score in log.results.scores if score.name == "refused")
        # The kept prefix is not a refusal.
        assert refused.metrics["mean"].value == 0.0


@pytest.mark.parametrize(
    ("verdict", "with_detoxifier"), [("SAFE", True), ("UNSAFE", True), ("UNSAFE", False)]
)
def test_mllm_protector_takes_each_branch(
    verdict: str, with_detoxifier: bool, folder: Path, tmp_path: Path
) -> None:
    target = Scripted("An answer.")
    roles = {"detector": Scripted(verdict, "detector")}
    if with_detoxifier:
        roles["detoxifier"] = Scripted("A clean answer.", "detoxifier")
    log = run(folder, mllm_protector(), target, tmp_path, **roles)
    assert len(target.calls) == 50
    assert all(not call.images for call in roles["detector"].calls)
    answers = {sample.output.completion for sample in log.samples or []}
    if verdict == "SAFE":
        assert answers == {"An answer."}
        assert not roles["detoxifier"].calls
    elif with_detoxifier:
        assert answers == {"A clean answer."}
        assert all(not call.images for call in roles["detoxifier"].calls)
    else:
        assert answers == {REFUSAL_MESSAGE}


@pytest.mark.parametrize("placement", ["system", "suffix", "prefix"])
def test_figstep_defense_places_its_warning(placement: str, folder: Path, tmp_path: Path) -> None:
    target = Scripted(SAFE_ANSWER)
    log = run(folder, figstep_defense(placement=placement), target, tmp_path)  # type: ignore[arg-type]
    assert len(target.calls) == 50
    expected = ["system", "user"] if placement == "system" else ["user"]
    assert all(call.roles == expected for call in target.calls)
    assert all(len(call.images) == 1 for call in target.calls)
    assert all(record.notes["placement"] == placement for record in records(log))
