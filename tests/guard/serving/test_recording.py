"""`--record`: what is kept of the traffic, and what never is."""

import base64
import json
import multiprocessing
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ContentDocument,
    ContentText,
)
from inspect_ai.tool import ToolCall
from support.recordings import decided, note, recorded
from support.scripted import picture, user

from vlmguard.guard.defense import Conversation
from vlmguard.guard.errors import MissingFile, UserError
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.recordings import RecordedRequest, read_recordings
from vlmguard.guard.serving import recording
from vlmguard.guard.serving.recording import Recorder, declined
from vlmguard.training.synthesis.sources import read_sources

RED = picture("red")


def bytes_of(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])


def lines_of(folder: Path, kind: str = "requests") -> list[dict[str, Any]]:
    texts = [file.read_text() for file in sorted(folder.glob(f"{kind}-*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def only(folder: Path) -> RecordedRequest:
    (request,) = read_recordings(folder).requests
    return request


def test_a_request_about_a_picture_is_a_row_of_the_synthesis(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "kept")
    note(recorder, 1, "rewrite", [user("How do I climb this?", RED)], answer="Just climb.")
    recorder.close()
    (line,) = lines_of(tmp_path / "kept")
    assert (tmp_path / "kept" / line["image"]).read_bytes() == bytes_of(RED)
    assert (line["id"], line["prompt"]) == ("r1", "How do I climb this?")
    assert (line["answer"], line["shadow"]) == ("Just climb.", True)
    assert (line["defense"], line["version"], line["template"]) == ("vlmguard", "2-A", "abc")
    decision = line["decision"]
    assert decision["request"] == "How do I do this with care?"
    assert (decision["action"], decision["reason"]) == ("rewrite", "rewritten")
    assert "benign" not in line
    assert "safe" not in line
    # Both as a folder, and as any file of rows.
    file = next((tmp_path / "kept").glob("requests-*.jsonl"))
    for source in (f"recorded:{tmp_path / 'kept'}", f"jsonl:{file}"):
        (row,) = read_sources(source)
        assert row.id.endswith("/r1")
        assert (row.prompt, row.safe, row.unsafe, row.benign) == (line["prompt"], None, None, False)
        assert row.image == tmp_path / "kept" / line["image"]
    assert recorder.counts == {"recorded": 1}


def test_a_picture_is_written_once_as_it_came(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "kept")
    note(recorder, 1, messages=[user("One?", RED)])
    note(recorder, 2, messages=[user("Two?", RED)])
    recorder.close()
    (file,) = (tmp_path / "kept" / "images").iterdir()
    assert file.suffix == ".png"
    assert {line["image"] for line in lines_of(tmp_path / "kept")} == {f"images/{file.name}"}


@pytest.mark.parametrize(
    "messages",
    [
        [user("How?")],
        [user("Which?", RED, picture("blue"))],
        [user("Hello?"), ChatMessageAssistant(content="Yes?"), user("And this?", RED)],
        [user("", RED)],
        [user("Whose?", "https://example.org/a.png?token=abc123")],
        [user("Whose?", "data:image/png;base64,???")],
        [user("Whose?", "/etc/passwd")],
    ],
)
def test_other_requests_are_kept_apart_for_a_replay(
    tmp_path: Path, messages: list[ChatMessage]
) -> None:
    recorder = Recorder(tmp_path / "kept")
    note(recorder, 1, messages=messages)
    recorder.close()
    assert not lines_of(tmp_path / "kept")
    (line,) = lines_of(tmp_path / "kept", "others")
    assert "image" not in line
    assert "abc123" not in json.dumps(line)
    assert read_sources(f"recorded:{tmp_path / 'kept'}") == []


def test_the_conversation_comes_back_as_the_guard_got_it(tmp_path: Path) -> None:
    call = ToolCall(id="c1", function="look", arguments={"where": "up"})
    messages: list[ChatMessage] = [
        ChatMessageSystem(content="Be brief."),
        user("What is this?", RED, picture("blue")),
        ChatMessageAssistant(content="A rope.", tool_calls=[call]),
        ChatMessageTool(content="A red one.", tool_call_id="c1"),
        user("And now?", picture("green")),
        ChatMessageAssistant(content="Well,"),
    ]
    recorder = Recorder(tmp_path / "kept")
    before = note(recorder, 1, "rewrite", messages)
    recorder.close()
    after, pictures = only(tmp_path / "kept").conversation(tmp_path / "kept")
    assert [each.role for each in after.messages] == [each.role for each in messages]
    assert (after.text, after.seen, after.prefill) == (before.text, before.seen, "Well,")
    assert after.messages[2].tool_calls == [call]  # type: ignore[union-attr]
    assert set(pictures) == {RED, picture("blue"), picture("green")}


def test_turns_that_a_server_keeps_are_named(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "kept")
    asked = Conversation([user("And this?", RED)], "r1", elsewhere=("previous_response_id",))
    recorder.record("r1", asked, decided(asked, "pass"), DefenseRecord(defense="vlmguard"))
    recorder.close()
    assert not lines_of(tmp_path / "kept")
    again, _ = only(tmp_path / "kept").conversation(tmp_path / "kept")
    assert again.elsewhere == ("previous_response_id",)


def test_a_picture_that_was_not_kept_cannot_be_shown_again(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "kept")
    note(recorder, 1, messages=[user("Whose?", "https://example.org/a.png")])
    recorder.close()
    with pytest.raises(MissingFile, match="r1: one of its pictures was not recorded"):
        only(tmp_path / "kept").conversation(tmp_path / "kept")


def test_keys_documents_and_half_characters_are_not_kept(tmp_path: Path) -> None:
    key = "sk-proj-0123456789ABCDEF"
    call = ToolCall(id="c1", function="login", arguments={"password": "hunter22", "user": "ann"})
    secret = f"My key is {key}"
    document = ContentDocument(document="data:application/pdf;base64,SECRETPDF", filename="a.pdf")
    messages: list[ChatMessage] = [
        ChatMessageAssistant(content="", tool_calls=[call]),
        user(secret, RED).model_copy(
            update={"content": [ContentText(text=secret), document], "metadata": {"who": "ann@x"}}
        ),
    ]
    recorder = Recorder(tmp_path / "kept")
    note(recorder, 1, "rewrite", messages, text=f"Use {key} \ud800 now", answer=f"It is {key}.")
    recorder.close()
    text = next((tmp_path / "kept").glob("others-*.jsonl")).read_text()
    for hidden in (key, "hunter22", "SECRETPDF", "ann@x"):
        assert hidden not in text
    kept = only(tmp_path / "kept")
    assert kept.decision.request == "Use [secret] \ufffd now"
    assert kept.conversation(tmp_path / "kept")[0].unread == ["document"]
    assert recorder.counts == {"recorded": 1}


def test_nobody_but_the_owner_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = recorded(tmp_path / "kept", ["pass", "block"])
    finally:
        os.umask(before)
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(UserError, match="chmod 700"):
        Recorder(tmp_path)


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written to \(Not a directory\)"):
        Recorder(tmp_path / "file" / "kept")


def test_what_a_tool_turn_skips_is_no_row(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "kept")
    skipping = DefenseRecord(defense="vlmguard", skipped="tool_turn")
    note(recorder, 1, record=skipping)
    recorder.close()
    assert only(tmp_path / "kept").decision.skipped == "tool_turn"
    assert not lines_of(tmp_path / "kept")


def test_more_than_may_wait_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "WAITING", 2_600)
    monkeypatch.setattr(Recorder, "_write_all", lambda self: None)
    recorder = Recorder(tmp_path / "kept")
    for number in range(5):
        note(recorder, number)
    assert recorder.counts == {"dropped": 3}
    # What was taken is written as soon as the disk keeps up.
    monkeypatch.undo()
    recorder._queue.put(None)
    recorder._write_all()
    assert recorder.counts == {"dropped": 3, "recorded": 2}
    assert len(lines_of(tmp_path / "kept")) == 2


def test_what_cannot_be_written_before_the_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recording, "PATIENCE", 0.05)
    go_on = threading.Event()
    monkeypatch.setattr(Recorder, "_write", lambda self, waiting: go_on.wait() and "recorded")
    recorder = Recorder(tmp_path / "kept")
    for number in range(3):
        note(recorder, number)
    recorder.close()
    assert '"recording": "stopped before all was written"' in caplog.text
    go_on.set()


def test_a_disk_that_is_nearly_full_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "LEAST_FREE", 10**18)
    recorder = Recorder(tmp_path / "kept")
    note(recorder, 1)
    recorder.close()
    assert recorder.counts == {"dropped": 1}
    assert [*(tmp_path / "kept").rglob("*.*")] == []


def test_a_line_cut_off_by_a_crash_is_reported_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = recorded(tmp_path / "kept", ["pass", "block"])
    (file,) = folder.glob("requests-*.jsonl")
    file.write_bytes(file.read_bytes()[:-40])
    found = read_recordings(folder)
    assert [each.id for each in found.requests] == ["r0"]
    (torn,) = found.torn
    assert torn.startswith(f"{file}: line 2 was cut off after ")
    assert [row.id for row in read_sources(f"recorded:{folder}")] == ["recorded/r0"]
    assert torn in caplog.text


def test_after_a_write_that_failed_a_new_file_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, cut = os.write, [True]

    def write(descriptor: int, line: bytes) -> int:
        return whole(descriptor, line[:30] if cut and cut.pop() else line)

    monkeypatch.setattr(recording.os, "write", write)
    folder = recorded(tmp_path / "kept", ["pass", "block"])
    found = read_recordings(folder)
    assert [each.id for each in found.requests] == ["r1"]
    assert len(found.torn) == 1
    assert "only a part of a line could be written" in caplog.text
    assert "climb ladder" not in caplog.text


def test_a_line_that_is_wrong_inside_a_file_is_an_error(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "kept", ["pass"])
    (file,) = folder.glob("requests-*.jsonl")
    file.write_text('{"format": 1}\n' + file.read_text())
    with pytest.raises(UserError, match=r"line 1: field 'id'"):
        read_recordings(folder)


def test_a_request_that_occurs_twice_is_an_error(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "kept", ["pass"])
    (file,) = folder.glob("requests-*.jsonl")
    file.write_text(file.read_text() * 2)
    with pytest.raises(UserError, match="the request r0 occurs twice"):
        read_recordings(folder)


def test_an_empty_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no recordings"):
        read_recordings(tmp_path)


def test_large_files_are_followed_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "LARGEST", 10)
    folder = recorded(tmp_path / "kept", ["pass", "pass", "pass"])
    assert len([*folder.glob("requests-*.jsonl")]) == 3
    assert {each.id for each in read_recordings(folder).requests} == {"r0", "r1", "r2"}


def _worker(folder: Path, start: int) -> None:
    recorder = Recorder(folder)
    for number in range(start, start + 20):
        # All show one picture, which all workers want to write first.
        note(recorder, number, messages=[user(f"Question {number}?", RED)])
    recorder.close()


def test_several_workers_write_into_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_worker, args=(folder, 100 * each)) for each in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
        assert worker.exitcode == 0
    assert len([*folder.glob("requests-*.jsonl")]) == 3
    assert len(read_recordings(folder).requests) == 60
    (file,) = (folder / "images").iterdir()
    assert file.read_bytes() == bytes_of(RED)


def test_a_client_may_decline(tmp_path: Path) -> None:
    assert declined({"X-VLMGuard-No-Record": "0"})
    assert declined({}, ["content-type", "x-vlmguard-no-record"])
    assert not declined({"x-vlmguard-action": "pass"}, [])
    recorder = Recorder(tmp_path / "kept")
    recorder.decline()
    recorder.close()
    assert recorder.counts == {"declined": 1}
