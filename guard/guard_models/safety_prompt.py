"""The safety prompt that goes with a request which a guard model flagged: general, and by hazard.

Guard models name hazards in words of their own ("S11", "Suicide & Self-Harm", "self-harm/intent"),
so the words of a name decide which of our hazards it is; one that none fits adds nothing.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from vlmguard.guard.templates import load_templates, template_hash

__all__ = ["SAFETY_PROMPTS", "SafetyPrompt"]

GENERAL: Final = (
    "(A safety check has flagged this exchange. Look at image and words together, and think what "
    "an answer could lead to. Help as far as nobody comes to harm; where that is not possible, say "
    "so in a sentence and name a safe way to what is meant.)"
)
SELF_HARM: Final = (
    "(Somebody may be in danger from themselves: answer warmly, give no method, and say where help "
    "can be found.)"
)
MINORS: Final = (
    "(A child may be concerned: nothing sexual, and nothing that helps to harm a child.)"
)
WEAPONS: Final = "(Give no materials, quantities or steps that would help to make or use a weapon.)"
VIOLENCE: Final = "(Do not encourage, plan or glorify violence.)"
SEXUAL: Final = "(Write nothing sexually explicit, and respect the people in the image.)"
HATE: Final = "(Demean no person and no group, and do not repeat what does.)"
PRIVACY: Final = "(Reveal or infer nothing about private persons: who they are, or where.)"
ADVICE: Final = (
    "(Where a doctor, lawyer or other expert should be asked, say so, and do not decide instead.)"
)
CYBER: Final = "(Write nothing that breaks into, damages or spies on computers.)"
CRIME: Final = "(Do not help to break the law or to deceive; say what is lawful.)"

SAFETY_PROMPTS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    name: (text, ())
    for name, text in {
        "general": GENERAL,
        "self_harm": SELF_HARM,
        "minors": MINORS,
        "weapons": WEAPONS,
        "violence": VIOLENCE,
        "sexual": SEXUAL,
        "hate": HATE,
        "privacy": PRIVACY,
        "advice": ADVICE,
        "cyber": CYBER,
        "crime": CRIME,
    }.items()
}
"""Our prompts by hazard; `general` comes first in each."""

_WORDS: Final = {
    "self_harm": r"self.?harm|suicid",
    "minors": r"child|minor",
    "weapons": r"weapon|explosi|cbrn|chemical|biological|nuclear",
    "violence": r"(?<!non-)(?<!non_)(?<!non )(?<!non)violen|threat|terror|cruelty",
    "sexual": r"sex|nud(?:e|ity)|porn|erotic",
    "hate": r"hate|harass|discriminat|bully|insult|profanity",
    "privacy": r"priva|personal|\bpii\b",
    "advice": r"advice",
    "cyber": r"cyber|malware|hack|code interpreter",
    "crime": r"crim|fraud|illegal|illicit|deception|drug|substance|theft|scam",
}


class SafetyPrompt:
    """Writes the safety prompt for the hazards that a guard model named.

    Args:
        folder: Folder whose `NAME.txt` replaces a prompt of ours (`general`, `self_harm`, ...).

    Raises:
        UserError: The folder or a file cannot be used.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._texts = load_templates(SAFETY_PROMPTS, folder)

    @property
    def hash(self) -> str:
        """Identity of all its texts: 12 hex digits."""
        return template_hash(*self._texts.values())

    def text(self, hazards: Iterable[str]) -> str:
        """The general prompt, then a sentence or two for each hazard that has them.

        Args:
            hazards: Names of hazards, as the guard model or its list of categories has them.
        """
        named = " | ".join(hazards)
        own = [
            self._texts[name]
            for name, words in _WORDS.items()
            if re.search(words, named, re.IGNORECASE)
        ]
        return " ".join([self._texts["general"], *own])
