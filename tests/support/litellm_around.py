"""A real LiteLLM gateway with what stands around it: a model, the guard's models, guards.

around.ask("rewriting", "How?")    # by the `openai` client, behind the guardrail of that name
around.sent                        # the messages that the model behind the gateway got
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
from support.api_answers import ApiAnswers
from support.guard_process import guard_process
from support.litellm_gateway import KEY, gateway, models
from support.load.processes import free_port
from support.openai_server import Server, openai_server
from support.scripted import picture
from support.serving import Answers
from support.threaded import threaded

ANSWER = "This is an answer."
SAFE = "How do I climb it safely?"
REWRITTEN = f"<reasoning>A fall.</reasoning><prompt>{SAFE}</prompt>"
CLASS = "vlmguard.integrations.litellm.VLMGuardrail"

IN_PROCESS = f"""
guardrails:
  - guardrail_name: rewriting
    litellm_params:
      guardrail: {CLASS}
      mode: pre_call
      models: {{rewriter: openai-api/scripted/rewriter}}
      on_failure: refuse
  - guardrail_name: hasty
    litellm_params:
      guardrail: {CLASS}
      mode: pre_call
      models: {{rewriter: openai-api/scripted/rewriter}}
      on_failure: refuse
      timeout: 2
  - guardrail_name: lenient
    litellm_params:
      guardrail: {CLASS}
      mode: pre_call
      models: {{rewriter: openai-api/scripted/rewriter}}
      on_failure: original
      timeout: 2
  - guardrail_name: filtering
    litellm_params:
      guardrail: {CLASS}
      mode: [pre_call, post_call]
      defense: guard_model
      options: {{adapter: llama_guard, check: both}}
      models: {{guard: openai-api/scripted/guard}}
      on_failure: refuse
  - guardrail_name: strict
    litellm_params:
      guardrail: {CLASS}
      mode: [pre_call, post_call]
      defense: guard_model
      options: {{adapter: llama_guard, check: both}}
      models: {{guard: openai-api/scripted/guard}}
      on_failure: refuse
      block_status: 400
  - guardrail_name: beside
    litellm_params:
      guardrail: {CLASS}
      mode: during_call
      models: {{rewriter: openai-api/scripted/rewriter}}
      on_failure: refuse
  - guardrail_name: self_checking
    litellm_params:
      guardrail: {CLASS}
      mode: [pre_call, post_call]
      defense: ecso
      on_failure: refuse
"""

BY_HTTP = """
  - guardrail_name: open
    litellm_params:
      guardrail: generic_guardrail_api
      mode: pre_call
      api_base: REWRITING
      unreachable_fallback: fail_open
  - guardrail_name: gone
    litellm_params:
      guardrail: generic_guardrail_api
      mode: pre_call
      api_base: http://127.0.0.1:9
      unreachable_fallback: fail_open
  - guardrail_name: asked
    litellm_params:
      guardrail: generic_guardrail_api
      mode: [pre_call, post_call]
      api_base: FILTERING
  - guardrail_name: buffered
    litellm_params:
      guardrail: generic_guardrail_api
      mode: [pre_call, post_call]
      api_base: FILTERING
      streaming_buffer_until_moderated: true
"""
"""Guardrails of the guard's servers; the words in capitals are their addresses."""


@dataclass
class Around:
    """A gateway with all guardrails, and what is around it.

    Attributes:
        client: Its client.
        upstream: The model behind it.
        helper: The models that the guard asks.
    """

    client: openai.OpenAI
    upstream: Answers
    helper: Server

    def ask(
        self, guardrail: str | None, content: Any, *earlier: dict[str, Any], **more: Any
    ) -> Any:
        """Ask for a chat completion; without a guardrail behind those that are always on."""
        return self.chat(guardrail, [*earlier, {"role": "user", "content": content}], **more)

    def chat(self, guardrail: str | None, messages: list[Any], **more: Any) -> Any:
        """The same for any messages."""
        body = {**more.pop("extra_body", {}), **_named(guardrail)}
        return self.client.chat.completions.create(
            model="m", messages=messages, extra_body=body, **more
        )

    def post(
        self, path: str, content: Any, guardrail: str | None = None, **more: Any
    ) -> httpx.Response:
        """Post a user's message to another endpoint."""
        messages = [{"role": "user", "content": content}]
        body = {"max_tokens": 50, "messages": messages, **_named(guardrail), **more}
        headers = {"authorization": f"Bearer {KEY}"}
        return httpx.post(f"{self.client.base_url}{path}", json=body, headers=headers, timeout=60)

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The messages of the only request that the upstream got."""
        (asked,) = self.upstream.asked
        messages: list[dict[str, Any]] = asked["messages"]
        return messages

    def renewed(self) -> "Around":
        """The same, for the next test."""
        self.upstream.bodies.clear()
        self.upstream.text = ANSWER
        self.helper.requests.clear()
        self.helper.fail.clear()
        return self


@contextmanager
def surrounded(guardrails: str, folder: Path) -> Iterator[Around]:
    """A gateway, until the block ends.

    Args:
        guardrails: The part of its configuration; in capitals (REWRITING, FILTERING) the addresses
            of two servers of the guard, which run if they are named.
        folder: Where files are put.
    """
    upstream = ApiAnswers(ANSWER)
    with ExitStack() as stack:
        helper = stack.enter_context(openai_server(_say))
        address = stack.enter_context(threaded(upstream.app))
        servers = {
            "REWRITING": ["--rewriter", "openai-api/scripted/rewriter", "--guard-timeout", "2"],
            "FILTERING": [
                *("--defense", "guard_model", "-S", "adapter=llama_guard", "-S", "check=both"),
                *("--model-role", "guard=openai-api/scripted/guard"),
            ],
        }
        running: list[AbstractContextManager[Any]] = []
        for name, given in servers.items():
            if name in guardrails:
                port = free_port()
                command = [*given, "--on-failure", "refuse"]
                running.append(guard_process(command, port, folder, helper.environment()))
                guardrails = guardrails.replace(name, f"http://127.0.0.1:{port}")
        config = models(address) + guardrails
        running.append(gateway(config, folder, helper.environment()))
        # All at once: most of a start is imports.
        with ThreadPoolExecutor() as pool:
            *_, client = pool.map(stack.enter_context, running)
        yield Around(client, upstream, helper)


def image(colour: str = "red") -> dict[str, Any]:
    """An image part."""
    return {"type": "image_url", "image_url": {"url": picture(colour)}}


def words(text: str) -> dict[str, Any]:
    """A text part."""
    return {"type": "text", "text": text}


def said_in(chunks: list[Any]) -> str:
    """The text of a stream, without spaces: the upstream's chunks are words."""
    parts = [each.choices[0].delta.content or "" for each in chunks if each.choices]
    return "".join(parts).replace(" ", "")


def _named(guardrail: str | None) -> dict[str, Any]:
    return {} if guardrail is None else {"guardrails": [guardrail]}


def _say(text: str, messages: list[dict[str, Any]]) -> str:
    """A rewriter that always rewrites, and a guard that finds one word."""
    if "<prompt>" in json.dumps(messages):
        return REWRITTEN
    return "unsafe\nS1" if "poison" in text else "safe"
