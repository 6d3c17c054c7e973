"""Attacks on a guard itself, by someone who knows that a model reads requests first.

The attacker knows the rewriter's prompt and the form of its reply, and cannot change its weights.
Each attack is static and of ours; its name is `adaptive:R1` and so on.
"""

from vlmguard.guard.attacks.adaptive.approval import approval as approval
from vlmguard.guard.attacks.adaptive.denial import denial as denial
from vlmguard.guard.attacks.adaptive.drawn_note import drawn_note as drawn_note
from vlmguard.guard.attacks.adaptive.encoding import encoding as encoding
from vlmguard.guard.attacks.adaptive.filler import filler as filler
from vlmguard.guard.attacks.adaptive.forged_tags import forged_tags as forged_tags
from vlmguard.guard.attacks.adaptive.forged_turns import forged_turns as forged_turns
from vlmguard.guard.attacks.adaptive.leak import leak as leak
from vlmguard.guard.attacks.adaptive.output_format import output_format as output_format
from vlmguard.guard.attacks.adaptive.over_refusal import over_refusal as over_refusal
from vlmguard.guard.attacks.adaptive.second_image import second_image as second_image
from vlmguard.guard.attacks.adaptive.split_turns import split_turns as split_turns

__all__ = [
    "approval",
    "denial",
    "drawn_note",
    "encoding",
    "filler",
    "forged_tags",
    "forged_turns",
    "leak",
    "output_format",
    "over_refusal",
    "second_image",
    "split_turns",
]
