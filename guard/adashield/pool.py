"""A pool of defense prompts, each with the request for which it was made; and the nearest one.

A pool is a JSONL file with `image` (a path below the file's folder), `query`, `prompt` and
`scenario` on each line, and perhaps `id`. Where a `provenance.json` lies beside it, as `vlmguard
pool` writes it, the digests in its `requests` say which requests the pool was built from.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from vlmguard.guard.aux_models.base import Checkpoint, in_worker
from vlmguard.guard.aux_models.clip import Features, pair_features
from vlmguard.guard.data_records import Text, named_records, parse_records
from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_bytes, read_json
from vlmguard.guard.images.prepare import ImageError, to_data_uri
from vlmguard.guard.paths import inside

__all__ = ["PROVENANCE", "Nearest", "Pool", "PoolItem", "read_pool", "request_digest"]

PROVENANCE: Final = "provenance.json"
"""The file beside a pool that says what it was built from."""


class PoolItem(BaseModel):
    """A line of a pool.

    Attributes:
        image: The image of the request that the prompt was made for: a path below the file's
            folder.
        query: Its words.
        prompt: The defense prompt.
        scenario: The kind of harm.
        id: Its name; by default the number of the line.
    """

    model_config = ConfigDict(frozen=True)

    image: Text
    query: str
    prompt: Text
    scenario: Text
    id: str = ""


@dataclass(frozen=True)
class Nearest:
    """The item of a pool that is most like a request.

    Attributes:
        item: The item.
        similarity: Cosine of the two, -1 to 1.
        features: What was computed of the request.
    """

    item: PoolItem
    similarity: float
    features: Features


@dataclass(frozen=True, eq=False)
class Pool:
    """A pool that was read.

    Attributes:
        folder: Its folder.
        items: Its items.
        digest: Identity of its content, images included: 12 hex digits.
        requests: Digests of the requests that it was built from; empty if that is not known.
    """

    folder: Path
    items: tuple[PoolItem, ...]
    digest: str
    requests: frozenset[str] = field(default=frozenset())

    async def prepare(self, checkpoint: Checkpoint) -> None:
        """Load CLIP and compute the features of all items, once.

        Raises:
            UserError: The checkpoint cannot be loaded, or is no CLIP model.
        """
        await in_worker(_features_of, self, checkpoint)

    async def nearest(self, checkpoint: Checkpoint, images: Sequence[str], text: str) -> Nearest:
        """The item that is most like a request; of several alike the first.

        Args:
            checkpoint: A CLIP model.
            images: The request's images, at least one; the one that is most like an item counts.
            text: Its words; only the first 77 tokens are read.
        """
        return await in_worker(_nearest, self, checkpoint, images, text)


def read_pool(path: Path) -> Pool:
    """Read a pool.

    Args:
        path: The JSONL file.

    Raises:
        UserError: The file, a line, an image or the provenance is missing or wrong.
    """
    records = named_records(path, ".jsonl")
    parsed = parse_records(records, PoolItem, path, strict=False)
    items = []
    digest = hashlib.sha256()
    for (name, _), item in zip(records, parsed, strict=True):
        image = inside(path.parent, item.image, f"{path}: {name}")
        data = read_bytes(image, f"It is the image of {path}: {name}. Put it there.")
        try:
            to_data_uri(data)
        except ImageError as error:
            raise UserError(f"{path}: {name}: {image} is no image ({error}). Replace it.") from None
        items.append(item.model_copy(update={"id": item.id or name}))
        content = (hashlib.sha256(data).hexdigest(), item.query, item.prompt, item.scenario)
        digest.update(repr(content).encode("utf-8", "backslashreplace"))
    return Pool(path.parent, tuple(items), digest.hexdigest()[:12], _built_from(path.parent))


def request_digest(images: Sequence[str], text: str) -> str:
    """Identity of a request: 16 hex digits over its images' bytes and its words.

    Args:
        images: Data URIs, or paths.
        text: Its words.
    """
    digest = hashlib.sha256()
    for image in images:
        digest.update(to_data_uri(image).partition(",")[2].encode() + b"\0")
    digest.update(" ".join(text.split()).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()[:16]


def _built_from(folder: Path) -> frozenset[str]:
    path = folder / PROVENANCE
    if not path.exists():
        return frozenset()
    content: Any = read_json(path, "Remove it, or build the pool again.")
    requests = content.get("requests") if isinstance(content, dict) else None
    if not isinstance(requests, list) or not all(isinstance(each, str) for each in requests):
        raise UserError(
            f"{path}: has no list of requests, so it is not from `vlmguard pool`. Move it away."
        )
    return frozenset(requests)


# Both run in the worker thread of the auxiliary models, one after another.


@lru_cache(maxsize=8)
def _features_of(pool: Pool, checkpoint: Checkpoint) -> "np.ndarray[tuple[int, int], Any]":
    pairs = [(str(pool.folder / item.image), item.query) for item in pool.items]
    return pair_features(checkpoint, pairs).vectors


def _nearest(pool: Pool, checkpoint: Checkpoint, images: Sequence[str], text: str) -> Nearest:
    known = _features_of(pool, checkpoint)
    features = pair_features(checkpoint, [(image, text) for image in images])
    cosines = (features.vectors @ known.T).max(axis=0)
    place = int(cosines.argmax())
    # Rounding may leave the range by a hair.
    similarity = float(np.clip(cosines[place], -1.0, 1.0))
    return Nearest(pool.items[place], similarity, features)
