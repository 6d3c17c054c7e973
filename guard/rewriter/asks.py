"""Says whether a text asks for something, as a request to an assistant does.

`words` recognises texts that are not requests, but no list of these is complete: there are always
more verdicts, policies, hotlines. So a rewriter's request must also have the form of one, in the
languages whose forms are listed here. In other languages any form passes.
"""

import re
import unicodedata
from typing import Final

from vlmguard.guard.text.normal_forms import normal_form

__all__ = ["asks", "must_ask", "shares_words"]

_ENGLISH: Final = (
    r"please|kindly|what|how|why|which|who|whom|whose|where|when|is|are|was|were|can|could|"
    r"would|should|will|do|does|did|may|might|must|has|have|let's|let|help(?! (?:is|can)\b)|"
    r"describe|explain|list|tell|give|write|summari[sz]e|identify|suggest|provide|show|compare|"
    r"outline|discuss|create|make|find|name|translate|count|read|analy[sz]e|recommend|offer|"
    r"draft|compose|generate|share|point|state|define|advise|teach|walk|guide|keep|focus|"
    r"include|consider|assume|imagine|answer|say|note|warn|remind|highlight|estimate|calculate|"
    r"solve|classify|categori[sz]e|choose|pick|select|rank|rate|review|check|verify|look|"
    r"transcribe|caption|title|turn|convert|design|plan|propose|invent|come|think|talk|speak|"
    r"detail|elaborate|clarify|specify|mention|enumerate|evaluate|assess|judge|interpret|"
    r"predict|sketch|prepare|break|use|using|add|avoid|don't|begin|start|continue|complete|fill|"
    r"edit|correct|improve|extract|search|recall|introduce|present|illustrate|demonstrate|argue|"
    r"persuade|address|respond|reply|point|play|act|pretend|take|put|click|post|spread|ask|send|"
    r"get|go|see|respect|without|given|based on|considering|looking at|"
    r"(?:some |a few |several |general |basic |practical |safe\w* |short |brief |simple |clear |"
    r"an? )*(?:tips?|ideas?|steps?|advice|instructions|information|guidance|suggestions|ways|"
    r"examples|explanation|description|summary|overview|list|guide|poem|story|captions?) (?:for|"
    r"on|about|to|of|that)|"
    r"i(?:'d| would) (?:really )?(?:like|love|appreciate)|"
    r"i (?:really |just |also )?(?:want|need|wish|hope|wonder|plan|intend|saw|see|found|bought|"
    r"live|work|love|like|feel|own|keep|use|am|have (?:an?|my|this|some|been|to (?!decline|"
    r"refuse)))|"
    r"i'm(?! (?:sorry|afraid|unable|not)\b)|"
    r"we (?:want|need|are|have|would)|my|as an?|for an?|you are"
)
_GERMAN: Final = (
    r"was|wie|warum|welche\w*|wo|wer|wann|wieso|weshalb|wozu|woran|womit|kann|k[oö]nnte\w*|darf|"
    r"soll\w*|gibt|bitte|beschreib\w*|erkl[aä]r\w*|nenn\w*|gib|geben sie|liste\w*|schreib\w*|"
    r"sag\w*|zeig\w*|fass\w*|hilf\w*|helfen sie|erl[aä]uter\w*|vergleich\w*|[uü]bersetz\w*|"
    r"empfehl\w*|empfiehl|schlag\w*|mach\w*|erstell\w*|verfass\w*|formulier\w*|analysier\w*|nimm|"
    r"denk\w*|stell\w*|lies|lesen sie|z[aä]hl\w*|geh\w*|verzicht\w*|weise|gestalte\w*|entwirf|"
    r"ich (?:m[oö]chte|will|w[uü]rde|brauche|suche|habe (?:ein|mein|dies)|bin|[uü]berlege|plane|"
    r"frage mich)|wir (?:m[oö]chten|wollen|brauchen|suchen)"
)
_FRENCH: Final = (
    r"que|qu'|quel\w*|comment|pourquoi|o[uù]|qui|quand|combien|est-ce|puis-je|peux-tu|"
    r"\w{2,}ez(?:-\w+)?|\w+-moi|explique\w*|d[eé]cri[sv]\w*|donne\w*|liste\w*|indique\w*|"
    r"r[eé]sume\w*|dis|"
    r"aide\w*|montre\w*|propose\w*|r[eé]dige\w*|[eé]cris|compare\w*|nomme\w*|cite\w*|identifi\w*|"
    r"traduis|fais|pr[eé]sente\w*|pr[eé]cise\w*|raconte\w*|[eé]num[eè]re\w*|sugg[eè]re\w*|analyse\w*|"
    r"merci de|"
    r"je (?:veux|voudrais|souhaite\w*|cherche|dois|suis|me demande|compte|pr[eé]pare)|"
    r"j'(?:ai (?:un|une|vu|trouv|besoin|achet)|aimerais)|nous (?:voulons|voudrions|cherchons)"
)
_SPANISH: Final = (
    r"qu[eé]|c[oó]mo|por qu[eé]|cu[aá]l\w*|d[oó]nde|qui[eé]n\w*|cu[aá]nd?o\w*|puedo|"
    r"puedes|podr[ií]a\w*|"
    r"explic\w*|expl[ií]que\w*|descr[ií]b\w*|da(?:me)?|d[eé](?:me)?|dime|diga\w*|enumer\w*|lista\w*|"
    r"haz\w*|haga\w*|"
    r"escrib\w*|resum\w*|indi(?:ca|que)\w*|ay[uú]da\w*|muestr\w*|compar\w*|identifi\w*|sugi\w*|"
    r"recom\w*|proporcion\w*|mencion\w*|traduc\w*|traduzc\w*|redact\w*|cu[eé]nt\w*|"
    r"se[nñ]al\w*|anali\w*|ofrec\w*|"
    r"elabor\w*|propon\w*|habl\w*|incluy\w*|por favor|"
    r"quiero|quisiera|me gustar[ií]a|necesito|busco|estoy|deseo|tengo|queremos|necesitamos"
)
_ITALIAN_PORTUGUESE: Final = (
    r"come|cosa|che|quale|quali|perch[eé]|dove|chi|quando|posso|spiega\w*|descriv\w*|elenc\w*|dimmi|"
    r"dammi|scriv\w*|vorrei|voglio|aiutami|suggeri\w*|consigli\w*|ho bisogno|"
    r"como|qual|quais|por que|onde|quem|expliqu\w*|descrev\w*|liste|diga|d[eê]|escrev\w*|quero|"
    r"gostaria|preciso|ajude\w*|sugira"
)
_LATIN: Final = re.compile(
    r"(?:(?:instead|rather|then|also|first|next|finally|and|but|or|now|today),? )*"
    rf"(?:{_ENGLISH}|{_GERMAN}|{_FRENCH}|{_SPANISH}|{_ITALIAN_PORTUGUESE})(?![\w'])"
)
_HAN: Final = re.compile(
    r"请|請|帮|幫|告诉|告訴|解释|解釋|描述|列出|列举|说明|說明|介绍|介紹|给我|給我|给出|提供|写|寫|翻译|总结|分析|"
    r"比较|建议|"
    r"推荐|我想|我要|我需要|怎|如何|什么|什麼|为何|哪|吗|嗎|呢|能否|可否|是否|多少|几|谁"
)
_MARKS: Final = re.compile("[?？؟¿]")
# Ends of clauses: a request may follow an introduction ("Using the picture, explain ...").
_BREAKS: Final = re.compile(r"[.!;:,\n。！；：，、—–-]+\s*|\s(?:and|und|et|y|e|so|then)\s")
_EDGES: Final = " \t\r\n\"'`*_~#|-–—•:,$%()[]«»„“”0123456789.)"
_WORD: Final = re.compile(r"\w{4,}")
_SHARED: Final = 0.6


def asks(text: str) -> bool:
    """Whether a text holds a question, an instruction or a wish."""
    if _MARKS.search(text):
        return True
    plain = normal_form("NFKC", text).casefold().replace("’", "'")
    if _HAN.search(plain):
        return True
    clauses = (clause.strip(_EDGES) for clause in _BREAKS.split(plain))
    return any(_LATIN.match(clause) for clause in clauses)


def must_ask(text: str) -> bool:
    """Whether all letters are Latin or Chinese, for which forms of requests are known here."""
    letters = [unicodedata.name(letter, "") for letter in text if letter.isalpha()]
    known = sum(name.startswith(("LATIN", "CJK", "FULLWIDTH")) for name in letters)
    return known == len(letters)


def shares_words(text: str, request: str) -> bool:
    """Whether a text keeps most (60 %) of a request's longer words: it is that request, edited."""
    before = set(_WORD.findall(request.casefold()))
    kept = before & set(_WORD.findall(text.casefold()))
    return bool(before) and len(kept) >= _SHARED * len(before)
