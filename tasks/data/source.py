"""Finds a benchmark's data: in a local folder, or on the hub.

Data come from a local folder in the authors' layout (`-T data_dir=`, or the benchmark's folder
below `VLMGUARD_DATA`) or from the Hugging Face hub, whose files are downloaded into the same
layout. Nothing is downloaded if a local folder was named. A folder below `VLMGUARD_DATA` without
any file, besides the record of `vlmguard data fetch`, is none: a fetch that was cut off left it.
"""

from logging import getLogger
from typing import Final, get_args

from vlmguard.guard.cards import Card
from vlmguard.guard.data_source import DATA_ROOT, Source, data_root, local
from vlmguard.guard.downloads import downloads_allowed
from vlmguard.guard.errors import MissingData, UserError, check_choice
from vlmguard.guard.images.decoding import Colour
from vlmguard.guard.images.prepare import DEFAULT_RULES, ImageRules
from vlmguard.guard.paths import user_path
from vlmguard.tasks.data.fetch.consent import conditions
from vlmguard.tasks.data.fetch.record import holds_data

__all__ = ["locate"]

_LOGGER: Final = getLogger(__name__)


def locate(
    card: Card,
    data_dir: str | None = None,
    revision: str | None = None,
    images: ImageRules = DEFAULT_RULES,
) -> Source:
    """Find a benchmark's data: `data_dir`, then `VLMGUARD_DATA`, then the hub.

    Args:
        card: The benchmark.
        data_dir: The benchmark's own folder.
        revision: Hub branch, tag or commit; asks for the hub even where a
            local folder exists.
        images: How to take in its pictures (`-T colour=`, `-T fit_images=`).

    Raises:
        UserError: Nothing was found (`MissingData`; the message says where to get the data), or
            options exclude each other.
    """
    if data_dir and revision:
        raise UserError("-T data_dir= and -T revision= exclude each other: local folder or hub.")
    check_choice("-T colour", images.colour, get_args(Colour))
    if data_dir:
        return local(card, user_path(data_dir), images)
    root = data_root()
    if root and not revision and holds_data(root / card.name):
        return local(card, root / card.name, images)
    if card.hub is None:
        if revision:
            raise UserError(f"{card.title} has no official hub repository. {card.how_to_get}")
        raise MissingData(
            f"{card.title}: no data found (no -T data_dir=, no folder {card.name} with files below "
            f"{DATA_ROOT}={root or '(not set)'}). {card.how_to_get}"
        )
    # Imported on demand: a run on local data needs no hub client.
    from vlmguard.tasks.data.hub import download

    if downloads_allowed() and (why := conditions(card)):
        _LOGGER.warning("%s comes from the hub and is %s: %s", card.title, why, card.license)
    folder, sha = download(card, revision, fetch=downloads_allowed())
    # Files of a hub snapshot are links into the repository's cache folder.
    boundary = folder.parent.parent.resolve()
    return Source(card, folder, boundary, f"hub:{card.hub}@{sha}", images)
