"""The sampling settings that our calls send, by provider."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from inspect_ai.model import GenerateConfig, Model, get_model
from support.openai_server import Server, openai_server
from support.scripted import picture, record_of, run_solver, sample

from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.rewriter import Rewriter
from vlmguard.guard.roles import defaults_for
from vlmguard.guard.sampling import in_full, refuses_sampling
from vlmguard.scorers.asking import ask
from vlmguard.solvers import ecso, mllm_protector, rethink
from vlmguard.solvers.eta.roles import graded
from vlmguard.training.synthesis.answers import sample_answers
from vlmguard.training.synthesis.parsing import Report
from vlmguard.training.synthesis.prompts import ask_stage

FIELDS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
GREEDY = {"temperature": 0.0, "top_p": 1.0}
OPEN = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}

SERVERS = ["vllm/sampled", "sglang/sampled"]
OTHERS = ["openai-api/scripted/m", "openai/gpt-4o"]


def script(text: str, messages: list[dict[str, Any]]) -> str:
    """Every check finds harm, so that a defense makes all its calls; a sample is empty."""
    if "yes or no only" in text:
        return "Yes"
    if "SAFE or UNSAFE" in text:
        return "UNSAFE"
    if (
        text == "<reasoning>" or "what you write between" in text
    ):  # begun by us, if the server continues
        return "Fine.</reasoning><prompt>How?</prompt>"
    return "" if text == "Sample?" else "1"


@pytest.fixture(scope="module")
def one_server() -> Iterator[Server]:
    # Inspect keeps the address of a `vllm/` server for the whole process.
    with openai_server(script) as server:
        yield server


@pytest.fixture
def server(one_server: Server) -> Server:
    one_server.requests.clear()
    return one_server


def served(name: str, server: Server, **settings: Any) -> Model:
    return get_model(
        name,
        base_url=server.url,
        api_key="none",
        memoize=False,
        config=GenerateConfig(**settings),
        **({"responses_api": False} if name.startswith("openai/") else {}),
    )


def stated(body: dict[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in FIELDS if name in body}


async def rewriting(model: Model) -> None:
    await Rewriter(model).rewrite(None, "How?")


async def judging(model: Model) -> None:
    await ask(model, "{request} {answer}", [], request="How?", answer="So.")


async def grading(model: Model) -> None:
    await graded(model, "Be good.", ["So."], DefenseRecord(), "answer_check")


async def synthesis(model: Model) -> None:
    await ask_stage(model, "{request}", [], Report, structured=False, request="How?")


CALLS: list[Callable[[Model], Awaitable[None]]] = [
    rewriting,
    judging,
    grading,
    synthesis,
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", [*SERVERS, *OTHERS])
async def test_greedy_calls_leave_nothing_to_the_server(
    name: str, call: Callable[[Model], Awaitable[None]], server: Server
) -> None:
    await call(served(name, server))
    (body,) = server.requests
    assert stated(body) == GREEDY | (OPEN if name in SERVERS else {})


@pytest.mark.parametrize("name", SERVERS)
async def test_what_the_user_says_wins(name: str, server: Server) -> None:
    body = {"repetition_penalty": 1.05, "chat_template_kwargs": {"enable_thinking": False}}
    model = served(name, server, extra_body=body, top_k=20, top_p=0.9, temperature=0.6)
    await rewriting(model)
    (sent,) = server.requests
    wanted = {"temperature": 0.6, "top_p": 0.9, "top_k": 20, "min_p": 0.0}
    assert stated(sent) == wanted | {"repetition_penalty": 1.05}
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    # Inspect changes the settings passed to it; the model's own settings stay unchanged.
    assert model.config.extra_body == body


@pytest.mark.parametrize("name", SERVERS)
def test_checks_of_defenses_leave_nothing_to_the_server(name: str, server: Server) -> None:
    for defense, checks in ((ecso(), 3), (mllm_protector(), 2)):
        server.requests.clear()
        roles = {role: served(name, server) for role in ("detector", "detoxifier")}
        run_solver(defense, sample("How?", picture()), served(name, server), roles)
        # The answer has the run's own settings.
        assert [stated(body) for body in server.requests] == [{}, *[GREEDY | OPEN] * checks]


@pytest.mark.parametrize("name", [*SERVERS, "openai-api/scripted/m"])
def test_servers_get_no_setting_of_the_answer_with_a_check(name: str, server: Server) -> None:
    # Not an empty one either: some servers refuse `stop: []`.
    form: dict[str, Any] = {"stop_seqs": ["END"], "logprobs": True, "top_logprobs": 2}
    log = run_solver(rethink(), sample("How?", picture()), served(name, server), **form)
    assert record_of(log).failure
    answer, question = server.requests
    sent = {"stop", "logprobs", "top_logprobs"}
    assert sent <= answer.keys()
    assert not {*sent, "n"} & question.keys()


@pytest.mark.parametrize("name", SERVERS)
async def test_a_second_try_is_drawn_from_everything(name: str, server: Server) -> None:
    await ask_stage(
        served(name, server, top_p=0.5), "{request}", [], Report, temperature=1.0, request="How?"
    )
    (body,) = server.requests
    assert stated(body) == {"temperature": 1.0, "top_p": 0.5} | OPEN
    assert body["response_format"]["type"] == "json_schema"


async def test_sampled_answers_are_drawn_from_everything(server: Server) -> None:
    await sample_answers(served("vllm/sampled", server), [], "Sample?", 2)
    assert [stated(body) for body in server.requests] == [GREEDY | {"temperature": 1.0} | OPEN] * 2


async def test_models_that_refuse_are_not_told(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for name in ("openai-api/scripted/gpt-5", "openai-api/scripted/anthropic.claude-opus-5"):
            await rewriting(served(name, server))
    assert [stated(body) for body in server.requests] == [{}, {}]
    assert "gpt-5 refuses sampling settings: it answers under its own." in caplog.text
    # Inspect omits settings that the model refuses, and says so.
    config = defaults_for(served("openai/o3", server), GenerateConfig(temperature=0.0))
    assert (config.temperature, config.top_p) == (0.0, None)
    await rewriting(served("openai/o3", server))
    assert stated(server.requests[-1]) == {}


@pytest.mark.parametrize(
    "name", ["claude-3.5-sonnet", "claude-3-haiku", "us.anthropic.claude-sonnet-4-20250514-v1:0"]
)
async def test_claude_behind_another_api_is_asked_greedily(name: str, server: Server) -> None:
    await rewriting(served(f"openai-api/scripted/anthropic/{name}", server))
    (sent,) = server.requests
    # It takes temperature or top_p, not both.
    assert stated(sent) == {"temperature": 0.0}


@pytest.mark.parametrize(
    ("name", "refuses"),
    [
        *((f"claude-{name}", False) for name in ("2.1", "3.7-sonnet", "opus-4.1", "haiku-4-5")),
        *((f"claude-opus-{name}", False) for name in ("4@20250514", "4-1-20250805", "4-6")),
        *((f"claude-opus-{name}", True) for name in ("4.7", "4-8-v1:0", "4-10", "5", "5-1")),
        *((f"claude-{name}-5", True) for name in ("sonnet", "fable")),
        ("gpt-4o", False),
    ],
)
def test_versions_of_claude(name: str, refuses: bool, server: Server) -> None:
    assert refuses_sampling(served(f"openai-api/scripted/{name}", server)) is refuses


def test_ecso_notes_that_its_checks_are_sampled(server: Server) -> None:
    for name, noted in (("gpt-5", ["sampling: the target's own"]), ("m", [])):
        target = served(f"openai-api/scripted/{name}", server)
        record = record_of(run_solver(ecso(), sample("How?", picture()), target))
        assert record.approximations == noted


def test_what_is_stated_twice_stays() -> None:
    model = get_model("mockllm/model", memoize=False)
    config = GenerateConfig(temperature=1.0, top_k=5)
    once = in_full(model, config, "vllm")
    assert in_full(model, once, "vllm") == once
    assert once.extra_body == {"top_k": 5, "min_p": 0.0, "repetition_penalty": 1.0}
    assert in_full(model, config).extra_body is None
