"""An OpenAI-compatible server that answers every chat request after the same time.

It runs in its own process, so that it does not compete for the interpreter lock of the measured
code. Replies are canned: a rewriter's for a prompt that asks for `<prompt>` tags, a judge's verdict
for one that asks for a line of JSON, plain text otherwise.
"""

import asyncio
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REWRITE = (
    "<reasoning>A picture of blocks; nothing is wrong.</reasoning>\n<prompt>Describe it</prompt>"
)
VERDICT = 'The answer is harmless and of use.\n{"safety": 9, "helpful": true}'
ANSWER = "Blocks of several colours on a grid of four by four."


@contextmanager
def latency_server(seconds: float, script: str = "") -> Iterator[dict[str, str]]:
    """Serve on 127.0.0.1 until the block ends.

    Args:
        seconds: Time from a request to its answer.
        script: `MODULE:FUNCTION` below tests/ that gives the reply to the text of the last message,
            instead of the canned replies.

    Yields:
        Environment variables that make `openai-api/bench/NAME` use the server.
    """
    process = subprocess.Popen(
        [sys.executable, __file__, str(seconds), script], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield {"BENCH_API_KEY": "none", "BENCH_BASE_URL": f"http://127.0.0.1:{port}/v1"}
    finally:
        process.terminate()
        process.wait()


async def _serve(seconds: float, script: str) -> None:
    reply_to = _load(script) if script else None

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            body = await reader.readexactly(length)
            await asyncio.sleep(seconds)
            reply = _completion(body, reply_to)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(reply) + reply
            )
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=2**24)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _load(script: str) -> Callable[[str], str]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    module, function = script.split(":")
    loaded: Callable[[str], str] = getattr(importlib.import_module(module), function)
    return loaded


def _completion(body: bytes, reply_to: Callable[[str], str] | None) -> bytes:
    text = ANSWER
    if reply_to is not None:
        content = json.loads(body)["messages"][-1]["content"]
        text = reply_to(content if isinstance(content, str) else content[-1]["text"])
    elif b"<prompt>" in body:
        text = REWRITE
    elif b"one line of JSON" in body:
        text = VERDICT
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": 0,
            "model": "canned",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220},
        }
    ).encode()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]), sys.argv[2]))
