"""The requests of ETA's decoding to vLLM and SGLang servers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from inspect_ai.log import EvalLog
from inspect_ai.model import GenerateConfig, Model, get_model
from inspect_ai.solver import Solver
from support.http_server import QuietHandler, serving
from support.scripted import (
    Scripted,
    answer_of,
    choices,
    picture,
    record_of,
    run_solver,
    sample,
)

from vlmguard.guard.errors import UserError
from vlmguard.solvers import eta

PREFIX = "As an AI assistant"
PICTURES = [picture("red"), picture("blue")]


class Handler(QuietHandler):
    """Answers a request with the requested number of choices."""

    requests: list[dict[str, Any]]

    def do_GET(self) -> None:
        self.send_json(200, {"object": "list", "data": [{"id": "m", "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.read_body())
        self.requests.append(body)
        last = body["messages"][-1]
        if last["role"] == "user":
            texts = ["Vanilla."]
        elif last["content"] == PREFIX:
            texts = [f", sentence {number}." for number in range(body["n"])]
            # vLLM cuts the text after the stop string, within the token. SGLang does not cut.
            if "no_stop_trim" in body:
                texts = [f"{text}\n\n" for text in texts]
        else:
            texts = [" The end" for _ in range(body["n"])]
        self.send_json(
            200,
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
                        "logprobs": {
                            "content": [
                                {"token": token, "logprob": -1.0, "bytes": None, "top_logprobs": []}
                                for token in (text[:-1], ".\n\n" if text[-1] == "." else text[-1])
                            ]
                        }
                        if body.get("logprobs")
                        else None,
                    }
                    for index, text in enumerate(texts)
                ],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            },
        )


@pytest.fixture(scope="module")
def one_server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    # Inspect keeps the address of a `vllm/` server for the whole process.
    requests: list[dict[str, Any]] = []
    handler = type("Noting", (Handler,), {"requests": requests})
    with serving(handler) as address:
        yield f"{address}/v1", requests


@pytest.fixture
def server(
    one_server: tuple[str, list[dict[str, Any]]],
) -> tuple[str, list[dict[str, Any]]]:
    one_server[1].clear()
    return one_server


def served(name: str, url: str, **settings: Any) -> Model:
    config = GenerateConfig(**settings)
    return get_model(name, base_url=url, api_key="none", memoize=False, config=config)


def defended(solver: Solver, target: Model, answer_check: str = "1") -> EvalLog:
    """The answer fails its check; of five candidates the third is the best."""
    reward = Scripted(lambda call: "9" if "sentence 2" in call.text else answer_check, "reward")
    roles = {"reward": reward, "image_safety": Scripted("yes", "looker")}
    return run_solver(solver, sample("How?", *PICTURES), target, roles)


@pytest.mark.parametrize(
    ("name", "options", "keep_stop"),
    [
        ("vllm/m", {}, "include_stop_str_in_output"),
        ("sglang/m", {}, "no_stop_trim"),
        ("openai-api/scripted/m", {"server": "vllm"}, "include_stop_str_in_output"),
        ("openai-api/scripted/m", {"server": "sglang"}, "no_stop_trim"),
    ],
)
def test_servers_are_told_all_that_decoding_needs(
    name: str, options: Any, keep_stop: str, server: tuple[str, list[dict[str, Any]]]
) -> None:
    """To continue, to keep the stop string, and how to sample, independent of the checkpoint."""
    url, requests = server
    log = defended(eta(**options), served(name, url, extra_body={"min_p": 0.1}))
    assert answer_of(log) == f"{PREFIX}, sentence 2.\n\n The end"
    assert record_of(log).failure is None
    vanilla, first, second = requests
    assert vanilla["messages"][-1]["role"] == "user"
    assert not {"n", "temperature", "top_k"} & vanilla.keys()
    for body, text, limit in (
        (first, PREFIX, 69),
        (second, f"{PREFIX}, sentence 2.\n\n", 70),
    ):
        assert [message["role"] for message in body["messages"]] == ["user", "assistant"]
        *images, request = body["messages"][0]["content"]
        assert [part["image_url"]["url"] for part in images] == PICTURES
        assert request["type"] == "text"
        assert body["messages"][1]["content"] == text
        assert body["continue_final_message"] is True
        assert body["add_generation_prompt"] is False
        assert (body["n"], body["temperature"], body["top_p"], body["top_k"]) == (5, 1.5, 1.0, 5)
        assert body["stop"] == ["."]
        assert body[keep_stop] is True
        assert body["min_p"] == 0.1  # the user's own
        assert body["repetition_penalty"] == 1.0
        assert limit in (body.get("max_tokens"), body.get("max_completion_tokens"))


@pytest.mark.parametrize(
    ("name", "options", "known"),
    [
        ("vllm/m", {}, {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}),
        ("openai-api/scripted/m", {"server": "sglang"}, {"top_k": -1, "min_p": 0.0}),
        ("openai-api/scripted/m", {}, {}),
    ],
)
def test_whole_answers_are_drawn_as_each_provider_can_be_told(
    name: str, options: Any, known: dict[str, Any], server: tuple[str, list[dict[str, Any]]]
) -> None:
    url, requests = server
    defended(eta(decoding="response", n=3, **options), served(name, url))
    _, *drawn = requests
    assert len(drawn) == 3
    for body in drawn:
        assert (body["temperature"], body["top_p"]) == (1.0, 1.0)
        assert {field: body[field] for field in known} == known
        if not known:
            # `transformers serve`, for example, answers this with an error.
            assert not {"top_k", "min_p", "repetition_penalty"} & body.keys()


def test_candidates_that_are_all_the_same_are_a_failure(
    server: tuple[str, list[dict[str, Any]]],
) -> None:
    url, _ = server
    log = defended(eta(decoding="response", n=3), served("openai-api/scripted/m", url))
    assert answer_of(log) == "Vanilla."
    assert record_of(log).failure == "equal_candidates"
    assert record_of(log).triggered
    log = defended(eta(decoding="response", n=1), served("openai-api/scripted/m", url))
    assert record_of(log).failure is None  # one candidate alone equals no other


def test_sentences_that_are_all_the_same_are_a_failure(
    server: tuple[str, list[dict[str, Any]]],
) -> None:
    """All must be equal in every round: equal short ends are not enough."""
    same = [choices(f"Same {number}.", f"Same {number}.") for number in range(2)]
    end = choices("End", "End")
    for rounds, wanted in (
        ([*same, end], "equal_candidates"),
        ([choices("One.", "Two."), *same, end], None),
    ):
        queue = list(rounds)
        target = Scripted(
            lambda call, queue=queue: queue.pop(0) if call.roles[-1] == "assistant" else "No."
        )
        log = defended(eta(continues=True, n=2), target)
        assert record_of(log).failure == wanted


def test_a_server_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match=r"-S server=tgi is not known"):
        eta(server="tgi")  # type: ignore[arg-type]
