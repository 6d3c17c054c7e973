"""How large a log becomes when it is read, before it is read."""

import zipfile
from pathlib import Path
from typing import Final

from vlmguard.results.logs.answers import LeftOut

MAX_MEMBER: Final = 500_000_000
"""Bytes of one part of a log, unpacked; a sample with many large images has some 50 million."""


def check_sizes(path: str) -> None:
    """Refuse a local log of which a part would fill the memory.

    Args:
        path: The log; one at a URL is passed over, as its sizes cannot be had for nothing.

    Raises:
        LeftOut: It states a part larger than `MAX_MEMBER`.
        OSError: It cannot be read.
        zipfile.BadZipFile: It is damaged.
    """
    if "://" in path:
        return
    if not zipfile.is_zipfile(path):
        sizes = {"the file": Path(path).stat().st_size}
    else:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
    for name, size in sizes.items():
        if size > MAX_MEMBER:
            raise LeftOut(
                f"too large: {name} has {size // 1_000_000} MB when unpacked (at most "
                f"{MAX_MEMBER // 1_000_000}); leave images out of logs with --no-log-images"
            )
