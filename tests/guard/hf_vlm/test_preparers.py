"""Processes that prepare requests: none costs another request, whatever ends it."""

import subprocess
import sys

# A program of its own, since it forks before it has threads, as the engine process does.
PROGRAM = """
import os, signal, time
from concurrent.futures import ThreadPoolExecutor
import torch
from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.prepared import Prepared
from vlmguard.guard.hf_vlm.preparers import Preparers

HERE = os.getpid()

class Panic(BaseException):
    pass

class Maker:
    def prepare(self, conversation):
        if conversation == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        if conversation == "slow poison" and os.getpid() != HERE:
            time.sleep(0.7)
            os.kill(os.getpid(), signal.SIGKILL)
        if conversation == "panic":
            raise Panic("a panic in Rust")
        if conversation == "wrong":
            raise UserError("say it otherwise")
        value = torch.ones(1, 2, dtype=torch.bfloat16 if conversation == "half" else torch.float32)
        inputs = {"pixel_values": value}
        where = "here" if os.getpid() == HERE else "apart"
        return Prepared(where, [], inputs, [os.getpid()], False)

def tried(preparers, conversation):
    try:
        found = preparers.prepare(None, maker, conversation)
        value = found.inputs["pixel_values"]
        return f"{found.text} {value.dtype} {value.sum():g}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"

maker = Maker()
one, four, idle, spare = (Preparers(count, lambda _: maker, []) for count in (1, 4, 1, 1))
for conversation in ("fine", "half", "panic", "wrong", "fine"):
    print(tried(one, conversation))
with ThreadPoolExecutor(3) as threads:
    for result in sorted(threads.map(lambda _: tried(one, "slow poison"), range(3))):
        print(result)
for conversation in ("poison", "fine", "poison", "fine"):
    print(tried(four, conversation))
found = idle.prepare(None, maker, "fine")
os.kill(int(found.ids[0]), signal.SIGKILL)
time.sleep(0.2)
print(tried(idle, "fine"))
print(tried(spare, lambda: "what cannot be sent"))
print(tried(spare, "fine"))
"""


def test_what_ends_a_process_costs_one_request():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    told = iter(done.stdout.splitlines())
    assert next(told) == "apart torch.float32 2"
    assert next(told) == "apart torch.bfloat16 2"
    assert next(told) == "RuntimeError: Panic: a panic in Rust"
    assert next(told) == "UserError: say it otherwise"
    assert next(told) == "apart torch.float32 2"
    # The last process is killed while others wait for it.
    assert next(told).startswith("RuntimeError: a process that prepared this request was killed")
    assert [next(told), next(told)] == ["here torch.float32 2"] * 2
    for left in ("apart", "here"):
        assert next(told).startswith("RuntimeError: a process that prepared this request")
        assert next(told) == f"{left} torch.float32 2"
    # One that was killed before costs none.
    assert next(told) == "here torch.float32 2"
    assert "pickle" in next(told)
    assert next(told) == "apart torch.float32 2"
    assert "3 left" in done.stderr
