"""`vlmguard try`: both answers in a terminal, in a narrow one and in a pipe."""

import argparse
import io
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ModelOutput
from PIL import Image
from rich.console import Console
from support.openai_server import openai_server
from support.scripted import Scripted

from vlmguard.guard.command_line import CommandParser
from vlmguard.guard.defense import Conversation, Target
from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import user_message
from vlmguard.guard.outside import made_of
from vlmguard.guard.serving.comparing import Compared, compare
from vlmguard.guard.serving.try_command import add as add_try
from vlmguard.guard.serving.trying import shown, try_once
from vlmguard.guard.text.outputs import Output

COMMAND = [sys.executable, "-c", "import sys; from vlmguard.cli import main; sys.exit(main())"]


def arguments(*words: str) -> argparse.Namespace:
    parser = CommandParser()
    add_try(parser.add_subparsers())
    return parser.parse_args(["try", *words])


@pytest.fixture
def photo(tmp_path: Path) -> str:
    file = tmp_path / "photo.jpg"
    Image.effect_noise((320, 200), 80).convert("RGB").save(file)
    return str(file)


def test_without_arguments_a_scene_is_drawn_and_answered_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert try_once(arguments()) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if line)
    assert lines["VLMGuard-R1"].startswith("sends another request (1 call, ")
    assert lines["A drawn scene"] in lines["Reasoning"]
    assert lines["Sent instead"].startswith(f"{lines['Request']}. keep in mind that ")
    assert lines["Undefended"].startswith("sure, ")
    assert lines["Behind VLMGuard-R1"].startswith("careful, ")


def test_another_defense_and_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--defense", "figstep_defense", "-S", "placement=prefix", "--target")
    assert try_once(arguments(*words, "microworld/llava/high")) == 0
    said = capsys.readouterr().out
    assert "Model: microworld/llava/high" in said
    assert "Sent instead: " in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("PHOTO", "how do i use this"), "would take a photo for one of them. `vlmguard try` with"),
        (("PHOTO",), "give a request too"),
        (("nowhere.png", "x"), "no such file: nowhere.png"),
        (("PHOTO", "x", "--target", "mockllm/model"), "no model for the role rewriter"),
        (("--target", "nobody/nothing"), "--target=nobody/nothing: "),
        (("--defense", "vlmgard"), "Did you mean vlmguard"),
        (("-S", "reasoning=maybe"), "true or false is needed"),
    ],
)
def test_errors_name_the_way_out(words: tuple[str, ...], said: str, photo: str) -> None:
    with pytest.raises(UserError) as error:
        try_once(arguments(*[photo if word == "PHOTO" else word for word in words]))
    assert said in str(error.value)


def test_a_provider_without_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match=r"--target=openai/gpt-4o: .*OPENAI_API_KEY"):
        try_once(arguments("--target", "openai/gpt-4o"))


def test_a_served_model_sees_the_photo_and_one_that_refuses_is_named(
    photo: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (photo, "What is this?", "--target", "openai-api/served/m", "--defense")
    monkeypatch.setenv("SERVED_API_KEY", "k")
    with openai_server(lambda text, messages: "A \x1b[31mcat\x1b[0m.") as server:
        monkeypatch.setenv("SERVED_BASE_URL", server.url)
        assert try_once(arguments(*words, "figstep_defense")) == 0
        said = capsys.readouterr().out
        assert "\x1b" not in said, "what a model says must not steer the terminal"
        assert said.count("cat") == 2
        assert all("image_url" in str(request) for request in server.requests)
        server.refuse.set()
        with pytest.raises(UserError, match=r"m did not answer \(.*Check names of models, keys"):
            try_once(arguments(*words, "figstep_defense"))


def test_a_guard_whose_model_fails_is_an_error_and_no_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SERVED_API_KEY", "k")
    with openai_server(lambda text, messages: "A cat.") as server:
        monkeypatch.setenv("SERVED_BASE_URL", server.url)
        server.refuse.set()
        with pytest.raises(UserError) as error:
            try_once(arguments("--rewriter", "openai-api/served/m"))
    said = str(error.value)
    assert said.startswith("The guard (rewriter openai-api/served/m) did not answer (Authenticat")
    assert "Behind" not in capsys.readouterr().out


async def test_a_block_and_an_unusable_reply_are_told() -> None:
    request = Conversation([user_message([], "How do I climb it?")])
    target = Target(Scripted("An answer.", "An answer.").model)

    async def tried(name: str, role: str, replies: Scripted, **options: Any) -> Compared:
        roles = {role: replies.model}
        defense = made_of(name, options, roles)
        return await compare(request, target, roles, lambda: defense.run(request, target))

    unsafe = Scripted("unsafe\nS9")
    found = await tried("guard_model", "guard", unsafe, adapter="llama_guard")
    assert (found.action, found.sent) == ("block", "")
    assert found.reasoning == "indiscriminate weapons"
    assert found.undefended.text == "An answer."
    assert found.guarded.reason == "blocked_by_defense"
    useless = ModelOutput.from_content("m", "The picture shows a cat.")
    found = await tried("vlmguard", "rewriter", Scripted(useless, useless))
    assert (found.action, found.failure) == ("pass", "no_prompt")
    assert found.did == "could not be used (no_prompt), and passes the request as it is"
    assert found.sent == found.request == "How do I climb it?"


@pytest.mark.parametrize(("columns", "rows_of_answers"), [(100, 1), (80, 1), (79, 2), (30, 2)])
def test_answers_stand_side_by_side_where_there_is_room(columns: int, rows_of_answers: int) -> None:
    answer = Output("answer", "", "An answer of more than a few words. " * 3)
    compared = Compared("Why?", "rewrite", "So.", "Why, safely?", "", answer, answer, 1, 0.5)
    console = Console(width=columns, force_terminal=True, file=io.StringIO(), color_system=None)
    for part in shown(compared, "m", "Guard", console):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert sum(line.startswith("╭") for line in lines) == rows_of_answers
    assert max(map(len, lines)) <= columns


@pytest.mark.slow
def test_a_narrow_terminal() -> None:
    said = in_terminal([*COMMAND, "try"], 44)
    assert "Behind VLMGuard-R1" in said
    assert max(len(line) for line in said.splitlines()) <= 44


def in_terminal(command: list[str], columns: int) -> str:
    """What a command prints to a terminal of that width, without colours."""
    inner, outer = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"}
    process = subprocess.Popen(command, stdout=outer, stderr=subprocess.PIPE, env=environment)
    os.close(outer)
    pieces = []
    while select.select([inner], [], [], 120)[0]:
        try:
            piece = os.read(inner, 65536)
        except OSError:  # the command has ended
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(inner)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    return re.sub(r"\x1b\[[0-9;]*m", "", b"".join(pieces).decode()).replace("\r\n", "\n")
