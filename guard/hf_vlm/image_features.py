"""Keeps the vision tower's output by content, so that the same images pass the tower once.

Defenses send the same image to a model again and again (ETA: for every sentence). The cache holds
what `generate` of transformers 5.23 would get from `get_image_features` and pass to the model as
`mm_encoder_outputs`. A model that cannot take it gets pixels (`first_request.py` finds out which).

An entry holds all images of one request. Its key is a digest of the tensors that enter the tower,
so that other settings of the processor give another entry, and the adapter, which may change the
tower too. Each set of weights, with its number format, has its own cache.
"""

import inspect
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import torch

from vlmguard.guard.hf_vlm.prepared import Prepared, bytes_of
from vlmguard.guard.hf_vlm.vlm import MEBIBYTE

PIXELS: Final = ("pixel_values", "pixel_values_images", "image_patches")
"""Names of pixel tensors in processors' outputs, as `generate` knows them."""

Part = torch.Tensor | list[torch.Tensor]


@dataclass(frozen=True)
class Features:
    """Features of one request's images.

    Attributes:
        kind: Class of the library's output.
        pooled: Features by image, or by tile.
        deep: Features for later layers, by layer; empty for most models.
    """

    kind: Any
    pooled: Part
    deep: list[Part]

    @property
    def nbytes(self) -> int:
        """Their memory in bytes."""
        parts = [self.pooled, *self.deep]
        # Iterating over a tensor gives its rows.
        return sum(tensor.nbytes for part in parts for tensor in part)


class ImageFeatures:
    """A cache of features of images; the least recently used are dropped first.

    Args:
        mebibytes: The most memory for entries in MiB, on the model's device; 0 keeps nothing.
    """

    def __init__(self, mebibytes: int) -> None:
        self.limit = mebibytes * MEBIBYTE
        self._entries: OrderedDict[tuple[str | None, str], Features] = OrderedDict()
        self._used = 0

    def of(self, model: Any, adapter: str | None, requests: list[Prepared]) -> Any:
        """The features of these requests' images, in their order.

        Args:
            model: The model, with the adapter switched on.
            adapter: The adapter's name; None for the base alone.
            requests: Requests with images.

        Returns:
            The value for `mm_encoder_outputs["image"]` of `generate`.
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
    """Groups of requests whose images have the same sizes, so that one pass can encode them."""
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
    """One part for each request. Copies: a view would keep the memory of all parts."""
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
