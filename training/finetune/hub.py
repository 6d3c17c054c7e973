"""`push_to_hub`: uploads the finished result, and no other file of the run's folder.

TRL's trainer would upload the whole folder at each checkpoint, with settings in a pickle and the
replies of target and judges, but without the card.
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
        UserError: The hub refused, or could not be reached; the result stays on the disk.
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
        what: The beginning of the message: the action that failed.

    Raises:
        UserError: Replaces an error of the hub or the network.
    """
    try:
        yield
    except Exception as error:  # of the hub's library, or of its HTTP library
        # The last of the hub's lines names the fault.
        said = " ".join(str(error).split())[:400]
        raise UserError(
            f"{what}: {type(error).__name__}: {said} See to HF_TOKEN (or hub_token), "
            "to hub_model_id and to the network, and start the same command again; or leave "
            "push_to_hub out and upload the folder yourself."
        ) from error
