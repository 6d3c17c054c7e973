"""A model whose weights are in this process: prepares requests, queues them, makes outputs.

It runs in the engine process (`engine_process`); where none can be started, in Inspect's own.
"""

import logging
import threading
from collections.abc import Callable
from weakref import finalize

from inspect_ai.model import ChatMessage, GenerateConfig
from PIL import Image

from vlmguard.guard.contrast import Contrast
from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.checkpoint_key import WeightsKey
from vlmguard.guard.hf_vlm.choices import BY_PROMPT, can_repeat
from vlmguard.guard.hf_vlm.engine import Engine, Work, acquire, load_undisturbed
from vlmguard.guard.hf_vlm.generate import Generated, Settings
from vlmguard.guard.hf_vlm.generation_rules import rules_of
from vlmguard.guard.hf_vlm.messages import Conversation, to_conversation
from vlmguard.guard.hf_vlm.output import Request, make_output
from vlmguard.guard.hf_vlm.prepared import Prepared
from vlmguard.guard.hf_vlm.threads import result_of
from vlmguard.guard.hf_vlm.vlm import Answer, User, Vlm
from vlmguard.guard.images.prepare import to_data_uri

logger = logging.getLogger(__name__)

_ONE_LOAD = threading.Lock()


class LocalVlm(Vlm):
    """One user of an engine in this process.

    Args:
        engine: The engine.
        user: How it uses the weights.
        give_back: Called once, when the user is done or gone.

    Attributes:
        engine: The engine.
        user: How it uses the weights.
    """

    def __init__(self, engine: Engine, user: User, give_back: Callable[[], None]) -> None:
        self.engine = engine
        self.user = user
        self._give_back = finalize(self, give_back)
        self._taken: set[tuple[int, int]] = set()
        self._sizes = threading.Lock()

    def load(self) -> None:
        """Load the weights if they are not loaded; this blocks."""
        weights, user = self.engine.weights, self.user
        with _ONE_LOAD:
            # Loading takes longest, so check everything else first.
            self.maker = weights.prompt_maker(user.prompts)
            if user.adapter is not None:
                weights.check_adapter(user.adapter)
            if not weights.ready:
                self.engine.batcher.call(self._load_weights).result()
            self._rules = rules_of(weights.model.generation_config)

    def _load_weights(self) -> None:
        load_undisturbed(self.engine.weights)
        self.engine.weights.try_out(self.maker)

    def check(self) -> None:
        """Raise a RuntimeError if it takes no more requests."""
        self.engine.batcher.check()

    def close(self) -> None:
        """Give the weights back; the last user frees them."""
        self._give_back()

    async def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        ids: list[int] = self.maker.tokenizer.encode(text, add_special_tokens=False)
        return ids

    async def check_size(self, width: int, height: int) -> None:
        """Check that the processor accepts an image of this size, in pixels."""
        await self.engine.in_thread(self._check_size, (width, height))

    def _check_size(self, size: tuple[int, int]) -> None:
        # Remember sizes: samples that start together check the same ones.
        with self._sizes:
            if size in self._taken:
                return
            image = to_data_uri(Image.new("RGB", size))
            turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}
            self._prepared(Conversation([turn], [image]))
            self._taken.add(size)

    async def check_contrast(self) -> None:
        """Refuse a model whose readings cannot be combined."""
        if not can_repeat(self.engine.weights.model):
            raise UserError(
                f"{self.user.model}: two readings cannot be combined with a text encoder, nor "
                f"with prefill_chunk_size or one of the rules {', '.join(BY_PROMPT)} in "
                "generation_config.json. Use another checkpoint."
            )

    async def generate(self, messages: list[ChatMessage], config: GenerateConfig) -> Answer:
        """Answer a conversation."""
        user, engine = self.user, self.engine
        settings = Settings.from_config(config)
        conversations = [self._conversation(messages)]
        if (contrast := Contrast.of(config)) is not None:
            await self.check_contrast()
            conversations.append(self._conversation(contrast.left_out(messages)))
        with engine.batcher.expect():
            readings = [await engine.in_thread(self._prepared, each) for each in conversations]
            room = engine.weights.context_length - max(len(each.ids) for each in readings)
            seeds = _seeds(config)
            rows = []
            if room > 0:
                work = [Work(readings, self.maker, settings, user.adapter, s) for s in seeds]
                rows = engine.rows(work, min(room, settings.max_tokens))
        try:
            sequences = [await result_of(row.future) for row in rows]
        finally:
            for row in rows:
                row.abandoned = True
        request = Request(
            model=user.model,
            maker=self.maker,
            conversation=conversations[0],
            readings=readings,
            settings=settings,
            adapter=user.adapter,
            rules=self._rules,
            room=room,
        )
        sequences = sequences or [Generated(finish="length") for _ in seeds]
        output, call = await engine.in_thread(make_output, request, sequences)
        return Answer(output, call, conversations[0].notes)

    def _prepared(self, conversation: Conversation) -> Prepared:
        preparers = self.engine.preparers
        if preparers is None:
            return self.maker.prepare(conversation)
        return preparers.prepare(self.user.prompts, self.maker, conversation)

    def _conversation(self, messages: list[ChatMessage]) -> Conversation:
        return to_conversation(
            messages,
            system_turns=self.maker.system_turns,
            control_tokens=self.maker.control_tokens,
        )


def shared_here(key: WeightsKey, user: User) -> LocalVlm:
    """A user of weights in this process, which all its users of these weights share."""
    share, give_back = acquire(key, user.max_batch_size, user.image_cache_mib)
    return LocalVlm(share, user, give_back)


def _seeds(config: GenerateConfig) -> list[str | None]:
    """One seed for each choice; they differ, and the request's seed fixes them all."""
    count = config.num_choices or 1
    if config.seed is None:
        return [None] * count
    return [f"{config.seed}/{index}" for index in range(count)]
