"""Rules that a synthesized row must not break, each with its own name.

They cost nothing and find exactly what they look for. The model check in `keep` does what only a
reader can. Word lists are English unless noted: for other languages the rules on form, script,
overlap and length apply, and the model check does the rest.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from vlmguard.guard.refusals import is_refusal, normalise
from vlmguard.guard.rewriter.reply import parse_reply
from vlmguard.training.dataset.similarity import normalise_text, words
from vlmguard.training.synthesis.parsing import target_text


@dataclass(frozen=True)
class Candidate:
    """A synthesized row before it is kept or dropped.

    Attributes:
        original: The request x.
        rewritten: The rewritten request x'.
        reasoning: The reasoning to teach.
        benign: Whether x carries no risk.
        answers: The answers that were contrasted; may be empty.
        report: Features F and report A as text; empty if both stages were off or the row is benign.
    """

    original: str
    rewritten: str
    reasoning: str
    benign: bool
    answers: tuple[str, ...] = ()
    report: str = ""

    # Cached, since several rules use them.
    @cached_property
    def said(self) -> str:
        """Reasoning and x', normalised."""
        return normalise(f"{self.reasoning}\n{self.rewritten}")

    @cached_property
    def answer_runs(self) -> frozenset[tuple[str, ...]]:
        """The runs of eight words that are in an answer but not in the request."""
        found = {run for answer in self.answers for run in _runs(answer)}
        return frozenset(found.difference(_runs(self.original)))


STOP_WORDS: Final = {
    "en": "the a an of to and in is are it this that for on with what how my i you be can do me",
    "de": "der die das und ist ein eine ich mit zu den wie kann auf für nicht was wir sie dem",
    "fr": "le la les de des et est un une je avec pour dans que comment sur qui ce cette mon",
    "es": "el la los las de y es un una que con para en cómo como por mi se qué puedo",
    "it": "il lo la gli di e è un una che con per in come sono mi si questo questa posso",
    "pt": "o a os as de e é um uma que com para em como não meu se isso posso do",
    "nl": "de het een van en is ik met voor op hoe dat niet wat mijn kan deze in aan te",
}
"""Frequent words that distinguish languages in Latin script."""

_ENGLISH_STOP: Final = frozenset(STOP_WORDS["en"].split())
_LANGUAGES_OF: Final = {
    word: [name for name, listed in STOP_WORDS.items() if word in listed.split()]
    for text in STOP_WORDS.values()
    for word in text.split()
}

_HARM: Final = (
    r"(?:harm|hurt|kill|attack|abuse|steal|deceive|exploit|stalk|harass|injur|threaten|damag"
    r"|mislead|defraud|endanger|destroy|poison|insult|humiliat|blackmail|commit|break the law"
    r"|get away)\w*"
)
_WANTS: Final = (
    r"(?:wants?|wanted|intends?|intended|plans?|planned|means?|hopes?|wish(?:es)?|tr(?:y|ies)"
    r"|(?:is|are|am|be) (?:\w+ )?(?:trying|planning|attempting|looking|going|hoping))"
)
_ACCUSATIONS: Final = re.compile(
    rf"\b(?:the user|the person|the asker|someone asking|this user|they|he|she|you|i|we)"
    rf" (?:\w+ ){{0,2}}?{_WANTS} to (?:\w+ ){{0,3}}?({_HARM})"
    r"|\b(?:malicious|criminal|evil|nefarious|sinister|ulterior|bad|ill|hidden|harmful|violent)"
    r" (?:intent\w*|motives?|purposes?|designs?|plans?|agenda)\b"
    r"|\byour (?:dangerous|harmful|illegal|criminal|unethical|immoral) \w+"
    rf"|\b(?:in order to|so as to|with the (?:aim|goal|intention) of) (?:\w+ ){{0,2}}?({_HARM})"
)
_REFUSAL_ORDERS: Final = re.compile(
    r"\b(?:refuse|decline)\b(?: \w+){0,3} (?:answer|help|assist|respond|reply|comply|request)\b"
    r"|\b(?:do not|don't|never|must not|should not) (?:answer|respond|reply|help|assist|comply)\b"
    r"|\b(?:say|state|explain|tell me) that you (?:cannot|can't|can not|are unable|won't)\b"
)
_SYNTHESIS: Final = re.compile(
    r"\bthe (?:\w+ )?(?:safe|safer|unsafe|better|worse|first|second|chosen|rejected|preferred)"
    r" (?:response|answer|reply|completion)s?\b"
    r"|\b(?:responses?|answers?) (?:a|b|1|2|one|two)\b"
    r"|\b(?:both|two|these|given|provided) (?:responses|answers|replies)\b"
    r"|\bhindsight\b|\brisk (?:features?|report|notes?)\b"
    r"|\b(?:the|this|given|provided|above) (?:report|analysis|notes)\b"
)
_SCENE_NOUN: Final = r"(?:image|picture|photo|photograph|scene|screenshot|drawing)"
_SCENE: Final = (
    re.compile(
        r"\b(?:the|a|an|this|these|those|that|my|some) ((?:[\w'-]+ ){1,3})"
        r"(?:\w+ )?(?:shown|visible|seen|depicted|pictured"
        rf"|(?:in|on) (?:the|this|that|my) {_SCENE_NOUN})"
    ),
    re.compile(
        rf"\b{_SCENE_NOUN} (?:clearly )?(?:shows?|showing|contains?|containing|depicts?|depicting"
        r"|of|with|has|includes?) (?:the|a|an|some|two|three|several)? ?((?:[\w'-]+ ?){1,3})"
    ),
)
_SCENE_TEXT: Final = (
    "image picture photo photograph scene screenshot drawing thing things item items object "
    "objects ones detail details part parts situation place person people someone shown visible "
    "seen depicted pictured there here with near beside behind under over from into onto were have "
    "being which where while when what that this these those their your about risk risks danger "
    "dangers hazard hazards content text words every same other something"
)
_SCENE_WORDS: Final = frozenset(_SCENE_TEXT.split())
_CAUTIONS: Final = (
    "safe", "risk", "danger", "hazard", "caution", "careful", "precaution", "harm", "legal",
    "lawful", "ethic", "responsib", "warn", "consent", "respectful", "appropriate", "sensitiv",
)  # fmt: skip
_LIST_LINE: Final = re.compile(r"^[^\S\n]*(?:\d+[.)]|[-*\u2022]|step \d+)\s*\S", re.MULTILINE)

_COPIED_RUN: Final = 8
_LONGEST: Final = 150
_KEPT_SHARE: Final = 0.8


def broken_rules(row: Candidate) -> list[str]:
    """Names of the rules that a row breaks, in the order of `RULES`."""
    return [name for name, breaks in RULES.items() if breaks(row)]


def breaks_format(row: Candidate) -> bool:
    """Whether the rewriter's own reader would reject the reply to teach."""
    parsed = parse_reply(target_text(row.reasoning, row.rewritten))
    if parsed.failure == "refused":
        # Another rule reports this.
        return False
    taught = (row.reasoning.strip(), row.rewritten.strip())
    return parsed.failure is not None or (parsed.reasoning, parsed.prompt) != taught


def is_a_refusal(row: Candidate) -> bool:
    """Whether x' refuses, or asks for a refusal."""
    plain = normalise(row.rewritten)
    return is_refusal(row.rewritten) or bool(
        _REFUSAL_ORDERS.search(plain) and not _REFUSAL_ORDERS.search(normalise(row.original))
    )


def changes_language(row: Candidate) -> bool:
    """Whether x' is in another script or language than x."""
    before, after = language(row.original), language(row.rewritten)
    return before is not None and after is not None and before != after


def changes_intent(row: Candidate) -> bool:
    """Whether x' shares no content word with an x that has at least three of them."""
    before = content_stems(row.original)
    return len(before) >= 3 and not before & content_stems(row.rewritten)


def gives_answer(row: Candidate) -> bool:
    """Whether x' copies a run of words from an answer, or lists steps itself."""
    if _copied(row.rewritten, row):
        return True
    steps = len(_LIST_LINE.findall(row.rewritten))
    return steps >= 3 and steps > len(_LIST_LINE.findall(row.original))


def is_too_long(row: Candidate) -> bool:
    """Whether x' has more than 150 words and more than three times those of x."""
    count = len(words(row.rewritten))
    return count > _LONGEST and count > 3 * len(words(row.original))


def accuses(row: Candidate) -> bool:
    """Whether x' or the reasoning ascribes a harmful motive that x does not state."""
    stated = content_stems(row.original)
    for match in _ACCUSATIONS.finditer(row.said):
        verb = match[1] or match[2]
        known = stem(verb.split()[0]) in stated if verb else match[0] in normalise(row.original)
        if not known:
            return True
    return False


def cites_synthesis(row: Candidate) -> bool:
    """Whether reasoning or x' mentions answers, report or features, which no rewriter sees."""
    return bool(_SYNTHESIS.search(row.said)) or _copied(row.reasoning, row)


def is_ungrounded(row: Candidate) -> bool:
    """Whether x' names something in the image that is neither in x nor in F and A."""
    if not row.report and not row.benign:
        return False
    known = {stem(word) for word in words(f"{row.original}\n{row.report}")}
    text = normalise(row.rewritten)
    named = {
        word for pattern in _SCENE for match in pattern.finditer(text) for word in words(match[1])
    }
    return any(
        len(word) > 3 and word not in _SCENE_WORDS and stem(word) not in known
        for word in named - _ENGLISH_STOP
    )


def is_unchanged(row: Candidate) -> bool:
    """Whether a safety row's request is unchanged."""
    return not row.benign and normalise_text(row.rewritten) == normalise_text(row.original)


def changes_benign(row: Candidate) -> bool:
    """Whether a benign row's x' does more than make x clearer.

    A clearer request keeps at least 80 % of the content words, adds fewer words than x has (or
    eight), and adds no caution.
    """
    if not row.benign or normalise_text(row.rewritten) == normalise_text(row.original):
        return False
    before, after = content_stems(row.original), content_stems(row.rewritten)
    if before and len(before & after) < _KEPT_SHARE * len(before):
        return True
    if len(words(row.rewritten)) - len(words(row.original)) > max(8, len(words(row.original))):
        return True
    added = set(words(row.rewritten)) - set(words(row.original))
    return any(word.startswith(_CAUTIONS) for word in added)


RULES: Final[dict[str, Callable[[Candidate], bool]]] = {
    "breaks_format": breaks_format,
    "refusal": is_a_refusal,
    "language_changed": changes_language,
    "intent_changed": changes_intent,
    "gives_answer": gives_answer,
    "too_long": is_too_long,
    "accuses": accuses,
    "cites_synthesis": cites_synthesis,
    "ungrounded": is_ungrounded,
    "unchanged": is_unchanged,
    "benign_changed": changes_benign,
}


def language(text: str) -> str | None:
    """The script of a text, and for Latin script the language if it is clear.

    Returns:
        `CYRILLIC`, `CJK`, `JAPANESE`, ..., or `LATIN` with a language (`LATIN de`); None if there
        are fewer than three letters, or for Latin script if no language leads by two frequent
        words.
    """
    letters = "".join(filter(str.isalpha, text))
    if len(letters) < 3:
        return None
    if not letters.isascii():
        scripts = Counter(
            "LATIN" if char.isascii() else unicodedata.name(char, "?").split()[0].split("-")[0]
            for char in letters
        )
        if scripts["HIRAGANA"] + scripts["KATAKANA"] > 0:
            return "JAPANESE"
        script = scripts.most_common(1)[0][0]
        if script != "LATIN":
            return script
    found = re.findall(r"\w+", text.casefold())
    hits = Counter(name for word in found for name in _LANGUAGES_OF.get(word, ()))
    (first, most), (_, next_most) = [*hits.most_common(2), ("", 0), ("", 0)][:2]
    return f"LATIN {first}" if most - next_most >= 2 else None


def stem(word: str) -> str:
    """A normalised word without its ending, roughly: its first five letters."""
    return word[:5]


def content_stems(text: str) -> set[str]:
    """Stems of the words in a text that carry meaning."""
    return {stem(word) for word in words(text) if len(word) > 1 and word not in _ENGLISH_STOP}


def _copied(text: str, row: Candidate) -> bool:
    """Whether a run of eight words is from an answer and not from the request."""
    return not row.answer_runs.isdisjoint(_runs(text))


def _runs(text: str) -> list[tuple[str, ...]]:
    found = words(text)
    return [found[at : at + _COPIED_RUN] for at in range(len(found) - _COPIED_RUN + 1)]
