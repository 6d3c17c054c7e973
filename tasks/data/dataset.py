"""Makes a dataset from loaded samples: checks images and ids, and records the origin."""

import hashlib
import json
import random
from logging import getLogger
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage

from vlmguard.guard.cards import Card
from vlmguard.guard.data_source import Source, file_hash
from vlmguard.guard.errors import MissingData, UserError, check_choice
from vlmguard.guard.images.prepare import PreparedImage, prepare_images, size_of
from vlmguard.guard.messages import image_parts, images_of, user_message
from vlmguard.guard.record import DATA_DIGEST, LEFT_OUT
from vlmguard.guard.templates import template_hash
from vlmguard.tasks.data.image_sizes import Sizes, extreme_sizes

__all__ = ["MissingImages", "build_dataset", "check_drawing", "draw", "user_input"]

MissingImages = Literal["refuse", "count"]
"""What becomes of samples whose images are missing: they stop the run, or are counted apart."""

T = TypeVar("T")

_LOGGER: Final = getLogger(__name__)

_SHOWN = 3


def user_input(text: str, *images: Path) -> list[ChatMessage]:
    """A sample's input: one user turn, images (paths) first, then the request."""
    return [user_message(map(str, images), text)]


def build_dataset(
    samples: list[Sample],
    source: Source,
    files: list[Path],
    missing_images: MissingImages = "refuse",
) -> tuple[MemoryDataset, dict[str, Any]]:
    """Check every image and id before any call is paid for.

    Args:
        samples: Samples whose images are paths (or data URIs that we drew).
        source: The data's source.
        files: The annotation files that were read.
        missing_images: Whether samples whose images do not exist stop the run, or are left out and
            counted. A damaged image always stops it.

    Returns:
        The dataset, and the provenance for `Task(metadata=...)`: `origin`, SHA-256 of the
        annotation `files`, and number, digest, conversions and rules of the `images`; and the sizes
        for `images_fit`; and if samples were left out, their ids (`missing_images`) and what tables
        need to count them (`left_out`: category, expected, subset).

    Raises:
        UserError: Two samples share an id, or images are missing or broken (or all are missing);
            names the first few and says where to get them.
    """
    check_choice("-T missing_images", missing_images, get_args(MissingImages))
    _check_ids(samples, source)
    lacking: list[Sample] = []
    if missing_images == "count":
        samples, lacking = _with_images(samples, source)
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
        **_left_out(lacking),
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


def draw(
    items: list[T],
    n: int,
    seed: int,
    name: str,
    card: Card | None = None,
    whole: int | None = None,
) -> list[T]:
    """Draw `n` items with a seed; they keep their order.

    Args:
        items: The items to draw from.
        n: Number of items to draw.
        seed: Seed of the drawing.
        name: Name of the items, for the message.
        card: The benchmark whose items they are, for the message.
        whole: How many of them the benchmark has.

    Raises:
        UserError: There are fewer than `n` items, or `n` is not positive; says so if the data
            folder does not hold them all.
    """
    check_drawing(len(items), n, name, card, whole)
    chosen = set(random.Random(seed).sample(range(len(items)), n))
    return [item for index, item in enumerate(items) if index in chosen]


def check_drawing(
    count: int, n: int, name: str, card: Card | None = None, whole: int | None = None
) -> None:
    """Refuse to draw `n` of `count` items where that cannot be, as `draw` does.

    Raises:
        UserError: There are fewer than `n` items, or `n` is not positive.
    """
    if 0 < n <= count:
        return
    said = f"{name}: {n} cannot be drawn, choose between 1 and {count}."
    if card is not None and whole is not None and count < whole:
        said += (
            f" The data folder holds {count:,} of the {whole:,} of {card.title} "
            f"(vlmguard data {card.name} says what is missing)."
        )
    raise UserError(said)


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


def _left_out(lacking: list[Sample]) -> dict[str, Any]:
    if not lacking:
        return {}
    about = {
        str(sample.id): {
            name: (sample.metadata or {}).get(name, "")
            for name in ("category", "expected", "subset")
        }
        for sample in lacking
    }
    return {"missing_images": list(about), LEFT_OUT: about}


def _with_images(samples: list[Sample], source: Source) -> tuple[list[Sample], list[Sample]]:
    """The samples whose images all exist, and the others."""
    kept = []
    lacking = []
    for sample in samples:
        places = [Path(image) for image in images_of(sample.input) if not image.startswith("data:")]
        if all(source.inside(path, str(sample.id)).exists() for path in places):
            kept.append(sample)
        else:
            lacking.append(sample)
    if not kept:
        raise MissingData(
            f"{source.card.title}: none of the images of its {len(samples)} samples is below "
            f"{source.root}. {source.card.how_to_get}",
            source.on_hub,
        )
    if lacking:
        _LOGGER.warning(
            "%s: %s of %s samples are left out, since their images are missing: %s%s.",
            source.card.title,
            len(lacking),
            len(samples),
            ", ".join(str(sample.id) for sample in lacking[:_SHOWN]),
            f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else "",
        )
    return kept, lacking


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
            f"{shown}{more}. {source.card.how_to_get}",
            source.on_hub,
        )
    return prepared
