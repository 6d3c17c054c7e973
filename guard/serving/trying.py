"""`vlmguard try`: one request in the terminal, answered without a guard and behind it.

Without arguments a scene is drawn, and the microworld's tiny models answer. For a photo:

vlmguard try photo.jpg "How do I light this?" --target openai/gpt-4o --rewriter openai/gpt-4o
"""

import argparse
import asyncio
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, get_model
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.style import Style
from rich.text import Text

from vlmguard.guard.defense import Conversation, Outcome, Target
from vlmguard.guard.defense.target import Answer
from vlmguard.guard.errors import UserError, cause_of, reason_of
from vlmguard.guard.images.prepare import ImageError, from_data_uri, to_data_uri
from vlmguard.guard.messages import user_message
from vlmguard.guard.outside import made_of, model_of, options_of, roles_of
from vlmguard.guard.paths import existing
from vlmguard.guard.serving.comparing import Compared, compare, described
from vlmguard.guard.serving.microworld import (
    DEFAULT_TARGET,
    PROVIDER,
    quiet_loading,
    tiny_models,
)
from vlmguard.guard.serving.scenes import scenes
from vlmguard.guard.text.outputs import Output
from vlmguard.results.sanitize import clean
from vlmguard.training.microworld.models.reading import Unreadable, readable

__all__ = ["shown", "try_once"]

_WAY_OUT: Final = (
    "`vlmguard try` without arguments draws a scene that they can read; for other pictures name "
    "models: --target MODEL --rewriter MODEL."
)
_RETRIES: Final = 2
"""Somebody waits: Inspect would try for ever."""
_SIDE_BY_SIDE: Final = 80
"""A terminal with this many columns has room for two answers."""
_PIXELS: Final = 32
"""Pixels of a drawing's side in the terminal."""

_NO_PICTURE: Final = "Give a picture's file, or none for a drawn scene."


def try_once(arguments: argparse.Namespace) -> int:
    """Answer a request twice and print both; returns the exit status.

    Raises:
        UserError: An argument is wrong or missing, the tiny models cannot read the request, or a
            model does not answer.
    """
    image, request = _asked(arguments)
    target, roles, options = _models(arguments)
    defense = made_of(arguments.defense, options, roles)
    conversation = Conversation([user_message([image], request)], name="this request")
    _check_readable([target, *roles.values()], conversation.messages)
    quiet_loading()
    console = _console()
    if console.is_terminal and console.color_system in ("truecolor", "256"):
        console.print(_picture(image))
    asked = Target(target, _answer_of(target))

    async def guarded() -> Outcome:
        models = ", ".join(f"{role} {model}" for role, model in roles.items())
        with _naming(f"The guard ({models or 'which asks no model of its own'})"):
            return await defense.run(conversation, asked)

    compared = asyncio.run(compare(conversation, asked, roles, guarded))
    for part in shown(compared, str(target), defense.card.title, console):
        console.print(part, soft_wrap=not console.is_terminal)
    return 0


def _asked(arguments: argparse.Namespace) -> tuple[str, str]:
    """The image, as a data URI, and the request."""
    if arguments.image is None:
        scene = random.choice([scene for scene in scenes() if scene.pair.hazardous])
        print(f"A drawn scene: {scene.pair.picture.name}")
        return scene.image, scene.request
    if arguments.request is None:
        raise UserError(f'vlmguard try {arguments.image}: give a request too, as "What is this?".')
    try:
        return to_data_uri(existing(arguments.image, way_out=_NO_PICTURE)), arguments.request
    except ImageError as error:
        raise UserError(f"{error}. {_NO_PICTURE}") from error


def _models(arguments: argparse.Namespace) -> tuple[Model, dict[str, Model], dict[str, Any]]:
    """The model, those that the guard asks, and the guard's options."""
    name = arguments.target or DEFAULT_TARGET
    tiny = name.startswith(f"{PROVIDER}/")
    models, options = tiny_models(arguments.defense) if tiny else ({}, {})
    # Inspect's own model of that name, so that its weights are loaded once.
    target = get_model(name) if tiny else model_of("--target", name)
    roles = {**models, **roles_of(arguments)}
    for model in (target, *roles.values()):
        model.config = GenerateConfig(max_retries=_RETRIES).merge(model.config)
    return target, roles, {**options, **options_of(arguments)}


def _answer_of(model: Model) -> Answer:
    async def answer(messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        with _naming(str(model)):
            return await model.generate(messages, config=model.config.merge(config))

    return answer


@contextmanager
def _naming(who: str) -> Iterator[None]:
    """Turns a provider's error, of whatever class, into one that names the way out."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause = cause_of(error)
        raise UserError(
            f"{who} did not answer ({type(cause).__name__}: {reason_of(cause)}). Check names of "
            "models, keys and addresses."
        ) from error


def _check_readable(models: Sequence[Model], messages: Sequence[ChatMessage]) -> None:
    if any(str(model).startswith(f"{PROVIDER}/") for model in models):
        try:
            readable(messages)
        except Unreadable as unread:
            raise UserError(f"{unread} {_WAY_OUT}") from unread


def _console() -> Console:
    return Console(highlight=False, markup=False, soft_wrap=not sys.stdout.isatty())


def shown(compared: Compared, target: str, defense: str, console: Console) -> list[RenderableType]:
    """What is printed, part by part.

    Args:
        compared: What came of the request.
        target: Name of the model.
        defense: Title of the defense.
        console: Where it is printed: two answers stand side by side if there is room.
    """
    parts: list[RenderableType] = [
        _line("Model", target),
        _line("Request", compared.request),
        _line(defense, f"{compared.did} ({compared.cost})"),
    ]
    if compared.reasoning:
        parts.append(_line("Reasoning", compared.reasoning))
    if compared.sent and compared.sent != compared.request:
        parts.append(_line("Sent instead", compared.sent))
    answers = {"Undefended": compared.undefended, f"Behind {defense}": compared.guarded}
    return [*parts, Text(), *_answers(answers, console)]


def _answers(answers: dict[str, Output], console: Console) -> list[RenderableType]:
    if not console.is_terminal:
        return [_line(title, _text(output)) for title, output in answers.items()]
    wide = console.width >= _SIDE_BY_SIDE
    panels = [
        Panel(
            Text(_text(output)),
            title=Text(clean(title)),
            title_align="left",
            width=console.width // 2 - 1 if wide else None,
        )
        for title, output in answers.items()
    ]
    return [Columns(panels, equal=True)] if wide else list(panels)


def _text(output: Output) -> str:
    remark = described(output)
    return "\n".join(part for part in (clean(output.text), f"[{remark}]" if remark else "") if part)


def _line(label: str, text: str) -> Text:
    return Text.assemble((f"{clean(label)}: ", "bold"), clean(text))


def _picture(image: str) -> RenderableType:
    """A picture in half blocks: each character is two pixels, one above the other."""
    drawn = from_data_uri(image)
    drawn.thumbnail((_PIXELS, _PIXELS))
    lines = []
    for y in range(0, drawn.height - 1, 2):
        line = Text()
        for x in range(drawn.width):
            upper, lower = (drawn.getpixel((x, row)) for row in (y, y + 1))
            line.append("\N{UPPER HALF BLOCK}", Style(color=_rgb(upper), bgcolor=_rgb(lower)))
        lines.append(line)
    return Group(*lines)


def _rgb(pixel: object) -> str:
    assert isinstance(pixel, tuple)
    return f"rgb({','.join(map(str, pixel))})"
