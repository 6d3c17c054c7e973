"""Calls of the second stage are paid for once, and some may fail."""

import logging
from pathlib import Path

import pytest

from vlmguard.guard.errors import UserError
from vlmguard.training.finetune.calls import WINDOW, Calls, Said


class Endpoint:
    """A model that replies with the number of the call, or fails."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    async def __call__(self) -> Said:
        self.asked += 1
        if self.error:
            raise self.error
        return Said("answer", str(self.asked))


def about(rewrite: str, **rest: str) -> dict[str, str]:
    return {"row": "1", "rewrite": rewrite, **rest}


async def test_what_was_said_is_asked_once_whichever_process_asked(tmp_path: Path) -> None:
    endpoint = Endpoint()
    calls = Calls(tmp_path / "said", 0.1, process=1)
    for _ in range(2):
        assert await calls.said("target", about("a"), endpoint) == Said("answer", "1")
    assert await calls.said("target", about("a", row="2"), endpoint) == Said("answer", "2")
    assert await calls.said("grader", about("a"), endpoint) == Said("answer", "3")
    assert await calls.said("target", about("a", model="m"), endpoint) == Said("answer", "4")
    again = Calls(tmp_path / "said", 0.1, process=0)
    assert await again.said("target", about("a"), endpoint) == Said("answer", "1")
    assert await again.said("target", about("b"), endpoint) == Said("answer", "5")
    assert endpoint.asked == 5


async def test_lines_that_cannot_be_read_are_told_and_asked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = Endpoint()
    await Calls(tmp_path, 0.1).said("target", about("a"), endpoint)
    file = tmp_path / "process-0.jsonl"
    file.write_bytes(file.read_bytes()[:-5])  # killed while it was written
    for wanted in ("2", "2"):
        calls = Calls(tmp_path, 0.1)
        assert await calls.said("target", about("a"), endpoint) == Said("answer", wanted)
    assert f"{file}: 1 lines cannot be read" in caplog.text


async def test_a_share_of_the_last_calls_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    endpoint, calls = Endpoint(), Calls(None, 0.1)
    endpoint.error = ConnectionError("gone, with api_key=sk-abcdef123456")
    with caplog.at_level(logging.WARNING):
        assert await calls.said("target", about("a"), endpoint) is None
    assert "target: ConnectionError: gone" in caplog.text
    assert "sk-abcdef123456" not in caplog.text
    endpoint.error = None
    assert await calls.said("target", about("a"), endpoint) == Said("answer", "2")  # not kept
    endpoint.error = ConnectionError("gone")
    for number in range(WINDOW // 10 - 1):
        await calls.said("target", about(str(number)), endpoint)
    assert calls.failed == WINDOW // 10
    assert calls.trouble is None
    await calls.said("target", about("one more"), endpoint)
    assert calls.trouble is not None
    assert "21 of the last 22 calls failed, and failed_calls=0.1 allows 20 of 200" in calls.trouble
    asked = endpoint.asked
    assert await calls.said("target", about("yet another"), endpoint) is None
    assert endpoint.asked == asked


async def test_a_model_that_cannot_be_asked_at_all_ends_the_run() -> None:
    endpoint, calls = Endpoint(), Calls(None, 1)
    endpoint.error = UserError("Checkpoint m cannot be loaded.")
    with pytest.raises(UserError, match="cannot be loaded"):
        await calls.said("target", about("a"), endpoint)


async def test_a_reply_that_cannot_be_written_down_is_told(tmp_path: Path) -> None:
    (tmp_path / "said").touch()
    with pytest.raises(UserError, match=r"process-0\.jsonl cannot be written to"):
        await Calls(tmp_path / "said", 0.1).said("target", about("a"), Endpoint())
