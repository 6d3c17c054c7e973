"""Downloads a benchmark from the Hugging Face hub into its authors' layout."""

from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.constants import ENDPOINT

# HTTPError is the base of errors of whichever HTTP library the hub's client uses.
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from vlmguard.guard.cards import Card
from vlmguard.guard.errors import MissingData, UserError
from vlmguard.tasks.data.fetch.archives import ARCHIVES, unpack
from vlmguard.tasks.data.fetch.places import WRITE_FAULTS, Places, writing

__all__ = ["download", "hub_errors"]


def download(card: Card, revision: str | None, fetch: bool = True) -> tuple[Path, str]:
    """Download the files of a benchmark, and unpack its archives.

    Without a network, an earlier download is used if it is complete.

    Args:
        card: The benchmark; its `hub` is not None.
        revision: Branch, tag or commit; None for the default branch.
        fetch: Whether the network may be used; if not, only an earlier download.

    Returns:
        The snapshot folder and its commit.

    Raises:
        UserError: Gated without a token, unknown revision, no network, no such
            repository, or a broken archive; says what to do.
    """
    assert card.hub is not None
    with hub_errors(card, revision):
        folder = Path(
            snapshot_download(
                card.hub,
                repo_type="dataset",
                revision=revision,
                allow_patterns=list(card.hub_files),
                local_files_only=not fetch,
            )
        )
    _unpack(folder)
    # The last part of a snapshot's path is its commit.
    return folder, folder.name


@contextmanager
def hub_errors(card: Card, revision: str | None) -> Iterator[None]:
    """Say of the hub's errors in this block what to do.

    Args:
        card: The benchmark; its `hub` is not None.
        revision: What was asked for; None for the default branch.

    Raises:
        UserError: Gated without a token or without accepted terms, no such revision or repository,
            refused, or not reached (`MissingData`).
    """
    try:
        yield
    except GatedRepoError as error:
        raise UserError(
            f"{card.title}: {card.hub} is gated. Accept its terms on the hub "
            f"({ENDPOINT}/datasets/{card.hub}), then set HF_TOKEN (or run `hf auth login`). "
            f"{card.how_to_get}"
        ) from error
    except (RevisionNotFoundError, HFValidationError) as error:
        raise UserError(f"{card.title}: {card.hub} has no revision {revision}.") from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{card.title}: {card.hub} was not found on the hub, or needs a token. "
            f"{card.how_to_get}"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno in WRITE_FAULTS:
            raise
        # Its text is of many lines.
        said = f"cannot be reached ({type(error).__name__})"
        way = "Try again with a network, or use files on this machine"
        if isinstance(error, HfHubHTTPError):
            said = f"answers with status {error.response.status_code}"
            way = "Look at HF_TOKEN if there is one, or try again later"
        raise MissingData(
            f"{card.title}: the hub {said}. {way}. {card.how_to_get}",
            on_hub=True,
        ) from error
    except JSONDecodeError as error:
        raise MissingData(
            f"{card.title}: the hub's answer is no JSON. Is there a login page or a proxy before "
            f"it? {card.how_to_get}",
            on_hub=True,
        ) from error


def _unpack(folder: Path) -> None:
    """Unpack each archive once, into its own folder."""
    for archive in sorted(folder.rglob("*")):
        done = archive.with_suffix(".unpacked")
        if not archive.name.endswith(ARCHIVES) or done.exists():
            continue
        with writing(archive.parent):
            unpack(archive, Places(archive.parent, archive.parent))
            done.touch()
