"""The hook of a LiteLLM gateway: recorded requests, and some of our own that need no files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.scripted import Call, Scripted, picture
from support.serving import Answers, served

from vlmguard.guard.errors import UserError
from vlmguard.guard.serving.app import make_app
from vlmguard.guard.serving.calls import Calls, Kept
from vlmguard.guard.serving.gateway import GATEWAY_PATH, TESTED_LITELLM, Gateway, gateway_lacks
from vlmguard.guard.serving.guarding import Guard
from vlmguard.guard.serving.settings import Settings

RealData = Callable[..., Path]
NEW = "What is safe about it?"
REWRITE = f"<reasoning>A fall.</reasoning><prompt>{NEW}</prompt>"
FOLDER = "litellm_guardrail_payloads"
CASES = [
    "warmup", "text+image", "image-only", "system+image-only", "multi-turn", "multi-turn struct",
    "block", "err500", "err503", "hang", "length mismatch", "images returned", "stream",
    "tool result last", "anthropic messages", "responses", "S1 struct responses",
    "S2 struct anthropic", "S3 add text part to image-only + system", "S4 drop second text part",
    "S5 responses string input", "S6 NONE with texts", "S7 anthropic image only",
    "S8 unknown fields",
]  # fmt: skip
POST_CALL = ["warmup", "P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8"]
IMAGE = {"type": "image_url", "image_url": {"url": picture()}}


def recorded(real_data: RealData, name: str) -> list[dict[str, Any]]:
    file = f"litellm_1.110.2_{name}.jsonl"
    return [json.loads(line) for line in (real_data(FOLDER, file) / file).open()]


def shown(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What a gateway sends of these messages."""
    return {
        "input_type": "request",
        "litellm_call_id": "call-1",
        "litellm_version": f"{TESTED_LITELLM}.2",
        "structured_messages": list(messages),
        "texts": ["?"],
        "images": None,
        "model": "m",
        **more,
    }


def answer(*texts: str, **more: Any) -> dict[str, Any]:
    return shown(input_type="response", structured_messages=None, texts=[*texts], **more)


def said(content: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": content}


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def rewriting() -> dict[str, Scripted]:
    return {"rewriter": Scripted(REWRITE)}


async def posted(client: httpx.AsyncClient, payload: Any) -> dict[str, Any]:
    response = await client.post(GATEWAY_PATH, json=payload)
    assert response.status_code == 200, response.text
    return dict(response.json())


def texts_of(message: dict[str, Any]) -> list[str]:
    content = message["content"]
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content if part["type"] == "text"]


def rest_of(message: dict[str, Any]) -> Any:
    content = message["content"]
    parts = [] if isinstance(content, str) else content
    others = {key: value for key, value in message.items() if key != "content"}
    return others, [part for part in parts if part["type"] != "text"]


@pytest.mark.parametrize("number", range(len(CASES)), ids=CASES)
async def test_recorded_requests_get_answers_that_the_gateway_applies(
    number: int, real_data: RealData
) -> None:
    case = recorded(real_data, "recorded")[number]
    assert case["case"] == CASES[number]
    asked = case["guard_request"]
    if asked is None:
        # The gateway shows no request that is an image alone: nothing can be answered.
        parts = [part["type"] for part in _last_turn(case["upstream"]["body"])]
        assert parts in (["image_url"], ["input_image"])
        return
    assert asked["litellm_version"].startswith(f"{TESTED_LITELLM}.")
    async with served("vlmguard", rewriting(), Answers()) as client:
        told = await posted(client, asked)
    rows = asked["structured_messages"]
    if rows[-1]["role"] == "tool":
        assert told == {"action": "NONE"}
        return
    assert set(told) == {"action", "structured_messages"}
    assert told["action"] == "GUARDRAIL_INTERVENED"
    assert told["structured_messages"][:-1] == rows[:-1]
    assert texts_of(told["structured_messages"][-1]) == [NEW]
    assert rest_of(told["structured_messages"][-1]) == rest_of(rows[-1])


def _last_turn(body: dict[str, Any]) -> list[dict[str, Any]]:
    turns = body.get("messages") or body["input"]
    return list(turns[-1]["content"])


@pytest.mark.parametrize("number", range(len(POST_CALL)), ids=POST_CALL)
async def test_recorded_answers_are_joined_with_their_requests(
    number: int, real_data: RealData
) -> None:
    case = recorded(real_data, "post_call")[number]
    assert case["case"].startswith(POST_CALL[number])
    guard = Scripted("safe")
    options = {"adapter": "llama_guard", "check": "output"}
    asked = [call["body"] for call in case["calls"] if call["to"] == "guard"]
    assert asked
    async with served("guard_model", {"guard": guard}, Answers(), options=options) as client:
        for body in asked:
            response = await client.post(GATEWAY_PATH, json=body)
            known = asked[0]["input_type"] == "request"
            if body["input_type"] == "response" and not known:
                assert response.json()["error"]["code"] == "guard_unavailable"
                assert response.status_code == 503
            else:
                assert (response.status_code, response.json()) == (200, {"action": "NONE"})
    answers = [body for body in asked if body["input_type"] == "response"]
    assert len(guard.calls) == (len(answers) if asked[0]["input_type"] == "request" else 0)
    for call in guard.calls:
        assert "Hello there friend." in str(call.messages)


async def test_only_the_last_user_turn_of_the_rows_changes() -> None:
    rows = [
        {**said("Be brief.", "system"), "name": "ops"},
        said([text("One"), IMAGE]),
        {**said("Fine.", "assistant"), "annotations": [], "x": 1.50},
        {"cache_control": {"type": "ephemeral"}, **said([IMAGE, text("Two", x=[None]), text("?")])},
    ]
    async with served("vlmguard", rewriting(), Answers()) as client:
        told = await posted(client, shown(*rows))
    changed = told["structured_messages"]
    assert changed[:3] == rows[:3]
    assert changed[3] == {**rows[3], "content": [IMAGE, text(NEW, x=[None])]}


async def test_an_image_alone_gets_a_text_and_the_system_text_stays() -> None:
    rows = [said("Be brief.", "system"), said([IMAGE])]
    async with served("vlmguard", rewriting(), Answers()) as client:
        told = await posted(client, shown(*rows, texts=["Be brief."], images=[picture()]))
    assert told["structured_messages"] == [rows[0], said([IMAGE, text(NEW)])]


async def test_what_passes_has_no_texts() -> None:
    copied = {"rewriter": Scripted("<reasoning>Fine.</reasoning>No change needed.")}
    async with served("vlmguard", copied, Answers()) as client:
        assert await posted(client, shown(said("How?"))) == {"action": "NONE"}


async def test_what_is_blocked_says_why() -> None:
    roles, options = {"guard": Scripted("unsafe\nS1")}, {"adapter": "llama_guard"}
    async with served("guard_model", roles, Answers(), options=options) as client:
        told = await posted(client, shown(said("How?")))
    assert told == {"action": "BLOCKED", "blocked_reason": "The guard refused this request."}


async def test_a_guard_that_fails_answers_503_which_the_gateways_own_rule_covers() -> None:
    failing = {"rewriter": Scripted(ConnectionError("down"))}
    async with served("vlmguard", failing, Answers()) as client:
        response = await client.post(GATEWAY_PATH, json=shown(said("How?")))
        assert (response.status_code, response.json()["error"]["code"]) == (
            503,
            "guard_unavailable",
        )
    async with served("vlmguard", failing, Answers(), on_failure="original") as client:
        response = await client.post(GATEWAY_PATH, json=shown(said("How?")))
        assert response.json() == {"action": "NONE"}
        assert response.headers["x-vlmguard-action"] == "error-open"


async def test_in_shadow_mode_nothing_changes() -> None:
    rewriter = Scripted(REWRITE)
    async with served("vlmguard", {"rewriter": rewriter}, Answers(), shadow=True) as client:
        response = await client.post(GATEWAY_PATH, json=shown(said("How?")))
    assert response.json() == {"action": "NONE"}
    assert response.headers["x-vlmguard-action"] == "shadow"
    assert rewriter.calls


async def test_without_rows_one_text_can_be_rewritten_and_several_cannot() -> None:
    async with served("vlmguard", rewriting(), Answers()) as client:
        for rows in (None, []):
            one = shown(structured_messages=rows, texts=["How?"], images=[picture()])
            told = await posted(client, one)
            assert told == {"action": "GUARDRAIL_INTERVENED", "texts": [NEW]}
        two = shown(structured_messages=None, texts=["How?", "Now?"])
        response = await client.post(GATEWAY_PATH, json=two)
        assert response.status_code == 503
        assert "no_place" in response.json()["error"]["message"]


@pytest.mark.parametrize("image", ["/etc/passwd", "http://127.0.0.1/x.png", "https://h/x.png"])
async def test_an_image_that_is_none_is_refused_with_its_reason(image: str) -> None:
    rewriter = Scripted(REWRITE)
    part = {"type": "image_url", "image_url": {"url": image}}
    async with served("vlmguard", {"rewriter": rewriter}, Answers()) as client:
        told = await posted(client, shown(said([part, text("What is it?")])))
    assert told["action"] == "BLOCKED"
    assert "structured_messages.0.content.0" in told["blocked_reason"]
    assert rewriter.calls == []


@pytest.mark.parametrize(
    "payload",
    [{}, {"input_type": "both"}, shown(structured_messages="x"), shown(structured_messages=[{}])],
)
async def test_what_no_gateway_sends_is_a_400(payload: Any) -> None:
    async with served("vlmguard", rewriting(), Answers()) as client:
        response = await client.post(GATEWAY_PATH, json=payload)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_another_version_of_the_gateway_is_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served("vlmguard", rewriting(), Answers()) as client:
        await posted(client, shown(said("How?")))
        assert "LiteLLM" not in caplog.text
        for _ in range(2):
            await posted(client, shown(said("How?"), litellm_version="1.200.0"))
    assert caplog.text.count("1.200") == 1


OUTPUT: dict[str, Any] = {"adapter": "llama_guard", "check": "output"}


def checking(*unsafe: str) -> Scripted:
    def say(call: Call) -> str:
        return "unsafe\nS1" if any(word in str(call.messages) for word in unsafe) else "safe"

    return Scripted(say)


async def test_an_answer_is_checked_with_the_request_of_its_call() -> None:
    guard = checking("the bridge")
    async with served("guard_model", {"guard": guard}, Answers(), options=OUTPUT) as client:
        await posted(client, shown(said("About the bridge?")))
        await posted(client, shown(said("About the tree?"), litellm_call_id="call-2"))
        harmless = await posted(client, answer("Climb it.", litellm_call_id="call-2"))
        harmful = await posted(client, answer("Climb it."))
    assert harmless == {"action": "NONE"}
    assert harmful["action"] == "BLOCKED"
    assert [("bridge" in str(call.messages)) for call in guard.calls] == [False, True]


async def test_another_answer_goes_back_as_a_text() -> None:
    roles = {"detector": Scripted("UNSAFE"), "detoxifier": Scripted("Take care.")}
    async with served("mllm_protector", roles, Answers()) as client:
        await posted(client, shown(said("How?")))
        told = await posted(client, answer("Jump."))
    assert told == {"action": "GUARDRAIL_INTERVENED", "texts": ["Take care."]}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (answer("Jump.", litellm_call_id="other"), "unknown_call"),
        (answer("Jump.", litellm_call_id=None), "unknown_call"),
        (answer("Jump.", "Run."), "several_answers"),
    ],
)
async def test_an_answer_that_cannot_be_judged_follows_the_rule_for_failures(
    payload: Any, reason: str
) -> None:
    for rule, status in (("refuse", 503), ("original", 200)):
        guard = checking()
        settings: dict[str, Any] = {"options": OUTPUT, "on_failure": rule}
        async with served("guard_model", {"guard": guard}, Answers(), **settings) as client:
            await posted(client, shown(said("How?")))
            response = await client.post(GATEWAY_PATH, json=payload)
        assert response.status_code == status
        assert guard.calls == []
        if status == 503:
            assert reason in response.json()["error"]["message"]
        else:
            assert response.headers["x-vlmguard-action"] == "error-open"


async def test_tool_calls_and_no_text_pass_without_a_check() -> None:
    guard = checking("")
    async with served("guard_model", {"guard": guard}, Answers(), options=OUTPUT) as client:
        await posted(client, shown(said("How?")))
        for payload in (answer("Let me look.", tool_calls=[{"id": "1"}]), answer()):
            assert await posted(client, payload) == {"action": "NONE"}
    assert guard.calls == []


async def test_of_two_requests_under_one_id_no_answer_is_judged_as_the_others() -> None:
    guard = checking("bridge")
    async with served("guard_model", {"guard": guard}, Answers(), options=OUTPUT) as client:
        await posted(client, shown(said("About the bridge?")))
        await posted(client, shown(said("About the tree?")))
        response = await client.post(GATEWAY_PATH, json=answer("Climb it."))
        assert response.status_code == 503
        # Once an answer has come, a client may use its id again.
        for about in ("tree", "bridge"):
            await posted(client, shown(said(f"About the {about}?"), litellm_call_id="again"))
            told = await posted(client, answer("Climb it.", litellm_call_id="again"))
            assert told["action"] == ("BLOCKED" if about == "bridge" else "NONE")


def test_requests_are_remembered_within_bounds() -> None:
    now = 0.0
    calls = Calls(seconds=10, count=3, size=10, now=lambda: now)

    def keep(name: str, messages: str) -> None:
        kept = Kept(None, None, None, messages, len(messages))  # type: ignore[arg-type]
        calls.keep(name, kept)

    for name in "abcd":
        keep(name, "1")
    assert [name for name in "abcd" if calls.find(name)] == ["b", "c", "d"]
    keep("e", "12345678")
    assert [name for name in "bcde" if calls.find(name)] == ["c", "d", "e"]
    keep("large", "1" * 11)
    assert calls.find("large") is None
    keep("f", "1")
    now = 10.5
    assert calls.find("f") is None
    assert len(calls) == 0
    keep("", "1")
    assert len(calls) == 0


@pytest.mark.parametrize(
    ("defense", "options", "roles", "why"),
    [
        ("ecso", {}, [], "asks the model itself"),
        ("caption_only", {}, [], "asks the model itself"),
        ("smooth", {}, [], "asks the model itself"),
        ("coca", {}, [], "scores"),
        ("eta", {"trust_remote_code": True}, [], "continues a prefix"),
        ("mllm_protector", {"budget": "authors"}, ["detector"], "sets the length of answers"),
    ],
)
async def test_a_defense_that_a_gateway_cannot_serve_is_refused(
    defense: str, options: dict[str, Any], roles: list[str], why: str
) -> None:
    models = {role: Scripted("SAFE") for role in roles}
    bound = {role: model.model for role, model in models.items()}
    with pytest.raises(UserError, match=why):
        make_app(Settings(defense, options=options, roles=bound))
    # In front of a model it is served, and says at the gateway's path why not there.
    if defense not in ("coca", "eta"):
        async with served(defense, models, Answers(), options=options) as client:
            response = await client.post(GATEWAY_PATH, json=shown(said("How?")))
        assert (response.status_code, response.json()["error"]["code"]) == (501, "not_served")


@pytest.mark.parametrize(("check", "refused"), [("output", True), ("input", False)])
def test_answers_are_not_joined_over_several_workers(check: str, refused: bool) -> None:
    options = {"adapter": "llama_guard", "check": check}
    settings = Settings(
        "guard_model", options=options, roles={"guard": Scripted("safe").model}, workers=2
    )
    assert ("--workers 1" in gateway_lacks(Guard(settings))) is refused
    if refused:
        with pytest.raises(UserError, match="another worker"):
            make_app(settings)
    else:
        make_app(settings)


def test_roles_of_their_own_make_defenses_fit_for_a_gateway() -> None:
    captioner = Scripted("A rope.").model
    settings = Settings("caption_only", roles={"captioner": captioner})
    assert Gateway(Guard(settings))
    make_app(settings)
