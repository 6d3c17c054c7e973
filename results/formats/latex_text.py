"""Foreign text for LaTeX: every letter is shown as it is, by pdflatex as far as it can."""

import re
import unicodedata
from typing import Final

from vlmguard.results.sanitize import clean

__all__ = ["FOREIGN", "escape_latex", "text_width"]

FOREIGN: Final = r"\foreigntext"
"""Command for letters that pdflatex lacks; its arguments are the letters and their numbers."""
_ESCAPES: Final = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    "▲": r"$\blacktriangle$",
    "▼": r"$\blacktriangledown$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "≈": r"$\approx$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": "$-$",
    "·": r"$\cdot$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "∞": r"$\infty$",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\dots{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    "µ": r"$\mu$",
    "\N{NO-BREAK SPACE}": "~",
    "\N{REPLACEMENT CHARACTER}": "?",
    "\n": " ",
    "\r": " ",
    "\t": " ",
}
_GREEK: Final = {
    letter: rf"$\{unicodedata.name(letter).rsplit(' ', 1)[1].lower().replace('lamda', 'lambda')}$"
    for letter in "αβγδεζηθικλμνξπρστυφχψω"
}
_ACCENTS: Final = dict(
    zip(
        "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327",
        [*"`'^~=u.\"rHvc"],
        strict=True,
    )
)
_RAISED: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_NARROW: Final = frozenset("iljtfr.,:;'|!()[] ")
_BROAD: Final = frozenset("mwMW%&@")


def escape_latex(text: str) -> str:
    r"""Foreign text, escaped for LaTeX; line breaks become blanks.

    Letters that pdflatex lacks become `\foreigntext{letters}{U+number ...}`.
    """
    parts = []
    for kind, run in _runs(clean(text)):
        if kind == "raised":
            parts.append(rf"\textsuperscript{{{run.translate(_RAISED)}}}")
        elif kind == "foreign":
            numbers = " ".join(f"U+{ord(letter):04X}" for letter in run)
            parts.append(f"{FOREIGN}{{{run}}}{{{numbers}}}")
        else:
            parts.append("".join(map(_letter, run)))
    # A sign and no hyphen; with a ligature broken up where text has two or more hyphens.
    signed = re.sub(r"(?<![\w-])-(?=\d)", "$-$", "".join(parts))
    return signed.replace("?`", "?{}`").replace("!`", "!{}`")


def text_width(text: str) -> float:
    """About how wide a line of text is in letters of the usual width."""
    return sum(map(_width, text))


def _width(letter: str) -> float:
    if _kind(letter) == "foreign":
        return 7  # of its number
    return 0.6 if letter in _NARROW else 1.6 if letter in _BROAD else 1.0


def _runs(text: str) -> list[tuple[str, str]]:
    """Neighbours of one kind together: superscripts, foreign letters, others."""
    runs: list[tuple[str, str]] = []
    for letter in text:
        kind = _kind(letter)
        if runs and runs[-1][0] == kind:
            runs[-1] = (kind, runs[-1][1] + letter)
        else:
            runs.append((kind, letter))
    return runs


def _kind(letter: str) -> str:
    if ord(letter) in _RAISED:
        return "raised"
    known = letter in _ESCAPES or letter in _GREEK or letter.isascii()
    return "known" if known or _accented(letter) else "foreign"


def _letter(letter: str) -> str:
    known = _ESCAPES.get(letter) or _GREEK.get(letter)
    return known or (letter if letter.isascii() else _accented(letter))


def _accented(letter: str) -> str:
    """An accented Latin letter as LaTeX makes it; empty for any other."""
    decomposed = unicodedata.normalize("NFD", letter)
    base, marks = decomposed[0], decomposed[1:]
    if len(marks) != 1 or not (base.isascii() and base.isalpha()) or marks not in _ACCENTS:
        return ""
    return rf"\{_ACCENTS[marks]}{{{base}}}"
