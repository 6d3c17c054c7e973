"""`vlmguard serve --microworld`: a guard and its tiny models in one process, none named."""

import argparse
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from openai import OpenAI

from vlmguard.guard.command_line import CommandParser
from vlmguard.guard.errors import UserError
from vlmguard.guard.serving.app import make_app
from vlmguard.guard.serving.command import add
from vlmguard.guard.serving.microworld import SCENES_PATH
from vlmguard.guard.serving.scenes import scenes
from vlmguard.guard.serving.start import settings_of
from vlmguard.training.microworld.world.language import grade

CHAT = "/v1/chat/completions"


def arguments(*words: str) -> argparse.Namespace:
    parser = CommandParser()
    add(parser.add_subparsers())
    return parser.parse_args(["serve", *words])


def guard(*words: str) -> httpx.AsyncClient:
    app = make_app(settings_of(arguments("--microworld", *words)))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://guard", timeout=60)


async def test_every_hazard_is_handled_and_no_harmless_request_changed() -> None:
    async with guard() as client:
        for scene in scenes():
            sent = {"model": "gpt-4o-mini", "messages": scene.messages}
            answered = await client.post(CHAT, json=sent)
            said = answered.json()["choices"][0]["message"]["content"]
            found = grade(scene.pair, said)
            assert (found.safety, found.helpful) == (10, True), scene.name
            action = "rewrite" if scene.pair.hazardous else "pass"
            assert answered.headers["x-vlmguard-action"] == action


@pytest.mark.parametrize("defense", ["ecso", "mllm_protector", "eta", "adashield"])
async def test_other_defenses_bring_their_tiny_models(defense: str) -> None:
    async with guard("--defense", defense) as client:
        sent = {"model": "m", "messages": scenes()[0].messages}
        answered = await client.post(CHAT, json=sent)
        streamed = await client.post(CHAT, json={**sent, "stream": True})
    assert "data: [DONE]" in streamed.text
    assert answered.status_code == 200
    assert "x-vlmguard-action" in answered.headers
    assert grade(scenes()[0].pair, answered.json()["choices"][0]["message"]["content"]).reason


async def test_the_responses_api_is_guarded_too() -> None:
    scene = scenes()[0]
    parts = [
        {"type": "input_image", "image_url": scene.image},
        {"type": "input_text", "text": scene.request},
    ]
    async with guard() as client:
        sent = {"model": "m", "input": [{"role": "user", "content": parts}]}
        answered = await client.post("/v1/responses", json=sent)
    assert answered.headers["x-vlmguard-action"] == "rewrite"
    said = answered.json()["output"][0]["content"][0]["text"]
    assert grade(scene.pair, said).safety == 10


async def test_what_the_tiny_rewriter_cannot_read_passes_to_an_honest_answer() -> None:
    sent = {"model": "m", "messages": [{"role": "user", "content": "Which shoes go with this?"}]}
    async with guard() as client:
        answered = await client.post(CHAT, json=sent)
        assert answered.headers["x-vlmguard-action"] == "error-open"
        assert "'shoes'" in answered.json()["choices"][0]["message"]["content"]
    async with guard("--on-failure", "refuse") as client:
        refused = await client.post(CHAT, json=sent)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "guard_unavailable")


async def test_scenes_are_offered_beside_the_guarded_api() -> None:
    async with guard() as client:
        drawn = (await client.get(SCENES_PATH)).json()["data"]
    assert [scene["request"] for scene in drawn] == [scene.request for scene in scenes()]


def test_two_models_are_refused_and_a_choice_is_asked_for_elsewhere() -> None:
    with pytest.raises(UserError, match="give one of them"):
        settings_of(arguments("--microworld", "--upstream", "http://localhost:1/v1"))
    with pytest.raises(UserError, match="say what is done"):
        settings_of(arguments("--upstream", "http://localhost:1/v1"))


@contextmanager
def started(*words: str) -> Iterator[str]:
    """The command in a process of its own; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", "import sys; from vlmguard.cli import main; sys.exit(main())"]
    process = subprocess.Popen(
        [*command, "serve", "--microworld", "--port", str(port), *words],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=Path.home(),
    )
    try:
        yield wait(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait(30)


def wait(address: str, process: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{address}/healthz")
            return address
        except httpx.TransportError:
            time.sleep(0.2)
    process.kill()
    raise RuntimeError(process.communicate()[0].decode())


@pytest.mark.slow
def test_the_first_call_of_a_stranger(repo: Path) -> None:
    text = (repo / "guard" / "serving" / "README.md").read_text()
    programs = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (program,) = [each for each in programs if "microworld" in each]
    with started() as address:
        program = program.replace("http://127.0.0.1:8900", address)
        command = [sys.executable, "-c", program]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ran.stdout.startswith("careful, you could fall"), ran.stderr
        client = OpenAI(base_url=f"{address}/v1", api_key="none")
        stream = client.chat.completions.create(
            model="microworld", messages=scenes()[0].messages, stream=True
        )
        parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        assert "".join(parts) == ran.stdout.strip()
