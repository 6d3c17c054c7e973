"""Small pictures of samples as files, each once, however many samples share it."""

import base64
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from PIL import Image

from vlmguard.guard.images.decoding import decode

__all__ = ["Pictures", "Shown"]

_SMALL: Final = 320
_LARGE: Final = 800
_QUALITY: Final = 78

Shown = list[str]
"""Names of the files of a picture: small, and large if it is larger than that; empty if the log
does not hold it, or it cannot be read."""


@dataclass
class Pictures:
    """The pictures of all pages.

    Attributes:
        folder: Where their files go; None leaves all of them out.
        known: Names of the files of each picture, by its digest.
    """

    folder: Path | None
    known: dict[str, Shown] = field(default_factory=dict)

    def of(self, sources: list[str]) -> list[Shown]:
        """The files of pictures, written if they are new.

        Args:
            sources: Pictures of a log. Only bytes are read, and no path or address.
        """
        return [] if self.folder is None else [self._file(each) for each in sources]

    def _file(self, source: str) -> Shown:
        head, comma, content = source.partition(",")
        if not (head.startswith("data:image/") and head.endswith(";base64") and comma):
            return []
        name = hashlib.sha256(content.encode()).hexdigest()[:20]
        if name not in self.known:
            self.known[name] = self._written(name, content)
        return self.known[name]

    def _written(self, name: str, content: str) -> Shown:
        assert self.folder is not None
        try:
            picture, _ = decode(base64.b64decode(content, validate=True), "srgb")
        # Decoders raise errors of all kinds for a damaged picture: it is shown as one.
        except Exception:
            return []
        files = [f"{name}.jpg"]
        (self.folder / files[0]).write_bytes(_jpeg(picture, _SMALL))
        if max(picture.size) > _SMALL:
            files.append(f"{name}-large.jpg")
            (self.folder / files[1]).write_bytes(_jpeg(picture, _LARGE))
        return files


def _jpeg(picture: Image.Image, most: int) -> bytes:
    smaller = picture.copy()
    smaller.thumbnail((most, most), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    smaller.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return file.getvalue()
