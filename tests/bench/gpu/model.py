"""The checkpoint as an Inspect model, and requests to it as solvers send them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.gpu.machine import held, now, start_peak
from bench.gpu.scale import Scale
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText, Model, get_model
from support.checkpoints import data_uri, picture

from vlmguard.guard.roles import LocalModel


@asynccontextmanager
async def opened(folder: Path, scale: Scale) -> AsyncIterator[Model]:
    """The model with its weights in memory; prints the loading time."""
    start_peak()
    start = now()
    model = get_model(f"hf-vlm/{folder}", memoize=False, max_pixels=scale.max_pixels)
    assert isinstance(model.api, LocalModel)
    async with model:
        await model.api.open()
        print(f"hf-vlm/ loads in {now() - start:.1f} s; {held()}", flush=True)
        yield model


def asked(number: int, scale: Scale) -> ChatMessageUser:
    """A request with its own picture and a line of text."""
    image = ContentImage(image=data_uri(picture(number, scale.picture)))
    return ChatMessageUser(content=[image, ContentText(text=text_of(number))])


def text_of(number: int) -> str:
    """The line of text."""
    return f"Describe picture {number}"
