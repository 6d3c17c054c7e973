"""The rewriter: asked (`rewriting`, `prompts`), read (`reply`, `forms`, `words`, `asks`).

`taught` is what a trained rewriter states about itself, `decision` what becomes of a request.
"""

from vlmguard.guard.rewriter.rewriting import (
    ImageLike,
    Rewriter,
    UnusableRewrite,
    read_reply,
)

__all__ = ["ImageLike", "Rewriter", "UnusableRewrite", "read_reply"]
