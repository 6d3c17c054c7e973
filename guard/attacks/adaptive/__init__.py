"""Attacks on a guard itself, by someone who knows that a model reads requests first.

The attacker knows the rewriter's prompt and the form of its reply, and cannot change its weights.
Each attack is static and of ours; its name is `adaptive:R1` and so on.
"""

from vlmguard.guard.attacks.adaptive.approval import approval as approval
from vlmguard.guard.attacks.adaptive.drawn_note import drawn_note as drawn_note
from vlmguard.guard.attacks.adaptive.encoding import encoding as encoding
from vlmguard.guard.attacks.adaptive.forged_tags import forged_tags as forged_tags
from vlmguard.guard.attacks.adaptive.leak import leak as leak
from vlmguard.guard.attacks.adaptive.output_format import output_format as output_format
from vlmguard.guard.attacks.adaptive.over_refusal import over_refusal as over_refusal

__all__ = [
    "approval",
    "drawn_note",
    "encoding",
    "forged_tags",
    "leak",
    "output_format",
    "over_refusal",
]
