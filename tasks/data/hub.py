"""Downloads a benchmark from the Hugging Face hub into its authors' layout."""

import zipfile
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from vlmguard.guard.cards import Card
from vlmguard.guard.errors import MissingData, UserError

__all__ = ["download"]


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
    try:
        folder = Path(
            snapshot_download(
                card.hub,
                repo_type="dataset",
                revision=revision,
                allow_patterns=list(card.hub_files),
                local_files_only=not fetch,
            )
        )
    except GatedRepoError as error:
        raise UserError(
            f"{card.title}: {card.hub} is gated. Accept its terms on the hub, then set HF_TOKEN "
            f"(or run `hf auth login`). {card.obtain}"
        ) from error
    except (RevisionNotFoundError, HFValidationError) as error:
        raise UserError(f"{card.title}: {card.hub} has no revision {revision}.") from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{card.title}: {card.hub} was not found on the hub, or needs a token. {card.obtain}"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise MissingData(
            f"{card.title}: the hub cannot be reached ({type(error).__name__}). Without a network, "
            f"use a local folder (-T data_dir=). {card.obtain}",
            on_hub=True,
        ) from error
    _unpack(folder)
    # The last part of a snapshot's path is its commit.
    return folder, folder.name


def _unpack(folder: Path) -> None:
    """Unpack each archive once, into its own folder."""
    for archive in sorted(folder.rglob("*.zip")):
        done = archive.with_suffix(".unpacked")
        if done.exists():
            continue
        try:
            with zipfile.ZipFile(archive) as bundle:
                # This is safe: extractall() removes absolute paths and `..` of malicious archives.
                bundle.extractall(archive.parent)
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(
                f"{archive}: cannot be unpacked ({error}). Delete it and run again."
            ) from error
        done.touch()
