"""Keeps the weights of local models loaded between the cells of one process."""

import asyncio

from inspect_ai.model import Model

from vlmguard.guard.redaction import redact
from vlmguard.guard.roles import LocalModel, unwrapped
from vlmguard.results.logs.answers import digest
from vlmguard.results.run.config import ModelChoice
from vlmguard.results.run.making import make_target

__all__ = ["Held"]


class Held:
    """Models that this process uses beside Inspect, so that their weights stay.

    Weights are freed when their last user in the process closes; this is one more user.
    """

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}

    def hold(self, chosen: tuple[ModelChoice, ...]) -> None:
        """Load these models, if they are not, and let go of all others.

        Args:
            chosen: The local models of the next cell.

        Raises:
            UserError: Weights cannot be loaded.
        """
        wanted = {digest([each.model, redact(each.model_args)]): each for each in chosen}
        for key in [key for key in self._models if key not in wanted]:
            asyncio.run(self._models.pop(key).api.aclose())
        for key, choice in wanted.items():
            if key not in self._models:
                made = unwrapped(make_target(choice))
                if isinstance(made.api, LocalModel):
                    asyncio.run(made.api.open())
                self._models[key] = made
