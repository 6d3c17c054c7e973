"""Turns generated tokens into Inspect's output."""

from dataclasses import asdict, dataclass

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessageAssistant,
    Content,
    ContentReasoning,
    ContentText,
    Logprob,
    Logprobs,
    ModelCall,
    ModelOutput,
    ModelUsage,
    StopReason,
    TopLogprob,
)
from pydantic import JsonValue

from vlmguard.guard.hf_vlm.generate import Generated, Settings
from vlmguard.guard.hf_vlm.messages import Conversation, split_reasoning
from vlmguard.guard.hf_vlm.prepared import Prepared
from vlmguard.guard.hf_vlm.processor import PromptMaker

LOGPROBS_COMBINED = "log-probabilities are those of the two readings' combined scores"
LOGPROBS_ADJUSTED = "log-probabilities are those after the checkpoint's own %s"


@dataclass(frozen=True)
class Request:
    """A request, as far as its answer's output needs it.

    Attributes:
        model: Name of the model.
        maker: The processor that prepared the prompt.
        conversation: The messages.
        readings: The prompt, and the second one of a `contrast`.
        settings: How it was generated.
        adapter: Name of the adapter; None for the base alone.
        rules: The checkpoint's own rules of generation that applied.
        room: Tokens that the context had left.
    """

    model: str
    maker: PromptMaker
    conversation: Conversation
    readings: list[Prepared]
    settings: Settings
    adapter: str | None
    rules: dict[str, JsonValue]
    room: int


def make_output(request: Request, sequences: list[Generated]) -> tuple[ModelOutput, ModelCall]:
    """Inspect's output, and the call for the log, from one sequence for each choice.

    Not for the event loop: with log-probabilities it decodes thousands of tokens.
    """
    (prepared, *others), settings = request.readings, request.settings
    new_tokens = sum(len(sequence.tokens) for sequence in sequences)
    read = sum(len(reading.ids) for reading in request.readings)
    notes = list(request.conversation.notes)
    if settings.logprobs and settings.contrast is not None:
        notes.append(LOGPROBS_COMBINED)
    if settings.logprobs and request.rules:
        notes.append(LOGPROBS_ADJUSTED % ", ".join(request.rules))
    output = ModelOutput(
        model=request.model,
        choices=[_choice(request, sequence) for sequence in sequences],
        usage=ModelUsage(
            input_tokens=read,
            output_tokens=new_tokens,
            total_tokens=read + new_tokens,
        ),
        metadata={"finish": [sequence.finish for sequence in sequences]}
        | ({"notes": notes} if notes else {}),
    )
    call = ModelCall.create(
        request={
            "prompt": prepared.text,
            **({"prompt_without": others[0].text} if others else {}),
            "images": prepared.shown,
            "settings": asdict(settings),
            "checkpoint_settings": request.rules,
            "adapter": request.adapter,
        },
        response={"tokens": [sequence.tokens for sequence in sequences]},
        time=max(sequence.seconds for sequence in sequences),
    )
    return output, call


def _choice(request: Request, sequence: Generated) -> ChatCompletionChoice:
    conversation, settings = request.conversation, request.settings
    prepared = request.readings[0]
    text = request.maker.decode(prepared, sequence.tokens)
    if sequence.finish == "stop_string":
        text = _cut_after_stop(text, settings.stop)
    if conversation.prefix_space:
        text = text.lstrip()
    opened = _opens_reasoning(conversation.prefix or prepared.text)
    reasoning, answer = split_reasoning(text, opened=opened)
    content: str | list[Content] = answer
    if reasoning is not None:
        content = [ContentReasoning(reasoning=reasoning), ContentText(text=answer)]
    stop_reason: StopReason = "stop"
    if sequence.finish == "length":
        stop_reason = "model_length" if settings.max_tokens > request.room else "max_tokens"
    return ChatCompletionChoice(
        message=ChatMessageAssistant(content=content, model=request.model, source="generate"),
        stop_reason=stop_reason,
        logprobs=_logprobs(request.maker, sequence) if settings.logprobs else None,
    )


def _logprobs(maker: PromptMaker, sequence: Generated) -> Logprobs:
    """Log-probabilities, without `bytes`: a token that is a part of a character has no text."""
    entries = zip(sequence.tokens, sequence.logprobs, sequence.alternatives, strict=True)
    return Logprobs(
        content=[
            Logprob(
                token=maker.token_text(token),
                logprob=logprob,
                top_logprobs=[
                    TopLogprob(token=maker.token_text(other), logprob=value)
                    for other, value in alternatives
                ]
                or None,
            )
            for token, logprob, alternatives in entries
        ]
    )


def _cut_after_stop(text: str, stop: tuple[str, ...]) -> str:
    """Drop the text of the last token after the stop string."""
    ends = [text.find(string) + len(string) for string in stop if string in text]
    return text[: min(ends)] if ends else text


def _opens_reasoning(before: str) -> bool:
    return before.rstrip().endswith("<think>") or (
        before.rfind("<think>") > before.rfind("</think>") and before.lstrip().startswith("<think>")
    )
