"""`vlmguard serve` before it serves: what it refuses in one line, and what it says."""

import re
import socket
from pathlib import Path
from typing import Any

import pytest

from vlmguard.cli import main
from vlmguard.guard import serving
from vlmguard.guard.serving import greeting as greeting_module
from vlmguard.guard.serving import start
from vlmguard.guard.serving.metrics import make_metrics
from vlmguard.guard.serving.running import bound

WORKING = [
    *("--defense", "vlmguard", "--rewriter", "mockllm/rewriter", "--port", "0"),
    *("--upstream", "http://127.0.0.1:9/v1", "--on-failure", "refuse"),
]


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Nothing is served; notes what would be."""
    served: list[Any] = []

    def run(make: Any, arguments: Any, listening: socket.socket) -> int:
        served.append((make(arguments), listening.getsockname()))
        listening.close()
        return 0

    monkeypatch.setattr(start, "run", run)
    return served


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--on-failure=x"], "original"),
        (["--upstream", "ftp://x/v1"], "--upstream ftp://x/v1: the base URL of an"),
        (["--upstream", "api.openai.com/v1"], "the base URL of an OpenAI-compatible API"),
        (["--upstream", "http://x:y/v1"], "the base URL of an OpenAI-compatible API"),
        (["--upstream", "http://x/v1?key=1"], "the base URL of an OpenAI-compatible API"),
        (["--upstream", "https://me:hidden-word@x/v1"], "--upstream-key-env NAME"),
        (["--upstream-key-env", "NOT_THERE"], "--upstream-key-env NOT_THERE"),
        (["--api-key-env", "NOT_THERE"], "--api-key-env NOT_THERE"),
        (["--api-key-env", "BLANK_KEYS"], "--api-key-env BLANK_KEYS"),
        (["--defense", "vlmgard"], "vlmguard"),
        (
            ["--defense", "guard_model", "-S", "adapter=llama_guard"],
            "role guard. Give --model-role guard=MODEL",
        ),
        (["-S", "reasonin=false"], "reasoning"),
        (["-S", "reasoning=maybe"], "reasoning"),
        (["--model-role", "rewritr=mockllm/x"], "no such role"),
        (["--model-role", "rewriter=mockllm/x"], "two models"),
        (["--wrkers", "2"], "--workers"),
        (["--workers", "0"], "--workers=0"),
        (["--grace", "-1"], "--grace=-1"),
        (["--guard-timeout", "0"], "--guard-timeout=0"),
        (["--upstream-timeout", "nan"], "--upstream-timeout=nan"),
        (["--max-body", "0"], "--max-body=0"),
        (["--max-queue", "-1"], "--max-queue=-1"),
        (["--pass-through", "/v1/chat/*"], "/v1/chat/completions would not be guarded"),
        (["--port", "99999"], "--port 99999"),
        (["--host", "203.0.113.1"], "--host 203.0.113.1"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_served(
    words: list[str],
    said: str,
    served: list[Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BLANK_KEYS", " , ")
    try:
        status = main(["serve", *WORKING, *words])
    except SystemExit as ended:
        status = ended.code
    error = capsys.readouterr().err
    assert status == 2
    assert said in error
    assert "Traceback" not in error
    assert "hidden-word" not in error
    assert served == []


def test_the_rule_for_failures_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *WORKING[:-2]]) == 2
    error = capsys.readouterr().err
    assert "--on-failure refuse" in error
    assert "--on-failure original" in error


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", *WORKING, "--port", port]) == 2
    error = capsys.readouterr().err
    assert f"--port {port}" in error
    assert "already in use" in error


def test_it_says_what_it_guards_with_what_and_how(
    served: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIENTS", "first-key, second-key")
    more = ["--api-key-env", "CLIENTS", "--shadow", "--pass-through", "/v1/embeddings"]
    assert main(["serve", *WORKING, *more]) == 0
    ((_, (host, port)),) = served
    captured = capsys.readouterr()
    said = captured.out
    for words in (
        "vlmguard serve: vlmguard",
        "rewriter mockllm/rewriter",
        "http://127.0.0.1:9/v1",
        f"http://{host}:{port}/v1",
        "/v1/chat/completions",
        "/beta/litellm_basic_guardrail_api",
        "--on-failure refuse",
        "30 seconds",
        "with a key",
        "/v1/models; /v1/embeddings",
        "SHADOW",
    ):
        assert words in said
    assert "first-key" not in said
    assert captured.err == "vlmguard serve: loading ...\n"


@pytest.mark.parametrize(
    ("words", "most"),
    [
        (["--rewriter", "mockllm/x", "--max-concurrent", "300"], 300),
        (["--model-role", "rewriter={model: mockllm/x, max_connections: 7}"], 7),
    ],
)
def test_a_model_is_asked_about_as_many_requests_as_are_served(
    words: list[str], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    make = start.make_app
    monkeypatch.setattr(start, "make_app", lambda settings: made.append(settings) or make(settings))
    assert main(["serve", "--on-failure", "refuse", "--port", "0", *words]) == 0
    assert {each.roles["rewriter"].config.max_connections for each in made} == {most}


def test_it_warns_of_what_is_open(
    served: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greeting_module, "find_spec", lambda name: None)
    assert main(["serve", *WORKING, "--host", "0.0.0.0", "--log-content"]) == 0
    captured = capsys.readouterr()
    assert "pip install 'vlmguard[serve]'" in captured.out
    assert "--host 0.0.0.0 without --api-key-env" in captured.err
    assert "--log-content" in captured.err


def test_the_help_has_its_options_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    said = capsys.readouterr().out
    places = [
        said.index(f"\n{group}:")
        for group in (
            "the guard",
            "the model behind it",
            "what follows from a decision",
            "images of a request",
            "clients and limits",
            "the server",
        )
    ]
    assert places == sorted(places)


def test_the_folders_page_has_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    options = set(re.findall(r"^  (--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))
    page = (Path(serving.__file__).parent / "README.md").read_text()
    assert len(options) > 20
    assert [option for option in sorted(options) if f"`{option}" not in page] == []


def test_the_folders_page_has_every_metric() -> None:
    page = (Path(serving.__file__).parent / "README.md").read_text()
    text, _ = make_metrics().text()
    families = re.findall(
        r"^# TYPE (vlmguard_\S+) (?:counter|gauge|histogram)$", text.decode(), re.MULTILINE
    )
    shown = [name for name in families if not name.endswith("_created")]
    assert len(shown) >= 10
    assert [name for name in shown if name not in page] == []


def test_the_end_of_an_answer_does_not_wait_for_its_beginning() -> None:
    """Unless the socket says otherwise, a small write behind another waits for the client."""
    with bound("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
