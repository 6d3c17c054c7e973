"""`hf-vlm/CHECKPOINT`: any `AutoModelForImageTextToText` checkpoint as an Inspect model.

Usage:
    inspect eval ... --model hf-vlm/Qwen/Qwen2-VL-7B-Instruct -M max_pixels=1003520
    inspect eval ... --model hf-vlm//data/qwen2-vl      # an absolute path; one slash is enough
    inspect eval ... --model hf-vlm/out/my-folder -M adapter=out/lora
    inspect eval ... --model hf-vlm/Qwen/Qwen2-VL-7B-Instruct@main      # as -M revision=main
    --model-role rewriter="{model: hf-vlm/BASE, model_args: {adapter: DIR}}"

Model arguments (`-M`): `adapter` (PEFT folder or hub id), `revision`, `dtype` (auto, float32,
float16, bfloat16), `device`, `device_map`, `attn_implementation`, `min_pixels`, `max_pixels`,
`load_in_4bit`, `load_in_8bit`, `trust_remote_code` (off), `max_batch_size` (32),
`chat_template_kwargs` (variables that the chat template reads, for example `'{enable_thinking:
false}'`), `processor_kwargs` (settings of the image processor, for example `'{max_patches: 6}'`),
`image_cache_mib` (256), `replicas` (1: how many processes have the weights, each on a GPU of its
own if there are GPUs). Two spellings of the same (`device=0`, `device=cuda:0`; a folder, its
absolute path) share one set of weights, even if their prompts are made with different settings.

Weights and processor are in a process of their own (`engine_process`), one for each set of weights,
whose Python runs beside Inspect's. If it is killed, its requests fail with an error that says so.

What a request gets:
- Greedy decoding unless `temperature` is given and not 0; the checkpoint's own sampling defaults
  are not used. At most `max_tokens` new tokens, 2048 by default.
- The checkpoint's other rules (`generation_config.json`: `repetition_penalty`,
  `no_repeat_ngram_size`, `suppress_tokens`, ...) apply as under plain `generate`, since requests
  have no setting for them. `ModelCall.request["checkpoint_settings"]` names them. Log-probabilities
  are taken after these rules.
- `seed` fixes the answer of a request, whichever other requests are in its batch; the choices of
  one request differ.
- `extra_body: {contrast: {alpha: 4, without: TEXT}}` contrasts two readings of the conversation
  token by token, see `guard/contrast.py`. Both are rows of one batch, which count as two for
  `max_batch_size`, share features of images and get the same token. The checkpoint's rules,
  sampling and log-probabilities are those of the combined scores; tokens of both prompts are
  counted. Models with a text encoder or a rule that keeps the prompt are refused.
- A stop string stays at the end of the text; one that is a special token ends the answer too, but
  has no text. `ModelOutput.metadata["finish"]` says for each choice how it ended: `eos` (the
  model's end of text), `stop_string` or `length`.
- A trailing assistant message is the beginning of the answer. The completion is the continuation
  alone, and prefix + completion reads as one text: if the prefix ends in white space, the
  completion starts without any; if not, it starts with the space that belongs there.
- The choices of one request (`num_choices`), and equal requests that meet in a batch, have their
  prompt read once. The vision tower's features of a request's images stay on the device, up to
  `image_cache_mib` MiB (0 keeps nothing), until the weights are released. Their key is content and
  adapter, so that no stale entry is used. Both are tried when a model is loaded, and are used only
  if its answers stay the same. Features are not kept for models that cannot be given features (no
  `mm_encoder_outputs`) or whose processor needs whole batches (Mllama, PaliGemma). Every choice
  reads the prompt itself if the model has a text encoder, a cache that cannot be repeated, or a
  rule that keeps the prompt (`encoder_repetition_penalty`, `guidance_scale`, ...).
- `<think>` text becomes reasoning content.
- Weights are loaded on the first call, in a thread. Our tasks load them in their setup, so that a
  broken checkpoint shows before another model is paid for. Loading includes a first request with an
  image, which refuses a class that cannot chat (BLIP, Pix2Struct, ...).
- A prompt that fills the context or exceeds it gives empty answers with `stop_reason`
  `model_length`.

Without `--max-connections`, Inspect starts with 20 connections and adds more; 64 keeps batches of
32 full.
"""

import logging
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    ModelAPI,
    ModelCall,
    ModelOutput,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.aux_models.base import resolve_source
from vlmguard.guard.contrast import KEY
from vlmguard.guard.errors import UserError, check_count
from vlmguard.guard.hf_vlm.checkpoint_key import (
    ARGUMENTS,
    WeightsKey,
    check_arguments,
    prompt_settings,
    weights_key,
)
from vlmguard.guard.hf_vlm.hosts import HOST
from vlmguard.guard.hf_vlm.replicas import Replicas
from vlmguard.guard.hf_vlm.threads import result_of
from vlmguard.guard.hf_vlm.vlm import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_MEBIBYTES,
    User,
    Vlm,
)
from vlmguard.guard.paths import user_path
from vlmguard.guard.rewriter.taught import TrainedModel
from vlmguard.guard.roles import ContrastsLogits, LocalModel

logger = logging.getLogger(__name__)

OWN_ARGUMENTS = (
    "adapter",
    "chat_template_kwargs",
    "image_cache_mib",
    "max_batch_size",
    "max_pixels",
    "min_pixels",
    "processor_kwargs",
    "replicas",
)
"""Model arguments that do not decide which weights are loaded."""

IGNORED_SETTINGS = (
    "best_of",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "prompt_logprobs",
    "response_schema",
    "modalities",
    "extra_headers",
    "effort",
    "reasoning_effort",
    "reasoning_mode",
    "reasoning_summary",
    "reasoning_tokens",
    "verbosity",
)


class HFVlm(ModelAPI, LocalModel, ContrastsLogits, TrainedModel):
    """A local vision-language model.

    Checkpoint and adapter are not read before the first call, or `open`: to score a log again,
    Inspect makes all its models, although the target's weights are not needed and may be missing.

    Args:
        model_name: Hub id or folder of the checkpoint.
        base_url: Not used.
        api_key: Not used; the hub's own login (`HF_TOKEN`) counts.
        config: Inspect's settings.
        adapter: PEFT adapter, a folder or hub id.
        min_pixels: Lower bound of the image size in pixels, if the processor has one.
        max_pixels: Upper bound.
        max_batch_size: The most sequences that are generated together (>= 1).
        chat_template_kwargs: Variables that the chat template reads.
        processor_kwargs: Settings of the image processor.
        image_cache_mib: Memory for features of images in MiB (>= 0). If several users share one set
            of weights, the smallest value counts, as with `max_batch_size`.
        replicas: How many processes have the weights (>= 1), each on its own GPU if there are
            any; a request goes to the one with the fewest.
        **model_args: Those of `checkpoint_key.ARGUMENTS`, see `weights_key`.

    Raises:
        UserError: Unknown argument, or a value that can never work.
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
        chat_template_kwargs: dict[str, Any] | None = None,
        processor_kwargs: dict[str, Any] | None = None,
        image_cache_mib: int = DEFAULT_MEBIBYTES,
        replicas: int = 1,
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        for name in model_args:
            if name not in ARGUMENTS:
                known = sorted(ARGUMENTS + OWN_ARGUMENTS)
                raise UserError(
                    f"-M {name} is not known to hf-vlm/.{did_you_mean(name, known)} Choose among: "
                    f"{', '.join(known)}."
                )
        check_count("-M max_batch_size", max_batch_size, 1)
        check_count("-M image_cache_mib", image_cache_mib, 0)
        check_count("-M replicas", replicas, 1)
        check_arguments(model_args)
        if replicas > 1:
            _check_replicas(model_args)
        self._checkpoint = model_name
        self._model_args = model_args
        self._adapter_source = adapter
        self._prompts = prompt_settings(
            min_pixels, max_pixels, chat_template_kwargs, processor_kwargs
        )
        self._max_batch_size = max_batch_size
        self._image_cache_mib = image_cache_mib
        self._count = replicas
        self._replicas = Replicas(self._made)
        self._warned: set[str] = set()
        self._taken: set[tuple[int, int]] = set()
        HOST.warm_up()

    async def open(self) -> None:
        """Load the weights if they are not loaded; the first `generate` does it too.

        After the process with the weights has died, this loads them again.

        Raises:
            UserError: No such checkpoint, adapter or device, or one that does not work here.
        """
        await result_of(self._replicas.begin())

    def load(self) -> None:
        """As `open`, for code without an event loop; this blocks.

        Raises:
            UserError: As for `open`.
        """
        self._replicas.begin().result()

    def begin(self) -> None:
        """Begin to load the weights, if nobody has, and do not wait for them."""
        self._replicas.begin()

    def _made(self) -> list[Vlm]:
        source = self._adapter_source
        user = User(
            model=self.model_name,
            prompts=self._prompts,
            adapter=None if source is None else resolve_source(str(source)),
            max_batch_size=self._max_batch_size,
            image_cache_mib=self._image_cache_mib,
        )
        return [
            HOST.vlm(_on_device(self._key, number), user, number, self._count)
            for number in range(self._count)
        ]

    @cached_property
    def _key(self) -> WeightsKey:
        # Needs the folder and the device, so not before the first call.
        return weights_key(self._checkpoint, self._model_args, self._cuda_devices)

    def _cuda_devices(self) -> int:
        count = HOST.cuda_devices()
        if 0 < count < self._count:
            raise UserError(
                f"-M replicas={self._count}: each needs a GPU of its own, and there are {count}."
            )
        return count

    def weights_folder(self) -> Path | None:
        """Folder of the adapter, else of the checkpoint; None on the hub."""
        folder = user_path(self._adapter_source or self._checkpoint)
        return folder if folder.is_dir() else None

    def close(self) -> None:
        """Release the weights; the last user in the process frees them."""
        # Inspect may hold this object until the process ends.
        self._replicas.close()

    def max_connections(self) -> int:
        """Enough to prepare one batch while another one is generated.

        All users of one set of weights share these connections, see `connection_key`.
        """
        return 2 * self._max_batch_size * self._count

    def connection_key(self) -> str:
        """One pool of connections for each set of weights."""
        return f"{self._key} x {self._count}"

    def collapse_user_messages(self) -> bool:
        """True: most chat templates want turns to alternate."""
        return True

    def collapse_assistant_messages(self) -> bool:
        """True: most chat templates want turns to alternate."""
        return True

    def collapse_system_messages(self) -> bool:
        """True: most chat templates take one system turn."""
        return True

    async def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        async with self._replicas.least_busy() as vlm:
            return await vlm.tokenize(text)

    async def check_size(self, width: int, height: int) -> None:
        """Check that the processor accepts an image of this size, in pixels.

        Raises:
            UserError: It does not; or the checkpoint does not work here.
        """
        async with self._replicas.least_busy() as vlm:
            # Samples that start together check the same sizes.
            if (width, height) not in self._taken:
                await vlm.check_size(width, height)
                self._taken.add((width, height))

    async def check_contrast(self) -> None:
        """Refuse a model whose readings cannot be combined.

        Raises:
            UserError: It has a text encoder, or a rule that keeps the prompt.
        """
        async with self._replicas.least_busy() as vlm:
            await vlm.check_contrast()

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> tuple[ModelOutput, ModelCall]:
        """Answer a conversation; see the module's docstring.

        Raises:
            UserError: Tools, content that is neither text nor image, or a `contrast` that cannot
                be made.
            ImageError: An image that cannot be decoded.
        """
        if tools:
            raise UserError(
                "hf-vlm/ does not support tools. Use a server and openai-api/ for them."
            )
        self._warn_of_ignored(config)
        async with self._replicas.least_busy() as vlm:
            answer = await vlm.generate(input, config)
        for note in answer.notes:
            self._warn(note)
        return answer.output, answer.call

    def _warn_of_ignored(self, config: GenerateConfig) -> None:
        given = config.model_dump(exclude_none=True)
        ignored = [name for name in IGNORED_SETTINGS if name in given]
        ignored += [f"extra_body.{key}" for key in config.extra_body or {} if key != KEY]
        for name in ignored:
            self._warn(f"the setting {name} is not supported and has no effect")
        if config.top_logprobs and not config.logprobs:
            self._warn("the setting top_logprobs has no effect without logprobs")

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("hf-vlm/%s: %s.", self.model_name, text)


def _check_replicas(arguments: dict[str, Any]) -> None:
    """Refuse replicas together with a choice of devices."""
    for name in ("device", "device_map"):
        value = arguments.get(name)
        if value is not None and str(value) not in ("auto", "cpu", "cuda"):
            raise UserError(
                f"-M replicas and {name}={value} exclude each other: replicas take one GPU each, "
                "from the first on. Leave one of them out (CUDA_VISIBLE_DEVICES chooses GPUs)."
            )
    if arguments.get("device_map") is not None:
        raise UserError("-M replicas and device_map exclude each other: give one of them.")


def _on_device(key: WeightsKey, number: int) -> WeightsKey:
    """The weights of one replica."""
    if key.device is None or not key.device.startswith("cuda"):
        return key
    return replace(key, device=f"cuda:{number}")
