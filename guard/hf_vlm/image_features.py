"""What the vision tower makes of images, kept by content: the same images go through it once.

Defenses put the same image to a model again and again (ETA: for every sentence). Kept is what
`generate` of transformers 5.23 itself would get from `get_image_features` and hand to the model as
`mm_encoder_outputs`; a model that takes none gets its pixels as before (`first_request.py` sees
which does). An entry belongs to the images of one request together, under a digest of the tensors
that enter the tower, so that whatever the processor does differently is another entry, and under
the adapter, which may change the tower too. Weights of another number format have a cache of
their own.
"""

import inspect
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import torch

from vlmguard.guard.hf_vlm.prepared import Prepared, bytes_of

MEBIBYTE: Final = 1 << 20
DEFAULT_MEBIBYTES: Final = 256
"""Room for about 27 images of a million pixels each with Qwen2-VL-7B."""

PIXELS: Final = ("pixel_values", "pixel_values_images", "image_patches")
"""Names under which processors hand over pixels, as `generate` knows them."""

Part = torch.Tensor | list[torch.Tensor]


@dataclass(frozen=True)
class Features:
    """Features of one request's images.

    Attributes:
        kind: Class of the library's output.
        pooled: Features by image, or by tile.
        deep: Those that go into later layers, by layer; empty for most models.
    """

    kind: Any
    pooled: Part
    deep: list[Part]

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        parts = [self.pooled, *self.deep]
        # A tensor gives its rows.
        return sum(tensor.nbytes for part in parts for tensor in part)


class ImageFeatures:
    """Features of images, the least recently used of which go first.

    Args:
        mebibytes: The most memory for entries, on the model's device; 0 keeps none.
    """

    def __init__(self, mebibytes: int) -> None:
        self.limit = mebibytes * MEBIBYTE
        self._entries: OrderedDict[tuple[str | None, str], Features] = OrderedDict()
        self._used = 0

    def of(self, model: Any, adapter: str | None, requests: list[Prepared]) -> Any:
        """The features of these requests' images, in their order.

        Args:
            model: The model, with the adapter switched on.
            adapter: The adapter's name; None for the bare base.
            requests: Requests with images.

        Returns:
            What `generate` takes as `mm_encoder_outputs["image"]`.
        """
        found: dict[str, Features] = {}
        for request in requests:
            key = (adapter, request.digest)
            if key in self._entries:
                self._entries.move_to_end(key)
                found[request.digest] = self._entries[key]
        missing = {r.digest: r for r in requests if r.digest not in found}
        for alike in _alike(model, list(missing.values())):
            for request, features in zip(alike, _encode(model, alike), strict=True):
                found[request.digest] = features
                self._keep((adapter, request.digest), features)
        return _join([found[request.digest] for request in requests])

    def clear(self) -> None:
        """Drop all entries."""
        self._entries.clear()
        self._used = 0

    def _keep(self, key: tuple[str | None, str], features: Features) -> None:
        if features.nbytes > self.limit:
            return
        self._entries[key] = features
        self._used += features.nbytes
        while self._used > self.limit:
            _, oldest = self._entries.popitem(last=False)
            self._used -= oldest.nbytes


def takes_features(model: Any) -> bool:
    """Whether `generate` can be given features of images instead of pixels."""
    takes = "mm_encoder_outputs" in inspect.signature(model.forward).parameters
    return takes and "get_image_features" in dir(model.base_model)


def _visual(model: Any, request: Prepared) -> dict[str, torch.Tensor]:
    names = inspect.signature(model.base_model.get_image_features).parameters
    return {name: request.inputs[name] for name in names if name in request.inputs}


def _alike(model: Any, requests: list[Prepared]) -> list[list[Prepared]]:
    """Requests whose images are of the same sizes, and can share a pass and its output."""
    groups: dict[tuple[object, ...], list[Prepared]] = {}
    for request in requests:
        key = tuple(
            (name, value.shape, b"" if name in PIXELS else bytes(bytes_of(value)))
            for name, value in _visual(model, request).items()
        )
        groups.setdefault(key, []).append(request)
    return list(groups.values())


def _encode(model: Any, requests: list[Prepared]) -> list[Features]:
    visual = [_visual(model, request) for request in requests]
    together = {
        name: torch.cat([each[name] for each in visual]).to(
            model.device, model.dtype if visual[0][name].is_floating_point() else None
        )
        for name in visual[0]
    }
    with torch.inference_mode():
        output = model.base_model.get_image_features(**together, return_dict=True)
    pooled = _cut(output.pooler_output, len(requests))
    layers = output.get("deepstack_features") or []
    deep = [_cut(layer, len(requests)) for layer in layers]
    return [
        Features(type(output), part, [layer[index] for layer in deep])
        for index, part in enumerate(pooled)
    ]


def _cut(features: Any, count: int) -> list[Part]:
    """One part for each request; copies, or all would live as long as one of them."""
    size, rest = divmod(len(features), count)
    if rest or not isinstance(features[0], torch.Tensor):
        raise TypeError("features of images in a form that is not known")
    parts = [features[index * size : (index + 1) * size] for index in range(count)]
    if _is_tensor(features):
        return [part.clone() for part in parts]
    return [[each.clone() for each in part] for part in parts]


def _join(features: list[Features]) -> Any:
    first = features[0]
    deep = [_joined([each.deep[layer] for each in features]) for layer in range(len(first.deep))]
    more = {"deepstack_features": deep} if deep else {}
    return first.kind(pooler_output=_joined([each.pooled for each in features]), **more)


def _joined(parts: list[Part]) -> Part:
    if _is_tensor(parts[0]):
        return torch.cat(parts)  # type: ignore[arg-type]  # all of one kind
    return [tensor for part in parts for tensor in part]


def _is_tensor(part: object) -> bool:
    return isinstance(part, torch.Tensor)
