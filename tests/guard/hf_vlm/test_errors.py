"""Errors on their way from the engine process to Inspect's."""

import pickle
import types

import pytest

from vlmguard.guard.errors import MissingData, UserError
from vlmguard.guard.hf_vlm.errors import portable
from vlmguard.guard.images.prepare import ImageError


class _Foreign:
    """Of a module that the other process does not have."""

    __module__ = "transformers_modules.custom"


def _own_kind(base):
    """As a library or the code of a checkpoint may derive one."""
    return types.new_class("Theirs", (base,), {}, lambda names: names.update(__module__="theirs"))


def _with_attribute():
    error = ValueError("wrong")
    error.what = _Foreign()
    return error


@pytest.mark.parametrize(
    "error",
    [
        _own_kind(UnicodeDecodeError)("utf-8", b"\xff", 0, 1, "invalid start byte"),
        _own_kind(ExceptionGroup)("several", [ValueError("one")]),
        ExceptionGroup("several", [_own_kind(ValueError)("one")]),
        _own_kind(OSError)(2, "not there", "file"),
        _own_kind(BaseException)("a panic"),
        ValueError(_Foreign()),
        _with_attribute(),
        RuntimeError(lambda: None),
        KeyError("name"),
        SystemExit(3),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_any_error_arrives_with_its_text(error):
    sent = pickle.dumps(portable(error))
    arrived = pickle.loads(sent)
    assert type(arrived).__module__ == "builtins"
    assert isinstance(arrived, Exception)
    assert str(error) in str(arrived)
    assert not hasattr(arrived, "what")
    assert "In another process of hf-vlm/" in arrived.__notes__[0]


@pytest.mark.parametrize(
    "error",
    [UserError("see [0]"), MissingData("not here", on_hub=True), ImageError("a.png: broken")],
    ids=lambda error: type(error).__name__,
)
def test_a_message_to_the_user_stays_as_it_is(error):
    arrived = pickle.loads(pickle.dumps(portable(error)))
    assert (type(arrived), str(arrived)) == (type(error), str(error))
    assert arrived.args == error.args
    assert not hasattr(arrived, "__notes__")


def test_an_error_of_the_system_keeps_its_number():
    arrived = portable(FileNotFoundError(2, "No such file", "weights"))
    assert (type(arrived), arrived.errno) == (FileNotFoundError, 2)
    assert str(arrived) == "[Errno 2] No such file: 'weights'"
