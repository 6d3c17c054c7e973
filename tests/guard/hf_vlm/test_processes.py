"""Weights in a process of their own: the same answers and errors, and a clear one when it dies."""

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import anyio
import psutil
import pytest
from inspect_ai.model import ChatMessageUser, ContentImage, GenerateConfig, get_model

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.hosts import HOST
from vlmguard.guard.hf_vlm.launching import launcher
from vlmguard.guard.hf_vlm.processes import processes
from vlmguard.guard.images.prepare import ImageError

CONFIG = GenerateConfig(max_tokens=6)
LONG = GenerateConfig(max_tokens=900, logprobs=True)


@pytest.fixture(autouse=True)
def here():
    """As users have it, and not as other tests do."""
    assert HOST.apart


@pytest.fixture
def endless(llava, tmp_path):
    """A copy of the checkpoint whose answers end at a limit alone."""
    folder = tmp_path / "endless"
    folder.mkdir()
    for file in llava.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "generation_config.json").unlink()
    (folder / "generation_config.json").write_text('{"eos_token_id": 1000000}')
    return folder


def pid_of(model):
    """The process that has the weights of a model."""
    return model.api._replicas.vlms[0]._process.pid


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid):
    until = time.monotonic() + 60
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(pid)


def engines():
    """Numbers of the processes that the one with the imports has forked."""
    nursery = psutil.Process(launcher()._nursery.pid)
    return {each.pid for each in nursery.children()}


async def working(pid):
    """Wait until a process computes."""

    def ticks():
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11])

    before = ticks()
    while ticks() < before + 10:
        await anyio.sleep(0.02)


async def test_answers_are_those_of_weights_in_this_process(load, llava, adapter, ask, monkeypatch):
    configs = [
        CONFIG,
        GenerateConfig(max_tokens=6, temperature=1.0, seed=3, num_choices=2),
        GenerateConfig(max_tokens=3, logprobs=True, top_logprobs=2),
        GenerateConfig(
            max_tokens=4, extra_body={"contrast": {"alpha": 1.0, "without": "Mind the fire."}}
        ),
    ]
    messages = ask("What is it?", images=[1, 2], system="Mind the fire.", prefix="It is")
    found = []
    for apart in (True, False):
        monkeypatch.setattr(HOST, "apart", apart)
        for arguments in ({}, {"adapter": str(adapter)}):
            api = load(llava, **arguments).api
            for config in configs:
                output, call = await api.generate(messages, [], "auto", config)
                assert output.choices[0].message.id
                for choice in output.choices:
                    choice.message.id = None
                found.append((output.model_dump(), call.request, call.response))
            found.append(await api.tokenize("What is it?"))
    assert found[: len(found) // 2] == found[len(found) // 2 :]


async def test_errors_are_those_of_weights_in_this_process(load, llava, ask, monkeypatch):
    broken = [ChatMessageUser(content=[ContentImage(image="data:image/png;base64,AAAA")])]
    deep = GenerateConfig(extra_body={"contrast": {"alpha": 1.0, "without": "nowhere [0]"}})
    found = []
    for apart in (True, False):
        monkeypatch.setattr(HOST, "apart", apart)
        api = load(llava).api
        for messages, config in ((broken, CONFIG), (ask(), deep)):
            with pytest.raises((UserError, ImageError)) as caught:
                await api.generate(messages, [], "auto", config)
            found.append((type(caught.value), str(caught.value), caught.value.args))
        with pytest.raises(UserError) as caught:
            load(llava, max_pixels=10_000)
        found.append((type(caught.value), str(caught.value), caught.value.args))
    assert found[:3] == found[3:]
    assert found[0][0] is ImageError


async def test_users_share_a_process_which_ends_with_the_last(load, llava, adapter, ask):
    target, rewriter = load(llava), load(llava, adapter=str(adapter))
    pid = pid_of(target)
    assert pid_of(rewriter) == pid
    target.api.close()
    assert (await rewriter.generate(ask(), config=CONFIG)).completion
    rewriter.api.close()
    assert gone(pid)
    with pytest.raises(RuntimeError, match="was closed"):
        await rewriter.api.generate(ask(), [], "auto", CONFIG)


def test_a_model_that_nobody_holds_ends_its_process(load, llava):
    model = get_model(f"hf-vlm/{llava}", memoize=False, device="cpu", dtype="float16")
    model.api.load()
    pid = pid_of(model)
    del model
    gc.collect()
    assert gone(pid)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_one_event_loop_after_the_other(load, llava, ask, backend):
    model = load(llava)
    for _ in range(2):
        output, _ = anyio.run(model.api.generate, ask(), [], "auto", CONFIG, backend=backend)
        assert output.usage.output_tokens == 6


async def test_a_process_that_is_killed_is_an_error_of_its_requests(load, endless, ask):
    model = load(endless)
    pid = pid_of(model)
    waiting = [
        asyncio.create_task(model.api.generate(ask(images=[i]), [], "auto", LONG)) for i in range(3)
    ]
    await working(pid)
    os.kill(pid, signal.SIGKILL)
    for each in waiting:
        with pytest.raises(RuntimeError, match=r"endless was ended by signal SIGKILL.*memory"):
            await each
    with pytest.raises(RuntimeError, match="SIGKILL"):
        await model.api.generate(ask(), [], "auto", CONFIG)
    assert not any(process.usable for process in processes.values() if process.pid == pid)
    await model.api.open()
    assert pid_of(model) != pid
    output, _ = await model.api.generate(ask(), [], "auto", CONFIG)
    assert output.usage.output_tokens == 6


@pytest.mark.parametrize("ready", [False, True], ids=["its processor", "its weights"])
async def test_a_process_that_is_killed_while_it_loads_is_an_error(
    load, llava, endless, ask, ready
):
    """It is said to all who wait, and the next one to open the model loads it."""
    load(llava)  # so that the imports are done
    known = engines()
    model = get_model(f"hf-vlm/{endless}", memoize=False, device="cpu")
    waiting = asyncio.create_task(model.api.generate(ask(), [], "auto", CONFIG))
    opening = asyncio.create_task(model.api.open())
    with anyio.fail_after(60):
        while not (new := engines() - known):
            await anyio.sleep(0.001)
        (pid,) = new
        while ready and pid not in [each.pid for each in processes.values()]:
            await anyio.sleep(0.001)
    os.kill(pid, signal.SIGSTOP)
    await anyio.sleep(0.1)
    assert not opening.done()
    os.kill(pid, signal.SIGKILL)
    said = "The process of the model .*endless was ended by" if ready else "SIGKILL.* at its start"
    for each in (waiting, opening):
        with pytest.raises(RuntimeError, match=said):
            await asyncio.wait_for(each, 60)
    await model.api.open()
    output, _ = await model.api.generate(ask(), [], "auto", CONFIG)
    assert output.usage.output_tokens == 6
    model.api.close()


async def test_a_request_to_a_stopped_process_can_be_cancelled(load, endless, ask):
    """Nothing waits for a process that does not go on, not even this one's end."""
    model = load(endless)
    os.kill(pid_of(model), signal.SIGSTOP)
    with anyio.move_on_after(0.5) as waiting:
        await model.api.generate(ask(size=(900, 900)), [], "auto", CONFIG)
    assert waiting.cancelled_caught
    os.kill(pid_of(model), signal.SIGCONT)
    output, _ = await model.api.generate(ask(), [], "auto", CONFIG)
    assert output.usage.output_tokens == 6


async def test_a_cancelled_request_frees_its_row(load, endless, ask):
    model = load(endless, max_batch_size=1)
    with anyio.move_on_after(0.5):
        await model.api.generate(ask(), [], "auto", GenerateConfig(max_tokens=100_000))
    with anyio.fail_after(60):
        output, _ = await model.api.generate(ask(), [], "auto", CONFIG)
    assert output.usage.output_tokens == 6


async def test_an_image_is_handed_over_once(load, llava, ask, monkeypatch):
    sizes = []

    def counted(sock, data):
        sizes.append(len(data))
        return send(sock, data)

    from vlmguard.guard.hf_vlm import wire

    send = wire.send
    monkeypatch.setattr(wire, "send", counted)
    monkeypatch.setattr(wire, "KEPT_BYTES", 30_000)
    model = load(llava)
    for images in ([1], [1], [2], [3, 1], [1, 1]):
        sizes.clear()
        request = ask(images=images, size=(60, 60))
        output, _ = await model.api.generate(request, [], "auto", CONFIG)
        alone = await model.api.generate(request, [], "auto", CONFIG)
        assert alone[0].completion == output.completion
        assert sizes[-1] < 3000
    # A limit below a single image: each is sent with its request, and answers stay the same.
    monkeypatch.setattr(wire, "KEPT_BYTES", 100)
    again, _ = await model.api.generate(request, [], "auto", CONFIG)
    assert again.completion == output.completion


class Strange:
    """Can be sent, and not be read."""

    def __reduce__(self):
        return int, ("strange",)


async def test_a_request_that_cannot_be_read_fails_alone(load, llava, ask):
    model = load(llava)
    config = GenerateConfig(max_tokens=6, extra_body={"custom": Strange()})
    with pytest.raises(ValueError, match="strange"):
        await model.api.generate(ask(), [], "auto", config)
    output, _ = await model.api.generate(ask(), [], "auto", CONFIG)
    assert output.usage.output_tokens == 6


async def test_what_the_process_logs_is_in_this_log(load, llava, ask, caplog):
    """Once: as a warning of the model that was asked."""
    with caplog.at_level(logging.WARNING):
        model = load(llava)
        for _ in range(2):
            await model.api.generate(ask("Say </s> twice"), [], "auto", CONFIG)
    assert [r.getMessage() for r in caplog.records if "control token" in r.getMessage()] == [
        f"hf-vlm/{model.api.model_name}: a control token spelled out in the text was broken up."
    ]


def test_a_change_of_what_libraries_read_once_reaches_the_next_process(monkeypatch):
    before = launcher()
    assert launcher() is before
    monkeypatch.setenv("VLMGUARD_ANYTHING", "1")
    assert launcher() is before


async def test_replicas_share_the_requests(load, llava, ask):
    model = load(llava, replicas=2)
    assert model.api.max_connections() == 2 * 2 * 32
    pids = {vlm._process.pid for vlm in model.api._replicas.vlms}
    assert len(pids) == 2
    alone = load(llava)
    assert pid_of(alone) in pids
    requests = [ask(images=[seed]) for seed in range(4)]
    want = [(await alone.generate(each, config=CONFIG)).completion for each in requests]
    got = await asyncio.gather(*(model.generate(each, config=CONFIG) for each in requests))
    assert [output.completion for output in got] == want
    assert model.api._replicas.asked == [0, 0]


@pytest.mark.parametrize("arguments", [{"device": "cuda:3"}, {"device": 1}, {"device_map": "auto"}])
def test_replicas_choose_their_devices(arguments):
    with pytest.raises(UserError, match="-M replicas and device"):
        get_model("hf-vlm/a/b", memoize=False, replicas=2, **arguments)


def in_fork(work):
    """What a function returns in a fork of this process."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            os.write(writer, work().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        found = told.read()
    os.waitpid(pid, 0)
    return found


def test_a_fork_is_told_that_it_has_no_model_and_can_load_it(load, llava, ask, monkeypatch):
    """A fork made while another thread begins to load a model, too."""
    model = load(llava)

    def there():
        with pytest.raises(RuntimeError) as caught:
            asyncio.run(model.api.generate(ask(), [], "auto", CONFIG))
        processes.take(("another", 0), lambda: None)
        monkeypatch.setattr(HOST, "apart", False)  # the imports of another nursery would take long
        model.api.load()
        output, _ = asyncio.run(model.api.generate(ask(), [], "auto", CONFIG))
        return f"{caught.value} {output.usage.output_tokens}"

    held, done = threading.Event(), threading.Event()

    def hold():
        with processes._lock:
            held.set()
            done.wait()

    threading.Thread(target=hold).start()
    held.wait()
    found = in_fork(there)
    done.set()
    assert "is a fork of the one that has the model" in found
    assert found.endswith(" 6")
    output, _ = asyncio.run(model.api.generate(ask(), [], "auto", CONFIG))
    assert output.usage.output_tokens == 6


PROGRAM = """
import asyncio, os, psutil, signal, sys, threading, time
from inspect_ai.model import get_model, GenerateConfig
model = get_model(f"hf-vlm/{sys.argv[1]}", memoize=False, device="cpu")
model.api.load()
assert not {"torch", "transformers"} & set(sys.modules), "the parent needs neither"
print(model.api._replicas.vlms[0]._process.pid, flush=True)
if sys.argv[2] == "signal":
    signal.raise_signal(int(sys.argv[3]))
if sys.argv[2] == "exit":
    # Another one that never ends loading.
    engines = psutil.Process(psutil.Process().children()[0].pid).children
    known = len(engines())
    stuck = get_model(f"hf-vlm/{sys.argv[1]}", memoize=False, device="cpu", dtype="float16")
    opening = stuck.api._replicas.begin()
    while len(engines()) == known:
        time.sleep(0.001)
    os.kill(engines()[-1].pid, signal.SIGSTOP)
    print(engines()[-1].pid, flush=True)
    config = GenerateConfig(max_tokens=100_000)
    loop = lambda: asyncio.run(model.generate("hello", config=config))
    threading.Thread(target=loop, daemon=True).start()
    time.sleep(1)
    assert not opening.done()
    sys.exit(3)
"""


@pytest.mark.parametrize(
    ("how", "status"),
    [(["exit"], 3), (["signal", str(int(signal.SIGKILL))], -signal.SIGKILL)],
    ids=["exit in the middle of a batch, and of loading", "SIGKILL"],
)
def test_the_process_ends_with_the_one_that_asked(endless, how, status):
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(endless), *how],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=120,
        check=False,
    )
    assert program.returncode == status, program.stderr
    assert all(gone(int(pid)) for pid in program.stdout.split())
    assert "Exception ignored" not in program.stderr


def test_messages_of_several_threads_keep_their_order(load, llava, ask):
    """Which images the other side has depends on it."""
    model = load(llava)
    found = []

    def run(first):
        async def several():
            for seed in range(first, first + 4):
                output, _ = await model.api.generate(
                    ask(images=[seed % 3, seed % 2]), [], "auto", CONFIG
                )
                found.append(output.usage.output_tokens)

        asyncio.run(several())

    threads = [threading.Thread(target=run, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert found == [6] * 12
