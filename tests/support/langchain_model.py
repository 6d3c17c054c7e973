"""A LangChain model that follows a script and notes what it got."""

from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

Script = Callable[[list[BaseMessage]], AIMessage]


class ScriptedChat(BaseChatModel):
    """The model.

    Attributes:
        script: Gives the answer to messages.
        asked: The messages of each call, in order.
        settings: The settings of each call.
    """

    script: Script
    asked: list[list[BaseMessage]] = Field(default_factory=list)
    settings: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.asked.append(list(messages))
        self.settings.append(kwargs)
        return ChatResult(generations=[ChatGeneration(message=self.script(messages))])

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        self.asked.append(list(messages))
        self.settings.append(kwargs)
        answer = self.script(messages)
        for word in str(answer.content).split(" "):
            piece = ChatGenerationChunk(message=AIMessageChunk(f"{word} "))
            if run_manager:
                run_manager.on_llm_new_token(word, chunk=piece)
            yield piece
