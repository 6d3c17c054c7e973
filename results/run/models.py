"""Models of a matrix, made so that their secrets do not reach Inspect's logs."""

import base64
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from inspect_ai.model import GenerateConfig, Model, get_model

from vlmguard.guard.redaction import redact, remember

# Their clients take `default_headers`, which need not be in the log as the rest is.
_OPENAI: Final = ("openai/", "openai-api/")


def make_model(name: str, arguments: dict[str, Any], config: GenerateConfig) -> Model:
    """A model that works with its secrets and is logged without those in its arguments.

    Inspect itself leaves out `api_key` and `aws_...`. It writes down `base_url` and the generation
    settings as they are: for OpenAI's client, a password in the one and headers in the other become
    headers of the client. For other providers they stay in the log.

    Args:
        name: Inspect's name of it.
        arguments: Its arguments.
        config: Its generation settings.

    Returns:
        The model.
    """
    remember(arguments)
    remember(config.model_dump(exclude_none=True))
    if name.startswith(_OPENAI):
        arguments, config = _headers_of_the_client(arguments, config)
    model = get_model(name, config=config, memoize=False, **arguments)
    # The provider has been made with them: these are what is logged, and compared on resuming.
    model.model_args = redact(model.model_args)
    return model


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
