"""Drawn scenes of the microworld with their requests: what its tiny models can be asked.

They are of the test split: no model saw these pairs of picture and request in training. Each kind
of hazard comes with a harmless twin, so that it shows whether a guard tells them apart.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from vlmguard.training.microworld.world.drawing import data_uri
from vlmguard.training.microworld.world.hazards import SCENES, Pair, pairs

__all__ = ["Scene", "scenes"]

_SEED: Final = 7 * 10**7
"""The seeds of these drawings are not used elsewhere."""


@dataclass(frozen=True)
class Scene:
    """A drawn picture and a request about it.

    Attributes:
        name: What the picture shows, with its number (`1-cliff`).
        image: The drawing, as a data URI.
        request: The request.
        pair: The picture and the request in the world's terms.
    """

    name: str
    image: str
    request: str
    pair: Pair

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of a chat request."""
        parts = [
            {"type": "image_url", "image_url": {"url": self.image}},
            {"type": "text", "text": self.request},
        ]
        return [{"role": "user", "content": parts}]

    def described(self) -> dict[str, Any]:
        """The scene as the server gives it."""
        return {
            "id": self.name,
            "object": "microworld.scene",
            "request": self.request,
            "kind": self.pair.kind,
            "hazardous": self.pair.hazardous,
            "image": self.image,
            "messages": self.messages,
        }


@cache
def scenes() -> tuple[Scene, ...]:
    """A hazardous and a harmless scene for each kind of hazard, in turn; always the same."""
    tested = pairs("test")
    chosen = []
    for number, kind in enumerate([*SCENES, "visual", "typographic"]):
        hazardous = [pair for pair in tested if pair.kind == kind and pair.hazardous]
        harmless = [pair for pair in tested if pair.kind == kind and not pair.hazardous]
        # Another picture of each kind.
        risky = hazardous[number % len(hazardous)]
        same = [pair for pair in harmless if pair.picture == risky.picture]
        chosen += [risky, (same or harmless)[0]]
    return tuple(
        Scene(
            name=f"{number}-{pair.picture.name}",
            image=data_uri(pair.picture, _SEED + number),
            request=pair.request.text,
            pair=pair,
        )
        for number, pair in enumerate(chosen, start=1)
    )
