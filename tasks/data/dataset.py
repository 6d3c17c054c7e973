"""Makes a dataset from loaded samples: checks images and ids, and records the origin."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any, TypeVar

from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage

from vlmguard.guard.data_source import Source, file_hash
from vlmguard.guard.errors import MissingData, UserError
from vlmguard.guard.images.prepare import PreparedImage, prepare_images, size_of
from vlmguard.guard.messages import image_parts, images_of, user_message
from vlmguard.guard.record import DATA_DIGEST
from vlmguard.guard.templates import template_hash
from vlmguard.tasks.data.image_sizes import Sizes, extreme_sizes

__all__ = ["build_dataset", "draw", "user_input"]

T = TypeVar("T")

_SHOWN = 3


def user_input(text: str, *images: Path) -> list[ChatMessage]:
    """A sample's input: one user turn, images (paths) first, then the request."""
    return [user_message(map(str, images), text)]


def build_dataset(
    samples: list[Sample], source: Source, files: list[Path]
) -> tuple[MemoryDataset, dict[str, Any]]:
    """Check every image and id before any call is paid for.

    Args:
        samples: Samples whose images are paths (or data URIs that we drew).
        source: The data's source.
        files: The annotation files that were read.

    Returns:
        The dataset, and the provenance for `Task(metadata=...)`: `origin`, SHA-256 of the
        annotation `files`, and number, digest, conversions and rules of the `images`; and the sizes
        for `images_fit`.

    Raises:
        UserError: Two samples share an id, or images are missing or broken;
            names the first few and says where to get them.
    """
    _check_ids(samples, source)
    prepared = _prepare_images(samples, source)
    digest = hashlib.sha256("".join(sorted(p.sha256 for p in prepared.values())).encode())
    provenance = {
        "origin": source.origin,
        "files": {str(path.relative_to(source.root)): file_hash(path) for path in files},
        "images": {
            "count": len(prepared),
            "sha256": digest.hexdigest(),
            "converted": sum(1 for image in prepared.values() if image.notes),
            "colour": source.images.colour,
            "fit": source.images.fit,
            "extreme": extreme_sizes(_sizes(samples, prepared)),
        },
    }
    # In each sample, since a run that continued after a change of the data holds samples of both.
    identity = {DATA_DIGEST: template_hash(json.dumps(provenance, sort_keys=True))}
    for sample in samples:
        sample.metadata = {**(sample.metadata or {}), **identity}
        notes = [note for image in images_of(sample.input) for note in prepared[image].notes]
        if notes:
            sample.metadata["image_notes"] = notes
        for part in image_parts(sample.input):
            part.image = prepared[part.image].reference
    return MemoryDataset(samples, name=source.card.name, location=str(source.root)), provenance


def draw(items: list[T], n: int, seed: int, name: str) -> list[T]:
    """Draw `n` items with a seed; they keep their order.

    Args:
        items: The items to draw from.
        n: Number of items to draw.
        seed: Seed of the drawing.
        name: Name of the items, for the message.

    Raises:
        UserError: There are fewer than `n` items, or `n` is not positive.
    """
    if not 0 < n <= len(items):
        raise UserError(f"{name}: {n} cannot be drawn, choose between 1 and {len(items)}.")
    chosen = set(random.Random(seed).sample(range(len(items)), n))
    return [item for index, item in enumerate(items) if index in chosen]


def _sizes(samples: list[Sample], prepared: dict[str, PreparedImage]) -> Sizes:
    """One size per sample: that of its thinnest image."""
    return {
        str(sample.id): max(
            (prepared[image].size for image in images), key=lambda size: max(size) / min(size)
        )
        for sample in samples
        if (images := images_of(sample.input))
    }


def _check_ids(samples: list[Sample], source: Source) -> None:
    seen: set[str | int | None] = set()
    for sample in samples:
        if sample.id in seen:
            raise UserError(
                f"{source.card.title}: the id {sample.id} occurs twice in {source.root}. "
                f"Remove one of the records, or download the file again."
            )
        seen.add(sample.id)


def _prepare_images(samples: list[Sample], source: Source) -> dict[str, PreparedImage]:
    users: dict[Path, str] = {}
    problems: list[str] = []
    prepared: dict[str, PreparedImage] = {}
    for sample in samples:
        for image in images_of(sample.input):
            if image.startswith("data:"):
                digest = hashlib.sha256(image.encode()).hexdigest()
                prepared[image] = PreparedImage(image, digest, (), size_of(image))
                continue
            path = source.inside(Path(image), str(sample.id))
            users.setdefault(path, str(sample.id))

    for path, result in prepare_images(users, source.images).items():
        if isinstance(result, PreparedImage):
            prepared[str(path)] = result
        else:
            problems.append(f"{users[path]}: {result}")
    if problems:
        shown = "; ".join(problems[:_SHOWN])
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise MissingData(
            f"{source.card.title}: {len(problems)} of {len(users)} images cannot be used: "
            f"{shown}{more}. {source.card.obtain}",
            source.on_hub,
        )
    return prepared
