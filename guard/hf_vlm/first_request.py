"""The first request, when weights are loaded: whether a class can chat at all, and what is shared.

Classes stand under `AutoModelForImageTextToText` that answer no conversation (BLIP, Pix2Struct,
Janus, ...). They are refused here, before anything is paid for. And whether a model may read a
prompt once for several rows, or be given features of images, is tried out: it must then answer as
it does without. Where it does not, every row has its own prompt and pixels, as under `generate`.
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
from vlmguard.guard.hf_vlm.image_features import (
    DEFAULT_MEBIBYTES,
    ImageFeatures,
    takes_features,
)
from vlmguard.guard.hf_vlm.messages import Conversation
from vlmguard.guard.hf_vlm.prepared import Prepared
from vlmguard.guard.hf_vlm.processor import PromptMaker
from vlmguard.guard.images.prepare import to_data_uri

logger = logging.getLogger(__name__)

ROWS: Final = (0, 1, 1)
"""Prompts of the rows that are tried."""

SETTINGS: Final = Settings(max_tokens=2, logprobs=True, top_logprobs=20)

CLOSE: Final = {"float32": 1e-2}
HALF_CLOSE: Final = 0.25
"""How far log-probabilities may differ on average: batches of other sizes are computed in another
order, which half precision shows."""


def first_request(model: Any, maker: PromptMaker, checkpoint: str) -> Sharing:
    """Put a request with an image to a model, as defenses and benchmarks do.

    Args:
        model: The bare base.
        maker: Its processor.
        checkpoint: Its name, for messages.

    Returns:
        What its batches may share.

    Raises:
        UserError: It cannot answer.
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
        return Sharing()  # two at once are too much for it
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
    """Why a class of the library is no chat model, empty if nothing says so."""
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
    return found[:-1]  # the last shares nothing


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
    """Whether log-probabilities are the same, token by token, as far as the tokens are."""
    for one, other in zip(plain, shared, strict=True):
        if not (isinstance(one, Generated) and isinstance(other, Generated)):
            return False  # scores that are no numbers: the requests themselves will say so
        for place, (left, right) in enumerate(
            zip(one.alternatives, other.alternatives, strict=False)
        ):
            if one.tokens[:place] != other.tokens[:place]:
                break  # two tokens were as good as each other
            first, second = dict(left), dict(right)
            both = first.keys() & second.keys()
            apart = sum(abs(first[token] - second[token]) for token in both)
            if 2 * len(both) < len(first) or apart > close * len(both):
                return False
    return True


def _reraise_lost(error: Exception) -> None:
    """Memory that ran out, or a lost GPU, says nothing of the model."""
    if is_out_of_memory(error) or is_device_lost(error):
        raise error
