"""`hf-vlm/CHECKPOINT`: any `AutoModelForImageTextToText` checkpoint as an Inspect model.

Usage:
    inspect eval ... --model hf-vlm/Qwen/Qwen2-VL-7B-Instruct -M max_pixels=1003520
    inspect eval ... --model hf-vlm/out/my-folder -M adapter=out/lora
    --model-role rewriter="{model: hf-vlm/BASE, model_args: {adapter: DIR}}"

Model arguments (`-M`): `adapter` (PEFT folder or hub id), `revision`, `dtype` (auto, float32,
float16, bfloat16), `device`, `device_map`, `attn_implementation`, `min_pixels`, `max_pixels`,
`load_in_4bit`, `load_in_8bit`, `trust_remote_code` (off), `max_batch_size` (32).

What a request gets:
- Greedy decoding unless `temperature` is given and not 0; the checkpoint's own sampling defaults
  are not used. At most `max_tokens` new tokens, 2048 if none are named.
- `seed` fixes the answer of a request whatever stands beside it in a batch; the choices of one
  request differ.
- A stop string stays at the end of the text. `ModelOutput.metadata["finish"]` says for each
  choice how it ended: `eos` (the model's end of text), `stop_string` or `length`.
- A trailing assistant message is the beginning of the answer. The completion is the continuation
  alone, and prefix + completion reads as one text: if the prefix ends in white space, the
  completion starts without any; if not, it starts with the space that belongs there.
- `<think>` text becomes reasoning content.
- A prompt as long as the context or longer gives an empty answer with `stop_reason`
  `model_length`.

Where `--max-connections` is not given Inspect starts with 20 connections and adds more; 64 keeps
batches of 32 full.
"""

import logging
import weakref
from concurrent.futures import Future
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    Content,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelCall,
    ModelOutput,
    ModelUsage,
    StopReason,
    TopLogprob,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from vlmguard.errors import UserError
from vlmguard.hf_vlm.engine import DEFAULT_BATCH_SIZE, Work, acquire, release
from vlmguard.hf_vlm.generate import Sequence, Settings
from vlmguard.hf_vlm.loading import WeightsKey
from vlmguard.hf_vlm.messages import Conversation, split_reasoning, to_conversation
from vlmguard.hf_vlm.processor import Prepared
from vlmguard.hf_vlm.waiting import result_of

logger = logging.getLogger(__name__)

IGNORED_SETTINGS = (
    "best_of",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "prompt_logprobs",
    "response_schema",
    "modalities",
)


class HFVlm(ModelAPI):
    """A local vision-language model.

    Args:
        model_name: Hub id or folder of the checkpoint.
        base_url: Not used.
        api_key: Not used; the hub's own login (`HF_TOKEN`) counts.
        config: Inspect's settings.
        adapter: PEFT adapter, a folder or hub id.
        min_pixels: Lower bound of the image size in pixels, where the processor has one.
        max_pixels: Upper bound.
        max_batch_size: The most sequences that are generated together (>= 1).
        **model_args: The attributes of `WeightsKey`.

    Raises:
        UserError: An argument that does not exist or does not work here.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        *,
        adapter: str | None = None,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        max_batch_size: int = DEFAULT_BATCH_SIZE,
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        known = [field.name for field in fields(WeightsKey) if field.name != "checkpoint"]
        for name in model_args:
            if name not in known:
                own = ["adapter", "min_pixels", "max_pixels", "max_batch_size"]
                listed = ", ".join(sorted(known + own))
                raise UserError(f"-M {name} is not known to hf-vlm/. Choose among: {listed}.")
        if max_batch_size < 1:
            raise UserError(f"-M max_batch_size={max_batch_size}: at least 1 is needed.")
        if model_args.get("revision") is not None:
            model_args["revision"] = str(model_args["revision"])  # YAML reads 1234567 as a number
        self._key = WeightsKey(_checkpoint(model_name), **model_args)
        self._engine = acquire(self._key, max_batch_size)
        self._release = weakref.finalize(self, release, self._key)
        try:
            self._maker = self._engine.weights.prompt_maker(min_pixels, max_pixels)
            self._adapter = None if adapter is None else str(adapter)
            if self._adapter is not None:
                self._engine.add_adapter(self._adapter)
        except BaseException:
            self._release()
            raise
        self._max_batch_size = max_batch_size
        self._warned: set[str] = set()

    def close(self) -> None:
        """Give the weights back; the last user in the process frees them."""
        self._release()

    def max_connections(self) -> int:
        """Enough for one batch to be prepared while another one is generated."""
        return 2 * self._max_batch_size

    def collapse_user_messages(self) -> bool:
        """Most chat templates want turns to alternate."""
        return True

    def collapse_assistant_messages(self) -> bool:
        """Most chat templates want turns to alternate."""
        return True

    def collapse_system_messages(self) -> bool:
        """Most chat templates take one system turn."""
        return True

    async def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        ids: list[int] = self._maker.tokenizer.encode(text, add_special_tokens=False)
        return ids

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> tuple[ModelOutput, ModelCall]:
        """Answer a conversation; see the module's docstring.

        Raises:
            UserError: Tools, or content that is neither text nor image.
            ImageError: An image that cannot be decoded.
        """
        if tools:
            raise UserError(
                "hf-vlm/ does not support tools. Use a server and openai-api/ for them."
            )
        self._warn_of_ignored(config)
        settings = Settings.from_config(config)
        conversation = to_conversation(
            input,
            system_turns=self._maker.system_turns,
            placeholders=self._maker.placeholders,
        )
        for note in conversation.notes:
            self._warn(note)
        with self._engine.batcher.expect():
            preparing: Future[Prepared] = self._engine.prepare(self._maker, conversation)
            try:
                prepared = await result_of(preparing)
            finally:
                preparing.cancel()  # cancelled while it waited: nobody needs it any more
            room = self._engine.weights.context_length - len(prepared.ids)
            if room <= 0:
                sequences = [Sequence(finish="length")]
                return self._output(conversation, prepared, settings, room, sequences)
            work = [
                Work(prepared, self._maker, settings, self._adapter, seed)
                for seed in _seeds(config)
            ]
            rows = self._engine.rows(work, min(room, settings.max_tokens))
        try:
            sequences = [await result_of(row.future) for row in rows]
        finally:
            for row in rows:
                row.abandoned = True
        return self._output(conversation, prepared, settings, room, sequences)

    def _output(
        self,
        conversation: Conversation,
        prepared: Prepared,
        settings: Settings,
        room: int,
        sequences: list[Sequence],
    ) -> tuple[ModelOutput, ModelCall]:
        out_of_context = settings.max_tokens > room
        new_tokens = sum(len(sequence.tokens) for sequence in sequences)
        output = ModelOutput(
            model=self.model_name,
            choices=[
                self._choice(conversation, prepared, settings, sequence, out_of_context)
                for sequence in sequences
            ],
            usage=ModelUsage(
                input_tokens=len(prepared.ids),
                output_tokens=new_tokens,
                total_tokens=len(prepared.ids) + new_tokens,
            ),
            metadata={"finish": [sequence.finish for sequence in sequences]},
        )
        if conversation.notes:
            output.metadata = {**(output.metadata or {}), "notes": conversation.notes}
        call = ModelCall.create(
            request={
                "prompt": prepared.text,
                "images": len(prepared.images),
                "settings": asdict(settings),
                "adapter": self._adapter,
            },
            response={"tokens": [sequence.tokens for sequence in sequences]},
            time=max(sequence.seconds for sequence in sequences),
        )
        return output, call

    def _choice(
        self,
        conversation: Conversation,
        prepared: Prepared,
        settings: Settings,
        sequence: Sequence,
        out_of_context: bool,
    ) -> ChatCompletionChoice:
        text = self._maker.decode(prepared, sequence.tokens)
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
            stop_reason = "model_length" if out_of_context else "max_tokens"
        return ChatCompletionChoice(
            message=ChatMessageAssistant(content=content, model=self.model_name, source="generate"),
            stop_reason=stop_reason,
            logprobs=self._logprobs(sequence) if settings.logprobs else None,
        )

    def _logprobs(self, sequence: Sequence) -> Logprobs:
        entries = zip(sequence.tokens, sequence.logprobs, sequence.alternatives, strict=True)
        return Logprobs(
            content=[
                Logprob(
                    token=self._token(token),
                    logprob=logprob,
                    bytes=list(self._token(token).encode()),
                    top_logprobs=[
                        TopLogprob(
                            token=self._token(other),
                            logprob=value,
                            bytes=list(self._token(other).encode()),
                        )
                        for other, value in alternatives
                    ]
                    or None,
                )
                for token, logprob, alternatives in entries
            ]
        )

    def _token(self, token: int) -> str:
        tokenizer = self._maker.tokenizer
        text: str = tokenizer.decode([token])
        # Tokenizers of the SentencePiece kind drop the space of a single token.
        if str(tokenizer.convert_ids_to_tokens(token)).startswith("▁") and text[:1] != " ":
            return f" {text}"
        return text

    def _warn_of_ignored(self, config: GenerateConfig) -> None:
        given = config.model_dump(exclude_none=True)
        for name in IGNORED_SETTINGS:
            if name in given:
                self._warn(f"the setting {name} is not supported and has no effect")

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("hf-vlm/%s: %s.", self.model_name, text)


def _checkpoint(name: str) -> str:
    folder = Path(name).expanduser()
    return str(folder) if folder.is_dir() else name


def _seeds(config: GenerateConfig) -> list[str | None]:
    """One for each choice; a seed fixes them all, and they differ."""
    count = config.num_choices or 1
    if config.seed is None:
        return [None] * count
    return [f"{config.seed}/{index}" for index in range(count)]


def _cut_after_stop(text: str, stop: tuple[str, ...]) -> str:
    """Drop what the last token holds beyond the stop string."""
    ends = [text.find(string) + len(string) for string in stop if string in text]
    return text[: min(ends)] if ends else text


def _opens_reasoning(before: str) -> bool:
    return before.rstrip().endswith("<think>") or (
        before.rfind("<think>") > before.rfind("</think>") and before.lstrip().startswith("<think>")
    )
