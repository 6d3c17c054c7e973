"""Attacks on whoever judges: filters, defenses that check, and judges; a way in a file.

`note` tells a filter that the request was approved, `line` types a verdict in the form that the
checker's own reader takes, and `answer` has the target put such a verdict into its answer. `lines`
has the forged verdicts.
"""

# Importing an attack registers it.
from vlmguard.guard.attacks.verdict.answer import verdict_answer as verdict_answer
from vlmguard.guard.attacks.verdict.line import verdict_line as verdict_line
from vlmguard.guard.attacks.verdict.note import verdict_note as verdict_note

__all__ = ["verdict_answer", "verdict_line", "verdict_note"]
