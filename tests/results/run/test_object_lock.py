"""The lock of a folder on S3: one run at a time; it is taken over from the dead alone."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moto.s3.responses import S3Response
from support.object_store import object_store, store

from vlmguard.guard.errors import UserError
from vlmguard.results.run import object_lock
from vlmguard.results.run.lock_object import LockObject
from vlmguard.results.run.locks import locked

FOLDER = "s3://logs/run"
OBJECT = "logs/run/.vlmguard.lock"
Put = Callable[[S3Response], Any]
Answer = tuple[int, Any, Any]


@pytest.fixture(autouse=True)
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(object_lock, "_LASTS", 2.0)
    monkeypatch.setattr(object_lock, "_RENEWED", 0.2)
    monkeypatch.setattr(object_lock, "_LOOKS", 0.1)
    with object_store(monkeypatch):
        yield


def put_by_another(lasts: float) -> None:
    """The lock as a run on another machine has written it, which does not renew it."""
    content = {"holder": "process 7 on elsewhere", "token": "other", "lasts": lasts, "number": 1}
    store().pipe(OBJECT, json.dumps(content).encode())


def cut(answer: Answer) -> Answer:
    """An answer whose body ends too early."""
    status, headers, body = answer
    return status, {**headers, "content-length": "500"}, [body[:10]]


def without_version(answer: Answer) -> Answer:
    """An answer as of a proxy that lets headers fall."""
    status, headers, body = answer
    return status, {name: each for name, each in headers.items() if name != "ETag"}, body


def assert_held() -> None:
    """Another run finds a holder that is alive."""
    with pytest.raises(UserError, match="another run is at work"), locked(FOLDER):
        pytest.fail("two runs in one folder")


def work_after(event: Callable[[], None]) -> None:
    event()
    time.sleep(30)


def test_a_living_run_keeps_others_out_and_says_who_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with locked(FOLDER):
        began = time.monotonic()
        with (
            pytest.raises(UserError, match=r"another run is at work in it \(process \d+ on .*ago"),
            locked(FOLDER),
        ):
            pytest.fail("two runs in one folder")
        assert time.monotonic() - began < 2  # one renewal is enough to see that it is alive
    with locked(FOLDER):
        pass
    assert "taken over" not in capsys.readouterr().err


def test_the_lock_of_a_killed_run_is_waited_for_and_taken_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    put_by_another(lasts=3)
    with locked(FOLDER):
        assert b"elsewhere" not in store().cat(OBJECT)
    said = capsys.readouterr().err
    assert "locked by process 7 on elsewhere. Waiting at most" in said
    assert "process 7 on elsewhere has not renewed its lock for" in said
    assert "its lock is taken over" in said


def test_an_error_and_ctrl_c_release_it(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), locked(FOLDER):
            raise error
    with locked(FOLDER):
        pass
    assert capsys.readouterr().err == ""


def test_a_run_whose_lock_was_taken_over_stops() -> None:
    began = time.monotonic()
    message = "lost its lock: process 7 on elsewhere has taken it over"
    with pytest.raises(UserError, match=message), locked(FOLDER):
        work_after(lambda: put_by_another(lasts=60))
    assert time.monotonic() - began < 10
    assert b"elsewhere" in store().cat(OBJECT)  # the new holder's lock stays


def test_a_run_that_cannot_renew_its_lock_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_lock, "_LASTS", 5.0)
    monkeypatch.setattr(object_lock, "_RENEWED", 0.5)
    monkeypatch.setattr(object_lock, "_PATIENCE", 1.0)
    began = 0.0

    def refuse() -> None:
        nonlocal began
        began = time.monotonic()
        monkeypatch.setattr(S3Response, "put_object", lambda _: (503, {}, ""))

    with pytest.raises(UserError, match=r"could not be renewed for \d s"), locked(FOLDER):
        work_after(refuse)
    # Before others may take it.
    assert time.monotonic() - began < 5


def test_a_removed_lock_is_written_again() -> None:
    with locked(FOLDER):
        store().rm(OBJECT)
        time.sleep(1)
        assert store().exists(OBJECT)


def test_a_write_whose_reply_is_lost_is_known_as_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    put: Put = S3Response.put_object
    lost = []

    def losing(self: S3Response) -> Any:
        answer = put(self)
        if len(lost) % 2 == 0 and answer[0] == 200:
            lost.append(True)
            return 500, {}, ""  # the client tries again, and its own first write refuses it
        lost.append(False)
        return answer

    monkeypatch.setattr(S3Response, "put_object", losing)
    with locked(FOLDER):
        time.sleep(2)
    assert sum(lost) >= 2


@pytest.mark.parametrize(
    ("method", "broken"), [("get_object", cut), ("put_object", without_version)]
)
def test_a_broken_answer_is_said_before_a_run(
    method: str, broken: Callable[[Answer], Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: Put = getattr(S3Response, method)
    if method == "get_object":
        put_by_another(lasts=0)
    monkeypatch.setattr(S3Response, method, lambda self: broken(whole(self)))
    with pytest.raises(UserError, match=r"cannot be locked \(.*broken"), locked(FOLDER):
        pytest.fail("locked nothing")


@pytest.mark.parametrize(
    ("method", "broken"), [("get_object", cut), ("put_object", without_version)]
)
def test_a_broken_answer_is_a_renewal_that_failed(
    method: str, broken: Callable[[Answer], Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: Put = getattr(S3Response, method)
    monkeypatch.setattr(object_lock, "_LASTS", 5.0)
    monkeypatch.setattr(object_lock, "_PATIENCE", 1.0)
    seen = []

    def once(self: S3Response) -> Any:
        answer = whole(self)
        if seen or answer[0] != 200:
            return answer
        seen.append(True)
        return broken(answer)

    with locked(FOLDER):
        # Another version of our lock: who is refused looks at it.
        store().pipe(OBJECT, store().cat(OBJECT) + b" ")
        monkeypatch.setattr(S3Response, method, once)
        time.sleep(1)
        assert seen
        assert_held()


def test_no_error_ends_the_renewals(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(object_lock, "_LASTS", 5.0)
    monkeypatch.setattr(object_lock, "_PATIENCE", 1.0)
    with locked(FOLDER):
        with monkeypatch.context() as during:

            def fail(*_: object) -> None:
                raise RuntimeError("nobody has thought of it")

            during.setattr(LockObject, "write", fail)
            time.sleep(0.5)
        assert_held()
    assert f"{FOLDER}: its lock was not renewed" in caplog.text
    assert "nobody has thought of it" in caplog.text


@pytest.mark.parametrize("ignored", ["If-None-Match", "If-Match"])
def test_a_store_that_ignores_conditions_is_said_to_be_unlocked(
    ignored: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put: Put = S3Response.put_object

    def ignoring(self: S3Response) -> Any:
        self.headers = {
            name: value for name, value in self.headers.items() if name.title() != ignored
        }
        return put(self)

    monkeypatch.setattr(S3Response, "put_object", ignoring)
    with locked(FOLDER):
        assert not store().exists(OBJECT)
    assert f"{FOLDER} cannot be locked" in capsys.readouterr().err


def test_a_missing_bucket_is_said() -> None:
    message = r"s3://nobody/run: cannot be locked .*bucket"
    with pytest.raises(UserError, match=message), locked("s3://nobody/run"):
        pytest.fail("locked nothing")


def test_a_store_of_another_kind_is_said_to_be_unlocked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with locked("gs://bucket/run"):
        pass
    assert "gs://bucket/run cannot be locked" in capsys.readouterr().err


def test_another_thing_in_its_place_is_not_overwritten() -> None:
    store().pipe(OBJECT, b"notes")
    with pytest.raises(UserError, match="is no lock of ours"), locked(FOLDER):
        pytest.fail("overwritten")
