"""Tries a first request when weights are loaded: can the class chat, and what can rows share?

Some classes under `AutoModelForImageTextToText` cannot chat (BLIP, Pix2Struct, Janus, ...). They
are refused here, before any model is paid for. Two savings are also tried: reading a prompt once
for several rows, and passing features of images. The model must answer as it does without them. If
it does not, every row has its own prompt and pixels, as under `generate`.
"""

import logging
import random
from typing import Any, Final

from PIL import Image
from transformers import GenerationMixin

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.batch import Sharing, model_inputs
from vlmguard.guard.hf_vlm.batching import is_device_lost, is_out_of_memory
from vlmguard.guard.hf_vlm.choices import can_repeat
from vlmguard.guard.hf_vlm.generate import Generated, RowTask, Settings, generate_batch
from vlmguard.guard.hf_vlm.image_features import ImageFeatures, takes_features
from vlmguard.guard.hf_vlm.messages import Conversation
from vlmguard.guard.hf_vlm.prepared import Prepared
from vlmguard.guard.hf_vlm.processor import PromptMaker
from vlmguard.guard.hf_vlm.vlm import DEFAULT_MEBIBYTES
from vlmguard.guard.images.prepare import to_data_uri

logger = logging.getLogger(__name__)

ROWS: Final = (0, 1, 1)
"""The prompt of each row that is tried."""

SETTINGS: Final = Settings(max_tokens=2, logprobs=True, top_logprobs=20)

CLOSE: Final = {"float32": 1e-2}
HALF_CLOSE: Final = 0.25
"""How far log-probabilities may differ on average. Batches of other sizes add in another order, and
half precision rounds more.
"""


def first_request(model: Any, maker: PromptMaker, checkpoint: str) -> Sharing:
    """Send a request with an image to a model, as defenses and benchmarks do.

    Args:
        model: The base without adapters.
        maker: Its processor.
        checkpoint: Its name, for error messages.

    Returns:
        What rows may share.

    Raises:
        UserError: The model cannot answer.
    """
    why = _no_chat(model, maker)
    if why:
        raise _refusal(model, checkpoint, why)
    try:
        prompts = [_prepared(maker, (224, 224), "red", "hello")]
        prompts.append(_prepared(maker, (336, 224), "blue", "hello and a longer text"))
        plain = _answers(model, maker, prompts, Sharing())
    except Exception as error:
        _reraise_lost(error)
        _ask_alone(model, maker, checkpoint)
        return Sharing()  # it answers one request, but not a batch
    for sharing in _possible(model, maker):
        try:
            shared = _answers(model, maker, prompts, sharing)
        except Exception as error:
            _reraise_lost(error)
            logger.info("%s: %s does not work: %s", checkpoint, sharing, error)
            continue
        if _agree(plain, shared, CLOSE.get(str(model.dtype).removeprefix("torch."), HALF_CLOSE)):
            return sharing
        logger.info("%s: %s changes answers.", checkpoint, sharing)
    return Sharing()


def _ask_alone(model: Any, maker: PromptMaker, checkpoint: str) -> None:
    try:
        generate_batch(
            model,
            maker.tokenizer,
            model_inputs(model, maker, [_prepared(maker, (224, 224), "red", "hello")]),
            [_task([])],
            SETTINGS,
        )
    except Exception as error:
        _reraise_lost(error)
        reason = " ".join(str(error).split())[:300]
        why = f"a first request with an image failed ({type(error).__name__}: {reason})"
        raise _refusal(model, checkpoint, why) from error


def _no_chat(model: Any, maker: PromptMaker) -> str:
    """Why a class of the library is not a chat model; empty if there is no sign of that."""
    if model.is_remote_code():
        return ""
    if type(model).generate is not vars(GenerationMixin)["generate"]:
        return "it brings a `generate` of its own, which hf-vlm/ cannot steer"
    if not maker.placeholders and "image_token" not in str(model.config.to_dict()):
        return "neither its processor nor its config.json has a token for an image in a text"
    return ""


def _refusal(model: Any, checkpoint: str, why: str) -> UserError:
    return UserError(
        f"{checkpoint} ({type(model).__name__}) cannot chat: {why}. Name an instruction-tuned "
        "vision-language model of another class, or serve this one (vLLM, say) and use openai-api/."
    )


def _prepared(maker: PromptMaker, size: tuple[int, int], colour: str, text: str) -> Prepared:
    image = to_data_uri(Image.new("RGB", size, colour))
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}
    return maker.prepare(Conversation([turn], [image]))


def _possible(model: Any, maker: PromptMaker) -> list[Sharing]:
    features = [True, False] if takes_features(model) and not maker.whole_batches else [False]
    prompts = [True, False] if can_repeat(model) else [False]
    found = [Sharing(feature, prompt) for prompt in prompts for feature in features]
    return found[:-1]  # without the last, which shares nothing


def _answers(
    model: Any, maker: PromptMaker, prompts: list[Prepared], sharing: Sharing
) -> list[Generated | Exception]:
    results: list[list[Generated | Exception]] = [[] for _ in ROWS]
    read = prompts if sharing.prompts else [prompts[row] for row in ROWS]
    kept = ImageFeatures(DEFAULT_MEBIBYTES) if sharing.features else None
    generate_batch(
        model,
        maker.tokenizer,
        model_inputs(model, maker, read, kept),
        [_task(result) for result in results],
        SETTINGS,
        list(ROWS) if sharing.prompts else None,
    )
    return [result[0] for result in results]


def _task(results: list[Generated | Exception]) -> RowTask:
    return RowTask(
        limit=SETTINGS.max_tokens,
        rng=random.Random(0),
        decode=lambda tokens, special: "",
        abandoned=lambda: False,
        deliver=results.append,
    )


def _agree(
    plain: list[Generated | Exception], shared: list[Generated | Exception], close: float
) -> bool:
    """Whether log-probabilities agree at each place, up to the first different token."""
    for one, other in zip(plain, shared, strict=True):
        if not (isinstance(one, Generated) and isinstance(other, Generated)):
            return False  # scores are not finite: real requests will report that
        for place, (left, right) in enumerate(
            zip(one.alternatives, other.alternatives, strict=False)
        ):
            if one.tokens[:place] != other.tokens[:place]:
                break  # two tokens had equal scores
            first, second = dict(left), dict(right)
            both = first.keys() & second.keys()
            apart = sum(abs(first[token] - second[token]) for token in both)
            # Half of the best tokens must be the same, and their log-probabilities close on
            # average.
            if 2 * len(both) < len(first) or apart > close * len(both):
                return False
    return True


def _reraise_lost(error: Exception) -> None:
    """Raise errors of memory or of the GPU: they do not tell whether the model works."""
    if is_out_of_memory(error) or is_device_lost(error):
        raise error
