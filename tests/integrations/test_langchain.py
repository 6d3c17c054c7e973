"""The guard around the model of a real LangChain agent, with scripted models."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support.integrations import needs

needs("langchain")

from langchain.agents import create_agent
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool
from support.langchain_model import ScriptedChat
from support.scripted import Scripted, picture

from vlmguard.guard.defense import REFUSAL_MESSAGE
from vlmguard.guard.errors import UserError
from vlmguard.integrations.langchain import GuardRefused, RewriteMiddleware

SAFE = "How do I climb it safely?"
REWRITTEN = f"<reasoning>A fall.</reasoning><prompt>{SAFE}</prompt>"
BASE64 = picture().partition(",")[2]
Run = Callable[..., dict[str, Any]]


def alone(agent: Any, messages: list[Any]) -> dict[str, Any]:
    result: dict[str, Any] = agent.invoke({"messages": messages})
    return result


def inside_a_loop(agent: Any, messages: list[Any]) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        return alone(agent, messages)

    return asyncio.run(run())


def awaited(agent: Any, messages: list[Any]) -> dict[str, Any]:
    result: dict[str, Any] = asyncio.run(agent.ainvoke({"messages": messages}))
    return result


WAYS = pytest.mark.parametrize("run", [alone, inside_a_loop, awaited])


def target(text: str = "An answer.") -> ScriptedChat:
    return ScriptedChat(script=lambda messages: AIMessage(text))


def rewriting(reply: str = REWRITTEN) -> tuple[RewriteMiddleware, Scripted]:
    rewriter = Scripted(reply)
    guard = RewriteMiddleware(models={"rewriter": rewriter.model}, on_failure="refuse")
    return guard, rewriter


def filtering() -> RewriteMiddleware:
    guard = Scripted(lambda call: "unsafe\nS1" if "poison" in call.text else "safe")
    return RewriteMiddleware(
        "guard_model",
        options={"adapter": "llama_guard", "check": "both"},
        models={"guard": guard.model},
        on_failure="refuse",
    )


@WAYS
def test_the_model_gets_the_rewrite_and_the_history_keeps_the_request(run: Run) -> None:
    model, (guard, rewriter) = target(), rewriting()
    agent = create_agent(model, system_prompt="SYS", middleware=[guard])
    earlier = [HumanMessage("What is it?"), AIMessage("A roof.")]
    for _ in range(2):
        state = run(agent, [*earlier, HumanMessage("How do I climb it?")])
        asked = model.asked.pop()
        assert [(each.type, each.content) for each in asked] == [
            ("system", "SYS"),
            ("human", "What is it?"),
            ("ai", "A roof."),
            ("human", SAFE),
        ]
        said = [each.content for each in state["messages"]]
        assert said == ["What is it?", "A roof.", "How do I climb it?", "An answer."]
    assert len(rewriter.calls) == 2


@WAYS
def test_no_empty_message_and_no_unusual_block_hides_a_request(run: Run) -> None:
    model, (guard, rewriter) = target(), rewriting()
    agent = create_agent(model, middleware=[guard])
    hidden = {"type": "input_text", "text": "How do I climb it?"}
    told = HumanMessage([{"type": "text", "text": "How?"}, hidden], id="told")
    run(agent, [told, HumanMessage("", id="empty")])
    (asked,) = model.asked
    assert "How do I climb it?" in rewriter.calls[0].text
    assert [each.id for each in asked] == ["told", "empty"]
    assert (asked[0].content, asked[1].content) == ([{"type": "text", "text": SAFE}], "")


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "base64": BASE64, "mime_type": "image/png", "extras": {"x": 1}},
        {"type": "image", "url": picture()},
        {"type": "image_url", "image_url": {"url": picture(), "detail": "low"}},
        {"type": "image_url", "image_url": picture()},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": BASE64},
        },
    ],
)
def test_images_of_any_form_are_shown_and_stay_the_very_blocks(block: dict[str, Any]) -> None:
    model, (guard, rewriter) = target(), rewriting()
    agent = create_agent(model, middleware=[guard])
    alone(agent, [HumanMessage(content=["How do", block, {"type": "text", "text": "I climb?"}])])
    assert rewriter.calls[0].images == [picture()]
    (turn,) = model.asked[0]
    assert turn.content == [{"type": "text", "text": SAFE}, block]
    alone(agent, [HumanMessage(content=[block])])
    assert rewriter.calls[1].images == [picture()]
    assert model.asked[1][0].content == [block, {"type": "text", "text": SAFE}]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "url": "/etc/passwd"},
        {"type": "image", "url": "file:///etc/passwd"},
        {"type": "image", "path": "/etc/passwd"},
        {"type": "image", "file_id": "file-1"},
        {"type": "image_url", "image_url": {"url": "/etc/passwd"}},
        {"type": "image_url", "image_url": "/etc/passwd"},
        {"type": "image", "url": "https://pictures.example/a.png"},
    ],
)
@WAYS
def test_images_that_are_no_data_are_refused(run: Run, block: dict[str, Any]) -> None:
    model, (guard, rewriter) = target(), rewriting()
    agent = create_agent(model, middleware=[guard])
    with pytest.raises(GuardRefused) as error:
        run(agent, [HumanMessage(content=["What is it?", block])])
    assert error.value.code in ("image_scheme", "remote_image")
    assert "messages.0.content.1" in str(error.value)
    assert "passwd" not in str(error.value)
    assert not model.asked
    assert not rewriter.calls


@WAYS
def test_a_blocked_request_is_answered_without_the_model(run: Run) -> None:
    model = target()
    agent = create_agent(model, middleware=[filtering()])
    state = run(agent, [HumanMessage("Where is poison?")])
    assert state["messages"][-1].content == REFUSAL_MESSAGE
    assert not model.asked


@WAYS
def test_an_answer_is_checked_and_replaced(run: Run) -> None:
    for said, expected in (
        ("It is there.", "It is there."),
        ("Drink poison now.", REFUSAL_MESSAGE),
    ):
        agent = create_agent(target(said), middleware=[filtering()])
        state = run(agent, [HumanMessage("Where is it?")])
        assert state["messages"][-1].content == expected


def test_no_token_of_an_answer_is_streamed_before_it_is_checked() -> None:
    for said, expected in (("It is there.", "It is there."), ("Drink poison.", REFUSAL_MESSAGE)):
        agent = create_agent(target(said), middleware=[filtering()])
        asked = {"messages": [HumanMessage("Where is it?")]}
        pieces = [piece.content for piece, _ in agent.stream(asked, stream_mode="messages")]
        assert "".join(pieces).strip() == expected


def test_a_rewritten_request_still_streams() -> None:
    guard, _ = rewriting()
    agent = create_agent(target("It is there."), middleware=[guard])
    asked = {"messages": [HumanMessage("Where is it?")]}
    pieces = [piece.content for piece, _ in agent.stream(asked, stream_mode="messages")]
    assert len([piece for piece in pieces if piece]) == 3


def test_after_a_tool_nothing_is_rewritten_again() -> None:
    @tool
    def look(place: str) -> str:
        """Look at a place."""
        return f"{place}: a roof"

    def script(messages: list[BaseMessage]) -> AIMessage:
        if isinstance(messages[-1], ToolMessage):
            return AIMessage("A roof.")
        call = {"name": "look", "args": {"place": "here"}, "id": "c1"}
        return AIMessage("", tool_calls=[call])

    model, (guard, rewriter) = ScriptedChat(script=script), rewriting()
    agent = create_agent(model, [look], middleware=[guard])
    state = alone(agent, [HumanMessage("How do I climb it?")])
    assert state["messages"][-1].content == "A roof."
    assert len(rewriter.calls) == 1
    first, second = model.asked
    assert first[0].content == SAFE
    assert [each.content for each in second] == ["How do I climb it?", "", "here: a roof"]


@pytest.mark.parametrize("choice", ["refuse", "original"])
@WAYS
def test_a_guard_that_fails_refuses_or_lets_pass(run: Run, choice: Any) -> None:
    model = target()
    broken = Scripted(RuntimeError("no rewriter"))
    guard = RewriteMiddleware(models={"rewriter": broken.model}, on_failure=choice)
    agent = create_agent(model, middleware=[guard])
    if choice == "refuse":
        with pytest.raises(GuardRefused) as error:
            run(agent, [HumanMessage("How?")])
        assert error.value.code == "guard_unavailable"
        assert not model.asked
    else:
        run(agent, [HumanMessage("How?")])
        assert model.asked[0][0].content == "How?"


@WAYS
def test_a_defense_asks_the_agents_model_itself_with_settings_of_its_own(run: Run) -> None:
    model = ScriptedChat(script=lambda messages: AIMessage("no"))
    agent = create_agent(model, middleware=[RewriteMiddleware("ecso", on_failure="refuse")])
    state = run(agent, [HumanMessage(content=["Where?", {"type": "image", "url": picture()}])])
    assert state["messages"][-1].content == "no"
    assert len(model.asked) == 2
    assert model.settings[1]["temperature"] == 0.0


def test_a_langchain_model_can_be_the_rewriter() -> None:
    model, rewriter = target(), target(REWRITTEN)
    guard = RewriteMiddleware(models={"rewriter": rewriter}, on_failure="refuse")
    alone(create_agent(model, middleware=[guard]), [HumanMessage("How do I climb it?")])
    assert model.asked[0][0].content == SAFE
    assert len(rewriter.asked) == 1


def test_a_text_that_a_defense_adds_as_system_text_comes_first() -> None:
    model = target()
    guard = RewriteMiddleware("safety_prompt", options={"place": "system"}, on_failure="refuse")
    agent = create_agent(model, system_prompt="SYS", middleware=[guard])
    alone(agent, [HumanMessage("How?")])
    (asked,) = model.asked
    assert [each.type for each in asked] == ["system", "system", "human"]
    assert asked[1] == SystemMessage("SYS")
    assert asked[0].content
    assert asked[2].content == "How?"


def test_what_is_done_on_failure_must_be_said() -> None:
    with pytest.raises(UserError, match="on_failure: say what is done"):
        RewriteMiddleware("safety_prompt")
