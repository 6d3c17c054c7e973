"""`push_to_hub`: what is uploaded is the finished result, and nothing else of the run's folder.

TRL's trainer would upload the folder as it is at each checkpoint, with settings in a pickle, what
target and judges said, and without the card.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from vlmguard.guard.errors import UserError


def upload(output_dir: Path, names: list[str], repo: str, arguments: Any) -> None:
    """Upload a result, in one commit.

    Args:
        output_dir: The run's folder.
        names: Files of the result, in it.
        repo: The repository, which exists.
        arguments: TRL's configuration; `hub_token` and `hub_revision` are used.

    Raises:
        UserError: The hub refused, or could not be reached; the result is on the disk.
    """
    with hub_errors(f"The result is complete in {output_dir}, but was not uploaded to {repo}"):
        HfApi().upload_folder(
            repo_id=repo,
            folder_path=output_dir,
            allow_patterns=[
                f"{name}/*" if (output_dir / name).is_dir() else name for name in names
            ],
            commit_message="Upload a rewriter trained by vlmguard",
            token=arguments.hub_token,
            revision=arguments.hub_revision,
        )


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Turn the hub's errors into a message.

    Args:
        what: What could not be done, to begin it with.

    Raises:
        UserError: In place of an error of the hub or of the way to it.
    """
    try:
        yield
    except Exception as error:  # of the hub's library, or of whatever it speaks HTTP with
        # The hub says what is wrong in the last of several lines.
        said = " ".join(str(error).split())[:400]
        raise UserError(
            f"{what}: {type(error).__name__}: {said} See to HF_TOKEN (or hub_token), "
            "to hub_model_id and to the network, and start the same command again; or leave "
            "push_to_hub out and upload the folder yourself."
        ) from error
