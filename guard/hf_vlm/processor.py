"""Turns a conversation into tensors with the checkpoint's processor, or its image-only part.

Requests are prepared one by one, in threads, while the model is busy, and are joined into a batch
at the last moment. When a checkpoint is loaded, a trial shows whether the joined batch is exactly
what the processor itself makes of these requests. If not (Mllama's nested masks, for example), the
processor gets whole batches.
"""

import copy
import inspect
import logging
from typing import Any

import jinja2
import torch
import transformers
from PIL import Image
from transformers import ProcessorMixin
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils import is_torchvision_available

from vlmguard.guard.aux_models.base import loading
from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.messages import Conversation
from vlmguard.guard.hf_vlm.prepared import Prepared, digest_of
from vlmguard.guard.hf_vlm.prompt_options import call_kwargs, check_template_kwargs
from vlmguard.guard.images.prepare import from_data_uri
from vlmguard.guard.text.control_tokens import control_tokens

logger = logging.getLogger(__name__)

BORDER_TOKENS = 8
"""Last tokens of a prefix, decoded with its continuation to get the space between them."""


PROCESSOR_ERRORS = (RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError)
"""Errors that processors raise for conversations that they were not made for."""


class PromptMaker:
    """The processor of a checkpoint.

    Args:
        checkpoint: Hub id or folder.
        options: `revision`, `trust_remote_code` and the like, for `from_pretrained`.
        min_pixels: Lower bound of the image size in pixels, for processors that have one.
        max_pixels: Upper bound.
        template_kwargs: Variables of the chat template (`enable_thinking`, ...).
        images_kwargs: Settings of the image processor (`max_patches`, ...), for each request.

    Raises:
        UserError: No such checkpoint, one that takes no images, no chat template, no such pixel
            bounds, variables or settings, or a processor whose output cannot be passed on.
    """

    def __init__(
        self,
        checkpoint: str,
        options: dict[str, Any],
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        template_kwargs: dict[str, Any] | None = None,
        images_kwargs: dict[str, Any] | None = None,
    ) -> None:
        given = {"min_pixels": min_pixels, "max_pixels": max_pixels}
        bounds = {name: value for name, value in given.items() if value is not None}
        self._checkpoint = checkpoint
        try:
            with loading(checkpoint):
                self.processor = _load(checkpoint, options, bounds)
        except ImportError as error:  # a missing package
            raise UserError(f"Checkpoint {checkpoint} cannot be loaded: {error}") from error
        parts = {"tokenizer", "image_processor"}
        if not (
            isinstance(self.processor, ProcessorMixin)
            and parts.issubset(self.processor.get_attributes())
        ):
            raise UserError(
                f"{checkpoint} is no vision-language model: it has no processor for images. Use "
                "Inspect's own hf/ for a text model, and openai-api/ or vllm/ for others."
            )
        self.tokenizer = self.processor.tokenizer
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
            logger.warning("%s has no padding token: its end-of-text token is used.", checkpoint)
        if self.processor.chat_template is None:
            self.processor.chat_template = self.tokenizer.chat_template
        if self.processor.chat_template is None:
            raise UserError(
                f"{checkpoint} has no chat template, so a conversation cannot be put to it. "
                "Use an instruction-tuned checkpoint, or put a chat_template.jinja into its folder."
            )
        _check_bounds(checkpoint, self.processor.image_processor, bounds)
        self._template_kwargs = template_kwargs or {}
        check_template_kwargs(checkpoint, self.processor.chat_template, self._template_kwargs)
        self._call_kwargs = call_kwargs(checkpoint, self.processor, images_kwargs or {})
        self.system_turns = self._renders_system()
        self._padding_processor = self.processor
        self.whole_batches = not self._collates()
        if self.whole_batches:
            logger.info("%s: batches are prepared as a whole.", checkpoint)
            # Padding is a state of the tokenizer. A thread that switches it on would pad, or break
            # ("Already borrowed"), texts that other threads tokenize at that moment.
            self._padding_processor = copy.deepcopy(self.processor)
            self.tokenizer("off")  # no padding from here on
        self._texts: dict[int, str] = {}
        self.placeholders = _placeholders(self.processor)
        self.control_tokens = self._control_tokens()

    def prepare(self, conversation: Conversation) -> Prepared:
        """Decode the images and make the tensors of one request.

        Raises:
            UserError: The chat template or the processor refuses the conversation.
            ImageError: An image cannot be decoded.
        """
        images = [from_data_uri(uri) for uri in conversation.images]
        text = self._render(conversation.turns, conversation.prefix is not None)
        try:
            inputs = self._process([text], [images])
        except ValueError as error:
            sizes = ", ".join(f"{image.width} x {image.height}" for image in images) or "none"
            raise UserError(
                f"The processor of {self._checkpoint} refuses this request (images: {sizes}): "
                f"{error} Change the sample, or set -M min_pixels or max_pixels if it has bounds."
            ) from error
        ids = inputs["input_ids"][0].tolist()
        continues, shown = conversation.prefix is not None, len(images)
        if self.whole_batches:
            return Prepared(text, images, {}, ids, continues, shown=shown)
        return Prepared(text, [], inputs, ids, continues, digest_of(inputs), shown)

    def collate(self, requests: list[Prepared]) -> dict[str, torch.Tensor]:
        """One left-padded batch; all requests have images, or all have no image."""
        if self.whole_batches:
            return self._process([r.text for r in requests], [r.images for r in requests])
        return collate([request.inputs for request in requests], self.tokenizer.pad_token_id or 0)

    def decode(self, request: Prepared, tokens: list[int], special: bool = False) -> str:
        """The text of new tokens; special tokens are left out unless `special` is set.

        SentencePiece tokenizers drop a space at the start of a decoded text, so a continuation is
        decoded together with the end of its prefix.
        """
        plain = {"skip_special_tokens": not special, "clean_up_tokenization_spaces": False}
        if request.continues:
            before = request.ids[-BORDER_TOKENS:]
            head: str = self.tokenizer.decode(before, **plain)
            whole: str = self.tokenizer.decode(before + tokens, **plain)
            if whole.startswith(head):
                return whole[len(head) :]
        text: str = self.tokenizer.decode(tokens, **plain)
        return text

    def token_text(self, token: int) -> str:
        """The text of a single token; of a part of a character, the replacement character."""
        if token not in self._texts:
            text: str = self.tokenizer.decode([token])
            # SentencePiece tokenizers drop the space of a single token.
            piece = str(self.tokenizer.convert_ids_to_tokens(token))
            self._texts[token] = f" {text}" if piece.startswith("▁") and text[:1] != " " else text
        return self._texts[token]

    def _render(self, turns: list[dict[str, Any]], continues: bool) -> str:
        try:
            text: str = self.processor.apply_chat_template(
                turns,
                tokenize=False,
                add_generation_prompt=not continues,
                continue_final_message=continues,
                **self._template_kwargs,
            )
        except (jinja2.TemplateError, ValueError, TypeError) as error:
            raise UserError(f"The chat template refuses this conversation: {error}") from error
        return text

    def _process(
        self, texts: list[str], images: list[list[Image.Image]]
    ) -> dict[str, torch.Tensor]:
        bos = self.tokenizer.bos_token
        options = dict(self._call_kwargs)
        if bos is not None and texts[0].startswith(bos):
            options["add_special_tokens"] = False
        processor: Any = self.processor
        if len(texts) > 1:
            options |= {"padding": True, "padding_side": "left"}
            processor = self._padding_processor
        result = processor(
            text=texts, images=images if any(images) else None, return_tensors="pt", **options
        )
        for name in ProcessorMixin.skip_tensor_conversion:  # not inputs of a model
            result.pop(name, None)
        lists = [name for name, value in result.items() if not isinstance(value, torch.Tensor)]
        if lists:
            raise UserError(
                f"{self._checkpoint}: its processor gives {', '.join(lists)} as lists, which "
                "hf-vlm/ cannot pass on. Serve this model (vLLM, say) and use openai-api/."
            )
        return dict(result)

    def _renders_system(self) -> bool:
        turns = [_turn("system", "SYSTEMMARK"), _turn("user", "hello")]
        try:
            return "SYSTEMMARK" in self._render(turns, False)
        except UserError:
            return False

    def _control_tokens(self) -> tuple[str, ...]:
        """Special tokens, image placeholders, and the template's marks around turns."""
        picture = Image.new("RGB", (64, 64), "red")
        asked = _turn("user", "hello")
        shown = {**asked, "content": [{"type": "image"}, *asked["content"]]}
        used: set[int] = set()
        for turns, images in (
            ([_turn("system", "hello"), asked, _turn("assistant", "hello"), asked], []),
            ([shown], [picture]),
        ):
            try:
                text = self._render(turns, False)
                used.update(self._process([text], [images])["input_ids"][0].tolist())
            except (UserError, *PROCESSOR_ERRORS):
                continue  # the template lacks such turns, or the processor needs whole batches
        return control_tokens(self.tokenizer, used) + self.placeholders

    def _collates(self) -> bool:
        """Whether requests prepared one by one can be joined into a batch."""
        small, wide = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (160, 80), "blue")
        pairs = [([small], "one"), ([wide, small], "and a longer text")]
        texts = []
        for images, text in pairs:
            turn = _turn("user", text)
            turn["content"] = [{"type": "image"} for _ in images] + turn["content"]
            texts.append(self._render([turn], False))
        groups = [images for images, _ in pairs]
        try:
            want = self._process(texts, groups)
            single = [self._process([t], [g]) for t, g in zip(texts, groups, strict=True)]
            got = collate(single, self.tokenizer.pad_token_id or 0)
        except PROCESSOR_ERRORS:
            return False
        return got.keys() == want.keys() and all(
            got[name].shape == want[name].shape and torch.equal(got[name], want[name])
            for name in want
        )


def collate(requests: list[dict[str, torch.Tensor]], pad: int) -> dict[str, torch.Tensor]:
    """Join batches of one into one batch.

    Args:
        requests: Tensors of each request, with the same names. Those shaped like `input_ids`, (1,
            length), are padded on the left. Others are padded with zeros at the end of each
            dimension but the first, and joined along the first.
        pad: Token id for padding.
    """
    length = max(request["input_ids"].shape[1] for request in requests)
    batch = {}
    for name in requests[0]:
        values = [request[name] for request in requests]
        if all(
            value.shape == request["input_ids"].shape
            for value, request in zip(values, requests, strict=True)
        ):
            fill = pad if name == "input_ids" else 0
            values = [
                torch.nn.functional.pad(value, (length - value.shape[1], 0), value=fill)
                for value in values
            ]
        elif len({value.shape[1:] for value in values}) > 1:
            values = _pad_ends(values)
        batch[name] = torch.cat(values)
    return batch


def _pad_ends(values: list[torch.Tensor]) -> list[torch.Tensor]:
    sizes = [max(size) for size in zip(*(value.shape[1:] for value in values), strict=True)]
    padded = []
    for value in values:
        amounts = [0, 0]
        for size, have in zip(sizes, value.shape[1:], strict=True):
            amounts = [0, size - have, *amounts]
        padded.append(torch.nn.functional.pad(value, amounts[:-2]))
    return padded


def _load(checkpoint: str, options: dict[str, Any], bounds: dict[str, int]) -> Any:
    config = transformers.AutoConfig.from_pretrained(checkpoint, **options)
    if type(config) in PROCESSOR_MAPPING and not is_torchvision_available():
        kind: Any = PROCESSOR_MAPPING[type(config)]
        if kind is not None and "video_processor" in kind.get_attributes():
            return _load_image_only(kind, checkpoint, options, bounds)
    return transformers.AutoProcessor.from_pretrained(checkpoint, **options, **bounds)


def _load_image_only(
    kind: Any, checkpoint: str, options: dict[str, Any], bounds: dict[str, int]
) -> Any:
    """A processor without its video part, which needs torchvision.

    The library reads a processor's parts from the parameters of `__init__`, so a class without the
    parameter lacks the part. It inherits everything else.
    """

    class ImageOnly(kind):  # type: ignore[misc]  # the base is known only at run time
        def __init__(self, image_processor: Any, tokenizer: Any, **rest: Any) -> None:
            super().__init__(image_processor, tokenizer, None, **rest)

    saved, _ = kind.get_processor_dict(checkpoint, **options)
    parameters = inspect.signature(kind.__init__).parameters
    rest = {name: saved[name] for name in parameters if name in saved}
    for part in ("image_processor", "tokenizer", "video_processor"):
        rest.pop(part, None)
    ImageOnly.__name__ = ImageOnly.__qualname__ = kind.__name__
    logger.info("%s: torchvision is missing, images only.", kind.__name__)
    return ImageOnly(
        transformers.AutoImageProcessor.from_pretrained(checkpoint, **options, **bounds),
        transformers.AutoTokenizer.from_pretrained(checkpoint, **options),
        **rest,
    )


def _check_bounds(checkpoint: str, image_processor: Any, bounds: dict[str, int]) -> None:
    size = dict(image_processor.size or {})
    names = {"min_pixels": "shortest_edge", "max_pixels": "longest_edge"}
    for bound, value in bounds.items():
        if size.get(names[bound]) != value:
            raise UserError(
                f"{checkpoint}: its image processor has no {bound} (its size is {size}). "
                f"Leave -M {bound} out."
            )


def _placeholders(processor: Any) -> tuple[str, ...]:
    names = ("image_token", "video_token")
    found = [getattr(processor, name, None) for name in names]  # few processors have both
    return tuple(token for token in found if isinstance(token, str))


def _turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}
