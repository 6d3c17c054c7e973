"""The process that runs cells on a node, here in the process of the tests."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import get_model

from vlmguard.guard.roles import LocalModel
from vlmguard.results.run.cluster.held import Held
from vlmguard.results.run.cluster.node import (
    Runner,
    Start,
    differing,
    settings_here,
    versions_here,
)
from vlmguard.results.run.config import ModelChoice


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """A runner changes its process."""
    folder, before = Path.cwd(), dict(os.environ)
    interrupt = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, interrupt)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(before)


def runner(stopping: threading.Event, work: Any, **start: Any) -> Runner:
    made = Runner(Start(versions_here(), start.get("settings", {}), "/nowhere"), stopping.wait)
    made._run = work  # type: ignore[method-assign]
    return made


def test_a_stop_ends_the_running_cell_at_once_and_all_further_ones() -> None:
    stopping = threading.Event()

    def work(_: bytes) -> Any:
        threading.Timer(0.1, stopping.set).start()
        time.sleep(30)

    made = runner(stopping, work)
    began = time.monotonic()
    assert made.run(b"").state == "stopped"
    assert time.monotonic() - began < 5
    assert made.run(b"").state == "stopped"


def test_a_stop_while_a_cell_begins_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping = threading.Event()
    made = runner(stopping, lambda _: time.sleep(30))
    set_handler = signal.signal

    def slow(number: int, handler: Any) -> Any:
        before = set_handler(number, handler)
        if handler is signal.default_int_handler and not stopping.is_set():
            stopping.set()
            time.sleep(0.3)  # the thread that waits for it runs meanwhile
        return before

    monkeypatch.setattr(signal, "signal", slow)
    began = time.monotonic()
    assert made.run(b"").state == "stopped"
    assert time.monotonic() - began < 5


def test_a_stop_between_cells_interrupts_nothing() -> None:
    stopping = threading.Event()
    made = runner(stopping, lambda _: ("finished", ""))
    assert made.run(b"").state == "finished"
    stopping.set()
    time.sleep(0.1)
    assert made.run(b"").state == "stopped"


def test_other_versions_are_refused_before_a_cell() -> None:
    wanted = {**versions_here(), "inspect_ai": "9.9"}
    with pytest.raises(RuntimeError, match=r"inspect_ai .* in the place of 9\.9"):
        Runner(Start(wanted, {}, "/"), threading.Event().wait)
    assert differing({"ray": "2"}, {"ray": "2", "vlmguard": "1"}) == [
        "vlmguard missing in the place of 1"
    ]


def test_settings_are_harmless_and_a_node_s_own_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("VLMGUARD_DATA", "/here")
    monkeypatch.setenv("HF_TOKEN", "secret")
    sent = settings_here()
    assert sent["VLMGUARD_DATA"] == "/here"
    assert "secret" not in sent.values()
    monkeypatch.setenv("VLMGUARD_DATA", "/there")
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    settings = {**sent, "TRANSFORMERS_OFFLINE": "1"}
    runner(threading.Event(), lambda _: ("finished", ""), settings=settings)
    assert os.environ["VLMGUARD_DATA"] == "/there"
    assert os.environ["TRANSFORMERS_OFFLINE"] == "1"


def test_weights_stay_between_cells_and_go_with_their_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[str] = []

    class Local(LocalModel):
        def __init__(self, name: str) -> None:
            self.name = name

        async def open(self) -> None:
            events.append(f"open {self.name}")

        async def check_size(self, width: int, height: int) -> None: ...

        async def aclose(self) -> None:
            events.append(f"close {self.name}")

    def made(choice: ModelChoice) -> Any:
        model = get_model("mockllm/model", memoize=False)
        model.api = Local(f"{choice.model} {choice.model_args}")  # type: ignore[assignment]
        return model

    monkeypatch.setattr("vlmguard.results.run.cluster.held.make_target", made)
    target, rewriter = ModelChoice(model="hf-vlm/t"), ModelChoice(model="hf-vlm/r")
    tuned = ModelChoice(model="hf-vlm/t", model_args={"adapter": "x"})
    held = Held()
    held.hold((target, rewriter))
    held.hold((target, rewriter))
    assert events == ["open hf-vlm/t {}", "open hf-vlm/r {}"]
    held.hold((tuned, rewriter))
    assert events[2:] == ["close hf-vlm/t {}", "open hf-vlm/t {'adapter': 'x'}"]
