"""Says which models of a matrix cannot be used."""

from collections.abc import Iterable
from typing import Final

# Inspect has no public name for the error of a missing key, nor for the list of its providers.
from inspect_ai._util.error import PrerequisiteError
from inspect_ai._util.registry import registry_find, registry_unqualified_name
from rich.text import Text

from vlmguard.guard.errors import UserError
from vlmguard.guard.guarded_names import guarded_name, made_defense
from vlmguard.guard.model_secrets import make_model
from vlmguard.results.run.config import FILL_IN, ModelChoice

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
            made_defense(guarded)
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
