"""Base64 as a file that is decoded where it is read: a picture's header is a few bytes of many."""

import binascii
import io
from typing import Final

__all__ = ["Base64File"]

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class Base64File(io.RawIOBase):
    """The bytes that a text in base64 stands for.

    Args:
        text: The text; all of it is checked.

    Raises:
        ValueError: It is not complete, or has line breaks or characters of another alphabet.
    """

    def __init__(self, text: str) -> None:
        digits = text.rstrip("=")
        padding = len(text) - len(digits)
        if len(text) % 4 or padding > 2 or digits.encode("ascii").translate(None, _ALPHABET):
            raise ValueError("not base64")
        self._text = text
        self._at = 0
        self.size = len(text) // 4 * 3 - padding
        """Number of bytes."""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as in any file."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError("a place before the beginning")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Decode the next bytes."""
        first, skipped = divmod(self._at, 3)
        last = -(-(self._at + len(buffer)) // 3)
        # 4 characters are 3 bytes.
        decoded = binascii.a2b_base64(self._text[4 * first : 4 * last])
        found = decoded[skipped : skipped + len(buffer)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)
