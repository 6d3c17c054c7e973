"""Lets Inspect take prices of models that it does not know, as local and served ones."""

from collections.abc import Mapping
from typing import Any, Final

from inspect_ai.model import ModelInfo, get_model_info, set_model_info

from vlmguard.guard.paths import user_path
from vlmguard.guard.yaml_files import read_yaml

__all__ = ["know_priced_models"]

_PRICES: Final = "model_cost_config"


def know_priced_models(options: Mapping[str, Any]) -> None:
    """Make the models known to Inspect whose prices a configuration's options name.

    Without that Inspect stops with `Model ... not found`.

    Args:
        options: Options of `eval_set`; prices are under `model_cost_config`, or in the file that
            it names.

    Raises:
        UserError: The file cannot be read.
    """
    prices = options.get(_PRICES)
    if isinstance(prices, str):
        prices = read_yaml(user_path(prices))
    for name in prices if isinstance(prices, dict) else ():
        if get_model_info(str(name)) is None:
            set_model_info(str(name), ModelInfo())
