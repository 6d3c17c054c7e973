"""`vlmguard serve` under load: what it adds to a request, streams, random bodies, and memory.

    python tests/bench/serving.py                       # all, about 7 minutes
    python tests/bench/serving.py overhead              # one or more of the parts

`overhead`: requests with a photo of 200 kB arrive at random moments, 1, 10 and 100 a second, and
reach the same upstream directly, through the least proxy that our stack allows, through `vlmguard
serve` and through LiteLLM without a guardrail. The rewriter takes no time, so the figure is what
the server itself adds. Each server has one process; on Linux all of them are bound to one core, and
client and upstream to the others. All four take turns, there and back, in one run.
LiteLLM's row needs `make .venv/integrations/ready`, and is skipped without it.

`streams`: 500 streams at once, chats, tool calls and agents that go on after a tool's result.
`bodies`: 10,000 random bodies; what was passed must be the very bytes, what was rewritten must
differ in the last user text alone. `memory`: 20,000 requests with a picture of a few pixels.
"""

import asyncio
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil
from support.findings import show, within
from support.load.bodies import exactly, photo_request, random_request, rewritten, small_request
from support.load.client import KEY, Client, Reply, arrivals, closed_loop, open_loop
from support.load.guard import REWRITTEN
from support.load.processes import HERE, cores, free_port, started, upstream
from support.load.upstream import EVENTS, PAUSE, events

OVERHEAD_LIMIT = 5.0
"""Milliseconds at the median, 10 requests a second, one core."""
AGAINST_LITELLM = 1.0
GROWTH_LIMIT = 1.05
EARLY = 0.8

# Requests a second, seconds of a turn; each server has two turns.
RATES = ((1, 15), (10, 10), (100, 5))
STREAMS, STREAMS_A_SECOND = 500, 50
BODIES = 10_000
FIRST, LAST = 5_000, 20_000
OURS, THEIRS, LEAST = "vlmguard serve", "LiteLLM, no guardrail", "bare reverse proxy"
LITELLM = Path(__file__).resolve().parents[2] / ".venv/integrations/bin/litellm"


@contextmanager
def guarded(port: int, log: Path, *words: str) -> Iterator[tuple[int, int]]:
    """`vlmguard serve` in front of an upstream, with more arguments; its port and process id."""
    own = free_port()
    command = [sys.executable, str(HERE / "guard.py"), "serve", "--port", str(own)]
    command += ["--rewriter", "instant/any", "--on-failure", "refuse"]
    command += ["--upstream", f"http://127.0.0.1:{port}/v1", *words]
    with started(command, own, log, cores()[0]) as process:
        yield own, process


@contextmanager
def bare(port: int, log: Path) -> Iterator[tuple[int, int]]:
    """The least proxy, as `guarded`."""
    own = free_port()
    command = [sys.executable, str(HERE / "reverse_proxy.py")]
    command += [f"http://127.0.0.1:{port}/v1", str(own)]
    with started(command, own, log, cores()[0]) as process:
        yield own, process


@contextmanager
def litellm(port: int, log: Path) -> Iterator[tuple[int, int]]:
    """LiteLLM without a guardrail, as `guarded`."""
    own = free_port()
    config = log.with_suffix(".yaml")
    config.write_text(
        "model_list:\n"
        "  - model_name: m\n"
        f"    litellm_params: {{model: openai/m, api_base: 'http://127.0.0.1:{port}/v1', "
        "api_key: none}\n"
        f"general_settings: {{master_key: {KEY}}}\n"
        "litellm_settings: {telemetry: false, num_retries: 0}\n"
    )
    command = [str(LITELLM), "--config", str(config), "--host", "127.0.0.1", "--port", str(own)]
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1"}
    with started(command, own, log, cores()[0], offline) as process:
        yield own, process


def overhead(folder: Path) -> bool:
    """What each server adds to a request, and what it costs."""
    with ExitStack() as stack:
        direct = stack.enter_context(upstream("answer", cores()[1]))
        servers: dict[str, tuple[int, int]] = {"direct": (direct, 0)}
        servers[LEAST] = stack.enter_context(bare(direct, folder / "bare.log"))
        servers[OURS] = stack.enter_context(guarded(direct, folder / "guarded.log"))
        if LITELLM.exists():
            servers[THEIRS] = stack.enter_context(litellm(direct, folder / "litellm.log"))
        else:
            print(f"skipped: {THEIRS} (no {LITELLM.parents[1].name}: see the top of this file)")
        return _table(asyncio.run(_rates(servers)), list(servers))


Row = dict[str, tuple[list[float], float]]


async def _rates(servers: dict[str, tuple[int, int]]) -> dict[int, Row]:
    """For each rate and server: milliseconds of the requests, CPU milliseconds of one."""
    clients = {name: Client(port) for name, (port, _) in servers.items()}
    for client in clients.values():
        await closed_loop(client, range(40), photo_request, 4)
    found: dict[int, Row] = {}
    for rate, seconds in RATES:
        row: Row = {name: ([], 0.0) for name in servers}
        for turn, order in enumerate((list(servers), list(servers)[::-1])):
            moments = arrivals(rate, seconds, seed=turn)
            for name in order:
                before = _cpu(servers[name][1])
                replies = await open_loop(clients[name], moments, photo_request)
                assert all(reply.status == 200 for reply in replies), Counter(
                    reply.status for reply in replies
                )
                spent = (_cpu(servers[name][1]) - before) * 1000 / len(moments)
                times, cpu = row[name]
                row[name] = ([*times, *(r.seconds * 1000 for r in replies)], cpu + spent / 2)
        found[rate] = row
    return found


def _table(found: dict[int, Row], names: list[str]) -> bool:
    print("\nmilliseconds of a request, and beyond the direct one's")
    print(f"  {'':24}{'a second':>9}{'p50':>8}{'p99':>8}{'+p50':>8}{'+p99':>8}{'CPU':>8}")
    added: dict[tuple[int, str], float] = {}
    for rate, row in found.items():
        base = row["direct"][0]
        for name in names:
            times, cpu = row[name]
            half, most = _part(times, 50), _part(times, 99)
            added[rate, name] = half - _part(base, 50)
            more = f"{added[rate, name]:8.2f}{most - _part(base, 99):8.2f}{cpu:8.2f}"
            print(f"  {name:24}{rate:9}{half:8.2f}{most:8.2f}{more if name != 'direct' else ''}")
    for rate, row in found.items():
        show(f"a request, {rate} a second", {name: row[name][0] for name in names}, "ms")
    ours = added[10, OURS]
    good = within("p50 added at 10 a second, ms", ours, OVERHEAD_LIMIT)
    show("what is added, relative", {f"to the {LEAST}": [ours / added[10, LEAST]]}, "times")
    if THEIRS in names:
        good &= within(
            f"p50 added at 10 a second, ratio to {THEIRS}",
            ours / added[10, THEIRS],
            AGAINST_LITELLM,
        )
    return good


def streams(folder: Path) -> bool:
    """500 streams at once, byte by byte as the upstream sends them, and as they come."""
    with (
        upstream("stream", cores()[1], STREAMS) as port,
        guarded(port, folder / "streams.log") as (own, process),
    ):
        replies, peak = asyncio.run(_streamed(own, port))
        used = psutil.Process(process).memory_info().rss / 1e6
    kinds = Counter(reply.headers["x-vlmguard-action"] for reply in replies)
    print(f"\n{STREAMS} streams: {dict(kinds)}, {peak} open at once, {used:.0f} MB")
    # A proxy that waits for the end gives all events at one moment.
    spread = statistics.median(reply.arrived[-1] - reply.arrived[0] for reply in replies)
    print(f"  sent over {EVENTS * PAUSE:.1f} seconds or more, came over {spread:.1f}")
    held = within("streams not held at once", STREAMS - peak, 0)
    least = EARLY * EVENTS * PAUSE
    return held & within("seconds over which a stream's events came", spread, least, at_least=True)


async def _streamed(own: int, port: int) -> tuple[list[Reply], int]:
    client = Client(own)
    replies: list[Reply] = []
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    called = [
        {"role": "user", "content": "Where should I put the ladder?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_0", "type": "function", "function": {"name": "look", "arguments": "0"}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_0", "content": "A wall."},
    ]

    async def ask(body: bytes, *, called: bool) -> None:
        reply = await client.post(body)
        assert reply.status == 200, reply.body
        assert reply.body == b"".join(events(called))
        replies.append(reply)

    async def chat(number: int) -> None:
        await ask(photo_request(number, stream=True), called=False)

    async def tool(number: int) -> None:
        body = photo_request(number, stream=True, tools=tools)
        await ask(body, called=True)

    async def agent(number: int) -> None:
        await tool(number)
        body = photo_request(number, stream=True, tools=tools)
        value = json.loads(body)
        value["messages"] += called[1:]
        await ask(json.dumps(value).encode(), called=False)

    async def one(number: int) -> None:
        await asyncio.sleep(number / STREAMS_A_SECOND)
        await (chat, tool, agent)[number % 3](number)

    await asyncio.gather(*map(one, range(STREAMS)))
    return replies, await _peak(port)


async def _peak(port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /peak HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    peak = int(await reader.read(16))
    writer.close()
    return peak


def bodies(folder: Path) -> bool:
    """Random bodies, compared with what the upstream got."""
    with (
        upstream("echo", cores()[1]) as port,
        guarded(port, folder / "bodies.log", "--max-images", "100") as (own, _),
    ):
        actions, wrong = asyncio.run(_bodies(own))
    print(f"\n{BODIES} random bodies: {dict(actions)}")
    for number in wrong[:5]:
        print(f"  wrong: random_request({number})")
    assert min(actions["pass"], actions["rewrite"]) > BODIES / 5, actions
    return within("bodies that went on wrongly", len(wrong), 0)


async def _bodies(port: int) -> tuple[Counter[str], list[int]]:
    client, actions, wrong = Client(port), Counter[str](), []
    numbers = iter(range(BODIES))

    async def some() -> None:
        for number in numbers:
            body = random_request(number)
            reply = await client.post(body)
            action = reply.headers.get("x-vlmguard-action", f"status {reply.status}")
            actions[action] += 1
            if action == "rewrite":
                right = exactly(reply.body) == rewritten(body, REWRITTEN)
            else:
                right = reply.status == 200 and reply.body == body
            if not right:
                wrong.append(number)

    await asyncio.gather(*(some() for _ in range(4)))
    return actions, sorted(wrong)


def memory(folder: Path) -> bool:
    """Resident memory after 5,000 requests, and after 20,000."""
    with (
        upstream("answer", cores()[1]) as port,
        guarded(port, folder / "memory.log") as (own, process),
    ):
        server = psutil.Process(process)

        async def until(client: Client, first: int, last: int) -> int:
            await closed_loop(client, range(first, last), small_request, 8)
            used: int = server.memory_info().rss
            return used

        async def both() -> tuple[int, int]:
            client = Client(own)
            return await until(client, 0, FIRST), await until(client, FIRST, LAST)

        early, late = asyncio.run(both())
    print(f"\nresident: {early / 1e6:.1f} MB after {FIRST} requests, {late / 1e6:.1f} after {LAST}")
    return within("memory after 20,000 requests, relative to 5,000", late / early, GROWTH_LIMIT)


def _cpu(process: int) -> float:
    """Seconds that a server and its children have used; 0 for none."""
    if not process:
        return 0.0
    parent = psutil.Process(process)
    each = [parent, *parent.children(recursive=True)]
    return sum(times.user + times.system for times in (one.cpu_times() for one in each))


def _part(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


PARTS: dict[str, Callable[[Path], bool]] = {
    "overhead": overhead,
    "streams": streams,
    "bodies": bodies,
    "memory": memory,
}


def main(names: list[str]) -> int:
    """Run the named parts, or all; returns 1 if a limit was missed, 2 for an unknown part."""
    if unknown := [name for name in names if name not in PARTS]:
        print(f"{unknown[0]}: no such part. Choose of: {', '.join(PARTS)}.", file=sys.stderr)
        return 2
    packages = ("uvicorn", "starlette", "httpx", "inspect-ai")
    versions = {name: importlib.metadata.version(name) for name in packages}
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {said}")
    if cores()[1]:
        os.sched_setaffinity(0, cores()[1])
    with tempfile.TemporaryDirectory() as folder:
        kept = [PARTS[name](Path(folder)) for name in names or PARTS]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
