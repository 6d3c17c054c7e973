"""Scripted models that note every request, and in-process runs of a solver.

target = Scripted(lambda call: "yes" if "harmful" in call.text else "An answer.")
log = run_solver(ecso(), [sample("How?", picture())], target, roles={...})
assert target.calls[0].images == 1
record = record_of(log)
"""

import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentText,
    GenerateConfig,
    Logprob,
    Logprobs,
    Model,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.solver import Solver
from PIL import Image
from support import contrasting as contrasting  # registers the provider

from vlmguard.guard.images.prepare import to_data_uri
from vlmguard.guard.record import DefenseRecord

USAGE = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
# Removed when the tests end: a log is needed after its run, but not longer.
_LOGS = tempfile.TemporaryDirectory(prefix="scripted-")


@dataclass(frozen=True)
class Call:
    """One request that a model got.

    Attributes:
        messages: The messages.
        config: The settings of the request.
    """

    messages: list[ChatMessage]
    config: GenerateConfig

    @property
    def text(self) -> str:
        """Text of the last message."""
        return self.messages[-1].text

    @property
    def images(self) -> list[str]:
        """Images over all messages, in order."""
        return [
            part.image
            for message in self.messages
            if isinstance(message.content, list)
            for part in message.content
            if isinstance(part, ContentImage)
        ]

    @property
    def parts(self) -> list[str]:
        """Kinds of the last message's parts, in order."""
        content = self.messages[-1].content
        return ["text"] if isinstance(content, str) else [part.type for part in content]

    @property
    def roles(self) -> list[str]:
        """Roles of the messages, in order."""
        return [message.role for message in self.messages]


Reply = str | ModelOutput | Exception
Script = Reply | Callable[[Call], Reply]


@dataclass
class Scripted:
    """A model that follows a script.

    Attributes:
        script: One reply for every request, or a function that makes it; an exception is raised.
        name: Name of the model.
        provider: `mockllm`, or `contrasting` for one whose scores can be combined.
        calls: Its requests, in order.
    """

    script: Script
    name: str = "target"
    provider: str = "mockllm"
    calls: list[Call] = field(default_factory=list)

    @property
    def model(self) -> Model:
        """The model, new each time."""
        return get_model(f"{self.provider}/{self.name}", custom_outputs=self.reply, memoize=False)

    def reply(
        self, messages: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        call = Call(list(messages), config)
        self.calls.append(call)
        reply = self.script(call) if callable(self.script) else self.script
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, str):
            reply = ModelOutput.from_content(self.name, reply)
        if reply.usage is None:
            # Without usage, the mock fetches a tokenizer to count.
            reply = reply.model_copy(update={"usage": USAGE})
        return reply


def choices(
    *texts: str | tuple[str, str], tokens: int | None = None, spelled: Sequence[list[str]] = ()
) -> ModelOutput:
    """An output with several choices; a tuple holds text and stop reason (else `stop`).

    `spelled` are the tokens of each choice, for a server that tells them with their
    log-probabilities.
    """
    pairs = [text if isinstance(text, tuple) else (text, "stop") for text in texts]
    written = 5 * len(pairs) if tokens is None else tokens
    return ModelOutput(
        model="target",
        choices=[
            ChatCompletionChoice(
                message=ChatMessageAssistant(content=text),
                stop_reason=reason,  # type: ignore[arg-type]
                logprobs=Logprobs(content=[Logprob(token=each, logprob=-1.0) for each in noted])
                if noted
                else None,
            )
            for (text, reason), noted in zip_longest(pairs, spelled)
        ],
        usage=ModelUsage(input_tokens=10, output_tokens=written, total_tokens=10 + written),
    )


def picture(colour: str = "red") -> str:
    """A small image as a data URI."""
    buffer = io.BytesIO()
    Image.new("RGB", (24, 24), colour).save(buffer, format="PNG")
    return to_data_uri(buffer.getvalue())


def user(text: str, *images: str) -> ChatMessageUser:
    """A user turn: images, then text."""
    content: list[Content] = [ContentImage(image=image) for image in images]
    return ChatMessageUser(content=[*content, ContentText(text=text)])


def sample(text: str, *images: str) -> Sample:
    """A sample of one user turn."""
    return Sample(id="s/1", input=[user(text, *images)])


def run_solver(
    solver: Solver | None,
    samples: Sequence[Sample] | Sample,
    target: Scripted | Model,
    roles: Mapping[str, Scripted | Model] | None = None,
    **options: Any,
) -> EvalLog:
    """Evaluate samples with a solver in this process.

    Args:
        solver: The defense; None for plain generation.
        samples: One sample or more.
        target: The evaluated model.
        roles: Models bound to roles.
        **options: For `inspect_ai.eval`.
    """
    (log,) = inspect_eval(
        Task(dataset=[samples] if isinstance(samples, Sample) else list(samples)),
        solver=solver,
        model=_model(target),
        model_roles={name: _model(role) for name, role in (roles or {}).items()},
        display="none",
        log_dir=tempfile.mkdtemp(dir=_LOGS.name),
        **{"log_realtime": False, **options},  # nobody watches
    )
    return log


def _model(given: Scripted | Model) -> Model:
    return given.model if isinstance(given, Scripted) else given


def answer_of(log: EvalLog) -> str:
    """The answer to the only sample of a successful run."""
    assert log.status == "success", log.error and log.error.message
    assert log.samples is not None
    (only,) = log.samples
    return only.output.completion


def record_of(log: EvalLog) -> DefenseRecord:
    """The defense record of the only sample of a successful run."""
    assert log.status == "success", log.error and log.error.message
    assert log.samples is not None
    (only,) = log.samples
    return DefenseRecord.of(only)


def message_of(log: EvalLog) -> str:
    """The error of a run that failed."""
    assert log.status == "error", log.status
    assert log.error is not None
    return log.error.message
