"""What ETA's decoding asks of vLLM and SGLang servers, on the wire."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from inspect_ai.model import GenerateConfig, get_model
from support.scripted import Scripted, answer_of, picture, run_solver, sample

from vlmguard.solvers import eta

PREFIX = "As an AI assistant"


class Handler(BaseHTTPRequestHandler):
    """Answers a request with as many choices as it asks for."""

    requests: list[dict[str, Any]]

    def do_GET(self) -> None:
        self._send({"object": "list", "data": [{"id": "m", "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append(body)
        last = body["messages"][-1]
        if last["role"] == "user":
            texts = ["Vanilla."]
        elif last["content"] == PREFIX:
            texts = [f", sentence {number}." for number in range(body["n"])]
        else:
            texts = [" The end" for _ in range(body["n"])]
        self._send(
            {
                "id": "0",
                "object": "chat.completion",
                "created": 0,
                "model": "m",
                "choices": [
                    {
                        "index": index,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": text},
                    }
                    for index, text in enumerate(texts)
                ],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }
        )

    def _send(self, payload: dict[str, Any]) -> None:
        data = json.dumps(payload).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    requests: list[dict[str, Any]] = []
    handler = type("Noting", (Handler,), {"requests": requests})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}/v1", requests
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.parametrize(
    ("provider", "keep_stop"),
    [("vllm", "include_stop_str_in_output"), ("sglang", "no_stop_trim")],
)
def test_servers_are_told_to_continue_and_to_keep_the_stop_string(
    provider: str, keep_stop: str, server: tuple[str, list[dict[str, Any]]]
) -> None:
    url, requests = server
    # A grade of 1 fails the check of the answer; the third candidate is the best.
    reward = Scripted(lambda call: "9" if "sentence 2" in call.text else "1", "reward")
    target = get_model(
        f"{provider}/m",
        base_url=url,
        api_key="none",
        memoize=False,
        config=GenerateConfig(extra_body={"min_p": 0.1}),
    )
    log = run_solver(
        eta(),
        sample("How?", picture()),
        target,
        {"reward": reward, "image_safety": Scripted("yes", "looker")},
    )
    assert answer_of(log) == f"{PREFIX}, sentence 2. The end"
    vanilla, first, second = requests
    assert vanilla["messages"][-1]["role"] == "user"
    assert "n" not in vanilla
    for body, text, limit in (
        (first, PREFIX, 69),
        (second, f"{PREFIX}, sentence 2.", 70),
    ):
        assert [message["role"] for message in body["messages"]] == ["user", "assistant"]
        kinds = [part["type"] for part in body["messages"][0]["content"]]
        assert kinds == ["image_url", "text"]
        assert body["messages"][1]["content"] == text
        assert body["continue_final_message"] is True
        assert body["add_generation_prompt"] is False
        assert (body["n"], body["temperature"], body["top_k"]) == (5, 1.5, 5)
        assert body["stop"] == ["."]
        assert body[keep_stop] is True
        assert body["min_p"] == 0.1
        assert limit in (body.get("max_tokens"), body.get("max_completion_tokens"))
