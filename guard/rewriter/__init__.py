"""The rewriter: prompts (`rewriting`, `prompts`), replies (`reply`, `forms`, `words`, `asks`).

`taught` reads which prompt a trained rewriter knows. `decision` holds what becomes of a request.
"""

from vlmguard.guard.rewriter.rewriting import (
    ImageLike,
    Rewriter,
    UnusableRewrite,
    read_reply,
)

__all__ = ["ImageLike", "Rewriter", "UnusableRewrite", "read_reply"]
