"""Makes models so that their secrets do not reach Inspect's logs."""

import base64
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from inspect_ai.model import GenerateConfig, Model, get_model

from vlmguard.guard.guarded_names import guarded_name
from vlmguard.guard.redaction import redact, remember

__all__ = ["make_model"]

# The clients of these providers take `default_headers`, which stay out of the log.
_OPENAI: Final = ("openai/", "openai-api/")


def make_model(name: str, arguments: dict[str, Any], config: GenerateConfig) -> Model:
    """A model that works with its secrets, but is logged without the secrets in its arguments.

    Inspect itself omits `api_key` and `aws_...`. It logs `base_url` and the generation settings
    unchanged. For OpenAI's client, a password in the first and headers in the second become headers
    of the client, for a model behind a defense (`guarded/`) too. For other providers they stay in
    the log.

    Args:
        name: Inspect's name of the model.
        arguments: Its arguments.
        config: Its generation settings.
    """
    remember(arguments)
    remember(config.model_dump(exclude_none=True))
    arguments, config = _moved(name, arguments, config)
    model = get_model(name, config=config, memoize=False, **arguments)
    # The provider was made with the secrets. These arguments are logged, and compared when a run
    # resumes.
    model.model_args = redact(model.model_args)
    return model


def _moved(
    name: str, arguments: dict[str, Any], config: GenerateConfig
) -> tuple[dict[str, Any], GenerateConfig]:
    """Arguments and settings with the secrets where Inspect does not log them."""
    guarded = guarded_name(name, arguments)
    if guarded is not None:
        inside, config = _moved(guarded.model, guarded.model_args, config)
        return {**guarded.options, **({"model_args": inside} if inside else {})}, config
    if name.startswith(_OPENAI):
        return _headers_of_the_client(arguments, config)
    return arguments, config


def _headers_of_the_client(
    arguments: dict[str, Any], config: GenerateConfig
) -> tuple[dict[str, Any], GenerateConfig]:
    headers = dict(arguments.get("default_headers") or {})
    address = arguments.get("base_url")
    parts = urlsplit(address) if isinstance(address, str) else None
    if parts is not None and parts.username is not None:
        who = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(who.encode()).decode()}"
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        arguments = {**arguments, "base_url": urlunsplit(bare)}
    if config.extra_headers:
        headers |= config.extra_headers
        config = config.model_copy(update={"extra_headers": None})
    remember({"headers": headers})
    return ({**arguments, "default_headers": headers} if headers else arguments), config
