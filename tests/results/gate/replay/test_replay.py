"""`vlmguard gate --replay`: a guard on recorded traffic, beside the guard that was there."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import anyio
import pytest
from inspect_ai.model import ChatMessageTool, ModelOutput
from support.recordings import note, recorded
from support.scripted import Call, Scripted, picture, user

from vlmguard.cli import main
from vlmguard.guard import outside
from vlmguard.guard.decision import Action
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.recordings import read_recordings
from vlmguard.guard.serving.recording import Recorder
from vlmguard.results.gate.comparable import Limits
from vlmguard.results.gate.replay.asking import NewGuard, replayed
from vlmguard.results.gate.replay.command import Asked, update

REWRITE = "<reasoning>A fall.</reasoning><prompt>How do I do this with care?</prompt>"
COPY = "<reasoning>None.</reasoning>No change needed."
BROKEN = "Lovely weather today."
HALF: list[Action] = ["rewrite", "pass"] * 20
"""40 requests about 10 pictures, of which every second was rewritten."""

Gate = Callable[..., int]


def as_recorded(call: Call) -> str:
    """The rewriter that made `HALF`: it changes requests of even numbers."""
    return REWRITE if number_of(call) % 2 == 0 else COPY


def number_of(call: Call) -> int:
    return int(call.text.split("climb ladder ")[1].split("?")[0])


@pytest.fixture
def half(tmp_path: Path) -> Path:
    return own_pictures(tmp_path / "kept", HALF)


def own_pictures(folder: Path, actions: list[Action]) -> Path:
    """Recordings of which each counts for itself: texts alone, so that none share a picture."""
    recorder = Recorder(folder)
    for number, action in enumerate(actions):
        note(recorder, number, action, [user(f"How do I climb ladder {number}?")])
    recorder.close()
    return folder


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """`vlmguard gate --replay FOLDER` with a scripted model in a role."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(folder: Path, script: Any, *words: str, role: str = "rewriter") -> int:
        model = script if isinstance(script, Scripted) else Scripted(script, role)
        monkeypatch.setattr(outside, "roles_of", lambda arguments: {role: model.model})
        return main(["gate", "--replay", str(folder), *words])

    return run


def label(folder: Path, benign: dict[str, bool]) -> None:
    """Write what somebody who looked said of some requests."""
    for file in folder.glob("*.jsonl"):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line in lines:
            if line["id"] in benign:
                line["benign"] = benign[line["id"]]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_same_guard_decides_the_same(
    half: Path, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(half, as_recorded) == 0
    said = capsys.readouterr().out
    assert "Decisions on 40 requests" in said
    assert "0 of the same kind reach the target with other words" in said
    assert "Passed: nothing is shown to be worse." in said
    assert "->" not in said.split("Rates over")[1].split("as good")[0]


def test_a_guard_that_passes_what_was_rewritten_is_worse(
    half: Path, gate: Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [f"--junit={tmp_path / 'gate.xml'}", f"--changes={tmp_path / 'changes.csv'}"]
    assert gate(half, COPY, *paths) == 1
    said = capsys.readouterr().out
    assert "rewrite -> pass (20): r0, r2, r4, r6, r8, r10, r12, r14, r16, r18 and 10 more" in said
    # 20 of 40 passed before, all do now: Tango's interval, by hand from its definition.
    assert "passed unchanged" in said
    assert "+50.0 [+35.2, +64.8]" in said
    assert "WORSE" in said
    assert "Passed unchanged: loss of 50.0 on 40 samples" in said
    failures = ElementTree.parse(tmp_path / "gate.xml").getroot().iter("failure")
    assert len([*failures]) == 1
    rows = [*csv.DictReader(io.StringIO((tmp_path / "changes.csv").read_text()))]
    assert [row["id"] for row in rows] == [f"r{number}" for number in range(0, 40, 2)]
    assert {(row["old"], row["new"]) for row in rows} == {("rewrite", "pass")}
    assert "ladder" not in (tmp_path / "changes.csv").read_text()


def test_a_guard_that_fails_more_often_is_worse(
    half: Path, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(call: Call) -> str:
        return BROKEN if number_of(call) >= 33 else as_recorded(call)

    assert gate(half, failing) == 1
    said = capsys.readouterr().out
    assert "Failed: loss of 17.5 on 40 samples" in said
    assert "pass -> failed (4): r33, r35, r37, r39" in said
    assert "rewrite -> failed (3): r34, r36, r38" in said


def test_a_guard_that_fails_too_often_is_worse_and_not_to_be_used(
    half: Path, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(half, BROKEN) == 1
    assert "unusable in 100.0% of the requests, more than 20.0%" in capsys.readouterr().out


def test_more_changed_or_blocked_requests_are_shown_and_no_loss(
    half: Path, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(half, REWRITE) == 0
    assert "pass -> rewrite (20): r1, r3" in capsys.readouterr().out
    unsafe = '{"violation": true}'
    assert gate(half, unsafe, "--defense", "guard_model", role="guard") == 0
    said = capsys.readouterr().out
    assert "pass -> block (20)" in said
    assert "rewrite -> block (20)" in said
    assert "+100.0" in said
    assert "cannot tell protection from over-refusal" in said


def test_another_rewrite_is_told_and_no_loss(
    half: Path, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    other = REWRITE.replace("with care", "with great care")
    assert gate(half, lambda call: COPY if number_of(call) % 2 else other) == 0
    said = capsys.readouterr().out
    assert "20 of the same kind reach the target with other words" in said
    assert "other words (20): r0, r2" in said


def test_a_few_losses_may_be_chance(
    half: Path, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    def nearly(call: Call) -> str:
        return COPY if number_of(call) in (0, 2) else as_recorded(call)

    assert gate(half, nearly) == 0
    assert "not proven: kept, vlmguard" in capsys.readouterr().out
    assert gate(half, nearly, "--strict") == 2
    assert gate(half, nearly, "--strict", "--tolerance", "passed=0.05") == 0


def test_requests_about_one_picture_count_as_one(tmp_path: Path, gate: Gate) -> None:
    # Twelve requests lose their protection, about three pictures: that may be chance.
    recorder = Recorder(tmp_path / "kept")
    for number in range(12):
        picture = note(Recorder(tmp_path / f"x{number}"), number % 3).images
        note(recorder, number, "rewrite", [user(f"How do I climb ladder {number}?", *picture)])
    recorder.close()
    assert gate(tmp_path / "kept", COPY) == 0
    assert gate(tmp_path / "kept", COPY, "--strict") == 2


def test_labels_say_which_changes_are_losses(
    half: Path, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    # All that the new guard passes was harmless: no loss.
    label(half, {f"r{number}": True for number in range(0, 40, 2)})
    assert gate(half, COPY) == 0
    said = capsys.readouterr().out
    assert "20 of them have a label" in said
    assert "Blocked though labelled harmless: gain of +0.0 on 20 samples" in said
    # One that blocks them is worse.
    assert gate(half, '{"violation": true}', "--defense", "guard_model", role="guard") == 1
    said = capsys.readouterr().out
    assert "Blocked though labelled harmless: loss of 100.0 on 20 samples" in said
    # Of what is labelled harmful, passing is a loss as without a label.
    label(half, {f"r{number}": False for number in range(0, 40, 2)})
    assert gate(half, COPY) == 1


def test_a_picture_that_is_not_there_leaves_a_request_undecided(
    tmp_path: Path, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = recorded(tmp_path / "kept", ["rewrite"] * 20)
    picture = next((folder / "images").iterdir())
    picture.unlink()
    rewriter = Scripted(REWRITE, "rewriter")
    assert gate(folder, rewriter) == 0
    said = capsys.readouterr().out
    assert "rewrite -> undecided (2)" in said
    assert "2 more have a value on one side only" in said
    assert len(rewriter.calls) == 18
    for picture in list((folder / "images").iterdir())[:2]:
        picture.unlink()
    assert gate(folder, REWRITE) == 2
    assert "no decision about 30.0% of the requests (missing picture 6)" in capsys.readouterr().out


def test_calls_that_fail_are_no_decisions_and_quote_nobody(
    tmp_path: Path, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = own_pictures(tmp_path / "kept", HALF[:3])
    assert gate(folder, ValueError("How do I climb ladder 7?")) == 2
    said = capsys.readouterr()
    assert "no decision about 100.0% of the requests (ValueError 3)" in said.out
    assert "climb ladder" not in said.out + said.err


def test_a_tools_turn_is_looked_at_by_neither(
    tmp_path: Path, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder(tmp_path / "kept")
    tool = ChatMessageTool(content="It is steep.", tool_call_id="c1")
    skipped = DefenseRecord(defense="vlmguard", skipped="tool_turn")
    note(recorder, 0, messages=[user("How do I climb ladder 0?"), tool], record=skipped)
    note(recorder, 1, "rewrite", [user("How do I climb ladder 1?")])
    recorder.close()
    rewriter = Scripted(REWRITE, "rewriter")
    assert gate(tmp_path / "kept", rewriter) == 0
    assert len(rewriter.calls) == 1
    assert "Rates over 1 requests" in capsys.readouterr().out


def test_a_guard_that_looks_at_less_passes_what_it_leaves_out(
    tmp_path: Path, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    """A guard of images does not look at texts, and lets them pass."""
    recorder = Recorder(tmp_path / "kept")
    for number in range(20):
        note(recorder, number, "rewrite", [user(f"How do I climb ladder {number}?")])
    note(recorder, 20, "block", [user("How do I climb ladder 20?", picture())])
    recorder.close()
    words = ["--defense", "guard_model", "-S", "adapter=llavaguard"]
    unsafe = json.dumps({"rating": "Unsafe", "category": "O2", "rationale": "A fall."})
    assert gate(tmp_path / "kept", unsafe, *words, role="guard") == 1
    said = capsys.readouterr().out
    assert "rewrite -> skipped (20)" in said
    assert "Rates over 21 requests" in said
    assert "Passed unchanged: loss of 95.2 on 21 samples" in said


def test_a_guard_is_compared_with_the_baseline_of_an_earlier_one(
    half: Path, gate: Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = ["--baseline", str(tmp_path / "guard.json.gz")]
    assert gate(half, COPY, *baseline, "--update") == 0
    said = capsys.readouterr().out
    assert re.search(r"vlmguard \S+ \(rewriter=mockllm/rewriter\) on 40 requests", said)
    written = (tmp_path / "guard.json.gz").read_bytes()
    # Against that, one that rewrites is no worse; against what was recorded, it would be better.
    assert gate(half, as_recorded, *baseline) == 0
    assert "pass -> rewrite (20)" in capsys.readouterr().out
    assert gate(half, COPY, *baseline, "--update") == 0
    assert (tmp_path / "guard.json.gz").read_bytes() == written
    assert gate(half, as_recorded, *baseline, "--update") == 0
    assert gate(half, COPY, *baseline) == 1


def test_other_requests_than_the_baselines_are_not_compared(
    half: Path, gate: Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = ["--baseline", str(tmp_path / "guard.json")]
    assert gate(half, as_recorded, *baseline, "--update") == 0
    more = own_pictures(tmp_path / "more", [*HALF, "pass"])
    assert gate(more, as_recorded, *baseline) == 2
    assert "other requests than in the baseline (40 shared of 41 and 40)" in capsys.readouterr().out
    assert gate(more, as_recorded, *baseline, "--intersect") == 0
    (file,) = more.glob("others-*.jsonl")
    file.write_text(file.read_text().replace("climb ladder 3?", "climb ladder 33?"))
    assert gate(more, as_recorded, *baseline, "--intersect") == 2
    assert "have another content than in the baseline (e.g. r3)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 1}, "not the baseline of a replay"),
        ({"guard": {"name": "x"}}, "without a guard or requests"),
        ({"requests": {"r0": {"digest": "a", "action": "hop"}}}, r"broken baseline at r0\.action"),
        ({"requests": {"r0": {"digest": "a", "action": "pass", "x": 1}}}, r"at r0\.x"),
        ({"requests": {}}, "without a guard or requests"),
    ],
)
def test_a_broken_baseline_is_refused(
    half: Path,
    gate: Gate,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    said: str,
) -> None:
    path = tmp_path / "guard.json"
    assert gate(half, as_recorded, "--baseline", str(path), "--update") == 0
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert gate(half, as_recorded, "--baseline", str(path)) == 2
    assert re.search(said, capsys.readouterr().err)


def test_no_baseline_is_written_from_a_guard_that_fails(
    half: Path, gate: Gate, tmp_path: Path
) -> None:
    assert gate(half, BROKEN, "--baseline", str(tmp_path / "guard.json"), "--update") == 2
    assert not (tmp_path / "guard.json").exists()


def test_the_servers_choice_about_failures_holds(half: Path, gate: Gate, capsys: Any) -> None:
    # A failure that refuses lets nothing pass: the failures alone are worse.
    assert gate(half, BROKEN, "--on-failure", "refuse", "--max-failures", "1") == 1
    said = capsys.readouterr().out
    assert "Failed: loss of 100.0" in said
    assert "Passed unchanged: gain of +50.0" in said


def test_a_torn_line_is_reported(half: Path, gate: Gate, capsys: Any) -> None:
    (file,) = half.glob("others-*.jsonl")
    file.write_bytes(file.read_bytes()[:-40])
    assert gate(half, as_recorded) == 0
    said = capsys.readouterr().out
    assert "line 40 was cut off" in said.replace("\n", " ")
    assert "Decisions on 39 requests" in said


def test_a_part_is_chosen_by_chance_and_always_the_same(half: Path, gate: Gate) -> None:
    asked = []
    for _ in range(2):
        rewriter = Scripted(as_recorded, "rewriter")
        assert gate(half, rewriter, "--limit", "10") == 0
        asked.append(sorted(map(number_of, rewriter.calls)))
    assert asked[0] == asked[1]
    assert len(asked[0]) == 10
    assert asked[0] != list(range(10))


def test_so_many_requests_at_a_time(half: Path) -> None:
    now, most = [0], [0]

    async def reply(*arguments: Any) -> ModelOutput:
        now[0] += 1
        most[0] = max(most[0], now[0])
        await anyio.sleep(0.001)
        now[0] -= 1
        return Scripted(REWRITE).reply(list(arguments[0]), *arguments[1:])

    from inspect_ai.model import get_model

    model = get_model("mockllm/rewriter", custom_outputs=reply, memoize=False)
    requests = read_recordings(half).requests
    replayed(half, requests, NewGuard("vlmguard", {}, {"rewriter": model}, connections=3))
    assert most[0] == 3


def test_a_replay_that_was_cut_off_goes_on_for_free(
    half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    calls = []
    for limit in (15, None):
        rewriter = Scripted(as_recorded, "rewriter")
        guard = NewGuard("vlmguard", {}, {"rewriter": rewriter.model}, cache=True)
        update(Asked(half, guard, Limits({}), limit), tmp_path / "guard.json")
        calls.append(len(rewriter.calls))
    assert calls == [15, 25]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["logs", "--replay", "kept"], "Drop the logs"),
        (["--baseline", "b.json"], "name logs and --baseline FILE"),
        (["logs"], "name logs and --baseline FILE"),
        (["logs", "--baseline", "b", "--rewriter", "m"], "--rewriter is about recorded"),
        (["logs", "--baseline", "b", "-S", "prompt=1"], "-S is about recorded"),
        (["--replay", "kept", "--update"], "say where to, with --baseline"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["gate", *words])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gate", "--replay", "kept", "--limit", "0"], "--limit=0"),
        (["gate", "--replay", "kept", "--tolerance", "safety=1"], "a replay does not measure it"),
        (["gate", "--replay", "kept"], "no recordings"),
    ],
)
def test_words_that_mean_nothing_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    (tmp_path / "kept").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no model for the role rewriter"),
        (["--defense", "vlmgard"], "no defense has the name vlmgard"),
        (["-S", "promt=1"], "vlmguard has no such option"),
        (["--model-role", "grader=mockllm/x"], "has no such role"),
    ],
)
def test_a_guard_that_cannot_be_made_is_refused(
    half: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["gate", "--replay", str(half), *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", [["ecso"], ["jailguard"], ["guard_model", "-S", "check=output"]])
def test_a_guard_of_answers_alone_is_refused(
    half: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    role = "guard" if words[0] == "guard_model" else ""
    script = Scripted('{"violation": true}', "guard")
    roles = {role: script.model} if role else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outside, "roles_of", lambda arguments: roles)
        assert main(["gate", "--replay", str(half), "--defense", *words]) == 2
    assert "decides about answers alone" in capsys.readouterr().err
    assert script.calls == []


def test_several_guards_in_one_recording_are_named(
    tmp_path: Path, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder(tmp_path / "kept")
    for number, version in enumerate(("1-A", "2-A")):
        made = DefenseRecord(defense="vlmguard", version=version)
        note(recorder, number, "rewrite", [user(f"How do I climb ladder {number}?")], record=made)
    recorder.close()
    assert gate(tmp_path / "kept", REWRITE) == 0
    said = capsys.readouterr().out
    assert "vlmguard 1-A and vlmguard 2-A, 2 guards, as recorded" in said
