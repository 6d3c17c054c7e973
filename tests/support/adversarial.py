"""Functions that read foreign text, texts that would make bad patterns slow, and the slowdown.

A pattern with nested or adjacent unbounded repeats takes time that grows with the square of the
text, inside the event loop. Four times the text may take four times as long, and a little more.
"""

import time
from collections.abc import Callable, Iterable

from vlmguard.guard.refusals import contains_phrase, is_refusal, normalise
from vlmguard.guard.rewriter.forms import as_tags, take_blocks, undressed
from vlmguard.guard.rewriter.reply import parse_reply
from vlmguard.guard.rewriter.words import kind_of
from vlmguard.guard.text.control_tokens import break_up
from vlmguard.guard.text.short_replies import last_grade, last_label
from vlmguard.guard.text.thinking import split_thinking
from vlmguard.guard.text.untrusted import break_controls, disarm, well_formed
from vlmguard.results.sanitize import clean, one_line
from vlmguard.scorers.letters import read_letter
from vlmguard.scorers.verdicts import grade, label, parse_verdict
from vlmguard.solvers.ecso import is_harmful, is_plain
from vlmguard.training.dataset.similarity import normalise_text, similarity
from vlmguard.training.synthesis.parsing import read_features, read_report, read_rewriting
from vlmguard.training.synthesis.rules import Candidate, broken_rules

SHORT, LONG = 10_000, 40_000
MOST = 6.0
"""Bound of the ratio: it is 4 if time grows with the length, 16 if it grows with its square."""

# Shorter times show the clock, not the text; a quadratic pattern takes seconds for a long text.
_FLOOR = 0.03
_TRIES = 4  # a busy machine may spoil one

_READERS = {"safety": grade(10.0), "helpful": label(), "has_risk": label(safe=0.0, unsafe=1.0)}


def _row(text: str) -> Candidate:
    return Candidate(text, text, text, benign=False, answers=(text, f"x{text}"), report=text)


FUNCTIONS: dict[str, Callable[[str], object]] = {
    "disarm": disarm,
    "break_controls": break_controls,
    "well_formed": well_formed,
    "break_up": lambda text: break_up(text, ("<|im_end|>", "<image>", "[INST]", "aa", "<<")),
    "parse_reply": lambda text: parse_reply(
        text, request=text[:99], instructions=text[:2000], material=text
    ),
    "as_tags": as_tags,
    "undressed": undressed,
    "kind_of": kind_of,
    "take_blocks": lambda text: take_blocks(text, "reasoning", "think", "prompt"),
    "parse_verdict": lambda text: parse_verdict(text, _READERS),
    "parse_verdict, cut off": lambda text: parse_verdict(text, _READERS, cut_off=True),
    "last_label": lambda text: last_label(text, ("safe", "unsafe")),
    "last_grade": lambda text: last_grade(text, 10),
    "read_letter": read_letter,
    "split_thinking": split_thinking,
    "is_refusal": is_refusal,
    "normalise": normalise,
    "contains_phrase": lambda text: contains_phrase(text, ("i cannot help", "sorry")),
    "is_harmful": lambda text: is_harmful(text, "first_word"),
    "is_plain": lambda text: is_plain(text, "first_word"),
    "clean": clean,
    "one_line": one_line,
    "read_features": lambda text: read_features(text, cut_off=False),
    "read_report": lambda text: read_report(text, cut_off=False),
    "read_rewriting": lambda text: read_rewriting(text, instructions="", cut_off=False),
    "broken_rules": lambda text: broken_rules(_row(text)),
    "normalise_text": normalise_text,
    "similarity": lambda text: similarity(text, f"x{text}"),
}
"""Functions that read text of users, models or files, by name."""

# Units that once took quadratic time, then other beginnings of the patterns.
WORST = (
    *("< ", "<think>", "<prompt>", "<reasoning></think>", "safety ", "{", '{"', '{"a":[1,', "\n"),
    *("a", " ", "1.\n", "textual ", "the user ", "\u200b", "x "),
)
OTHERS = (
    *("<", "</prompt>", "<reasoning>", "<\n", "<request", "&lt;", "<|", "<|im_end|", "[", "[INST"),
    *("}", '{"a":', "'", "safety", "safety:", "safety (", "safety\n", "safety: 1, ", "```"),
    *('{"safety": 1}', "\n ", "\t", "a ", "1", "1.", "-", "- ", "-\n", ".", "*", "_", '"'),
    *("I'm sorry, but ", "no, ", "yes ", "unsafe", "safe ", "not ", "i can't ", "as a ", "%", "/"),
    *("they want to ", "the picture shows a ", "the a ", "refuse to ", "x\u0301", "\u0435", "a/"),
    *("\ud83d", "\uff1c", "could ", "<a>\n", "answer is ", "A ", "(A", "\u0130", "i am "),
    *("no puedo ", "\u6211\u65e0\u6cd5", "\u00ab", "desol\u00e9, "),
)
ENDS = ("", "x", "\n>", ":1;")


def worst_ratio(
    function: Callable[[str], object], units: Iterable[str], ends: Iterable[str]
) -> tuple[float, str]:
    """The largest ratio of processor time, for a long text relative to a short one.

    Args:
        function: The function that reads a text.
        units: Units that the texts repeat.
        ends: Ends of the texts.

    Returns:
        The ratio, and the text's unit and end; 0 if even the long text takes almost no time.
    """
    return max((_ratio(function, unit, end), repr((unit, end))) for unit in units for end in ends)


def _ratio(function: Callable[[str], object], unit: str, end: str) -> float:
    short, long = ((unit * size)[:size] + end for size in (SHORT, LONG))
    ratio = 0.0
    for _ in range(_TRIES):
        seconds = _seconds(function, long)
        if seconds < _FLOOR:
            return 0.0
        ratio = seconds / max(_seconds(function, short), 1e-6)
        if ratio <= MOST:
            break
    return ratio


def _seconds(function: Callable[[str], object], text: str) -> float:
    start = time.process_time()
    function(text)
    return time.process_time() - start
