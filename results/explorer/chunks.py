"""Texts of samples in files that a page loads when it needs them, from a folder too.

A browser lets a page of a folder run scripts beside it, and read nothing else: so each file calls
a function of the page with its content. Its name is the digest of that content.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vlmguard.results.sanitize import escaped

__all__ = ["Chunks"]

_MOST_BYTES: Final = 200_000
_MOST: Final = 50


@dataclass
class Chunks:
    """The files of one run's samples, in order.

    Attributes:
        folder: Where they go.
        files: Name of each, and the place of its first sample.
    """

    folder: Path
    files: list[tuple[str, int]] = field(default_factory=list)
    _waiting: list[str] = field(default_factory=list)
    _bytes: int = 0
    _next: int = 0

    def add(self, content: Any) -> None:
        """Add the next sample; None if the run does not have it."""
        text = escaped(json.dumps(content, ensure_ascii=False, separators=(",", ":")))
        if self._waiting and self._bytes + len(text) > _MOST_BYTES:
            self.finish()
        self._waiting.append(text)
        self._bytes += len(text)
        self._next += 1
        if len(self._waiting) == _MOST:
            self.finish()

    def finish(self) -> None:
        """Write what is waiting."""
        if not self._waiting:
            return
        content = f"explorerChunk([{','.join(self._waiting)}]);\n".encode()
        name = f"{hashlib.sha256(content).hexdigest()[:20]}.js"
        (self.folder / name).write_bytes(content)
        self.files.append((name, self._next - len(self._waiting)))
        self._waiting, self._bytes = [], 0
