"""Makes the models of a matrix so that their secrets do not reach Inspect's logs."""

import base64
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

# Inspect has no public name for the error of a missing key, nor for the list of its providers.
from inspect_ai._util.error import PrerequisiteError
from inspect_ai._util.registry import registry_find, registry_unqualified_name
from inspect_ai.model import GenerateConfig, Model, get_model
from rich.text import Text

from vlmguard.guard.errors import UserError
from vlmguard.guard.guarded_names import defense_of, guarded_name
from vlmguard.guard.redaction import redact, remember
from vlmguard.results.run.config import FILL_IN, ModelChoice

# The clients of these providers take `default_headers`, which stay out of the log.
_OPENAI: Final = ("openai/", "openai-api/")
# These providers only look for their package and key when they are made, and contact nothing.
_KEYED: Final = (
    *("openai", "openai-api", "anthropic", "google", "groq", "mistral"),
    *("openrouter", "together", "fireworks"),
)


def unusable_models(chosen: Iterable[ModelChoice]) -> list[str]:
    """Why models cannot be used, as far as that shows without a call and without weights.

    Args:
        chosen: Targets and models of roles; those to be filled in are passed over.

    Returns:
        A clause for each such model: an unknown provider, or a missing key or package.
    """
    found = [_fault(each) for each in chosen if FILL_IN not in f"{each.model} {each.model_args}"]
    return [fault for fault in dict.fromkeys(found) if fault]


def make_model(name: str, arguments: dict[str, Any], config: GenerateConfig) -> Model:
    """A model that works with its secrets, but is logged without the secrets in its arguments.

    Inspect itself omits `api_key` and `aws_...`. It logs `base_url` and the generation settings
    unchanged. For OpenAI's client, a password in the first and headers in the second become headers
    of the client. For other providers they stay in the log.

    Args:
        name: Inspect's name of the model.
        arguments: Its arguments.
        config: Its generation settings.
    """
    remember(arguments)
    remember(config.model_dump(exclude_none=True))
    if name.startswith(_OPENAI):
        arguments, config = _headers_of_the_client(arguments, config)
    model = get_model(name, config=config, memoize=False, **arguments)
    # The provider was made with the secrets. These arguments are logged, and compared when a run
    # resumes.
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


def _fault(given: ModelChoice) -> str:
    provider, slash, name = given.model.partition("/")
    if not (slash and name):
        return f"model {given.model}: write PROVIDER/NAME, e.g. openai/gpt-4o or hf-vlm/FOLDER"
    if not registry_find(
        lambda info: info.type == "modelapi" and registry_unqualified_name(info) == provider
    ):
        return (
            f"model {given.model}: Inspect knows no provider {provider}. For weights of "
            "transformers write hf-vlm/NAME, and see inspect.aisi.org.uk/providers.html"
        )
    try:
        guarded = guarded_name(given.model, given.model_args)
        if guarded is not None:
            defense_of(guarded)(**guarded.options)
    except UserError as error:
        return f"model {given.model}: {str(error).removesuffix('.')}"
    if guarded is not None:
        inside = {"model": guarded.model, "model_args": guarded.model_args}
        return _fault(given.model_copy(update=inside))
    if provider in _KEYED:
        try:
            make_model(given.model, given.model_args, given.generate)
        except (PrerequisiteError, TypeError, ValueError) as error:
            said = " ".join(Text.from_markup(str(error)).plain.split())
            return f"model {given.model}: {said.removeprefix('ERROR: ').removesuffix('.')}"
    return ""
