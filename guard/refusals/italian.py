"""How Italian refuses."""

from typing import Final

from vlmguard.guard.refusals.language import Language, any_of

__all__ = ["ITALIAN"]

_LEAD: Final = r"^(?:(?!che\b|scriv|traduc)[\w'-]+ ){0,6}?"
_CANNOT: Final = (
    r"non (?:mi |ci |ti |le |vi |lo )?(?:posso|possiamo|potrò|potremo|potrei|devo|intendo|voglio|"
    r"sono in grado|siamo in grado|sarò in grado|sono autorizzat\w|sono \w+at\w|sono disposto|"
    r"è possibile|è consentito|è permesso|ho intenzione|ho la possibilità|sento|poter\w*)\b"
)
_SERVE: Final = r"\b" + any_of(
    "riformul riscriv "
    "aiut assist forni(?:re|r) risponde dar(?:e|ti|le|vi|mi)\\b offri consigli raccomand "
    "sostener incoragg promuov favori condivid soddisf esaudi accogli elabor trascriv descriv "
    "identific gener cre(?:are|o)\\b scriv rediger spieg elenc dettagl parl discut comment "
    "partecip continu proced collabor approv toller far(?:e_questo|e_ciò|lo|e_quest) "
    "a_mio_agio accontent suggeri"
)

ITALIAN: Final = Language(
    script="LATIN",
    openers=(
        r"(?:ma |e )?(?:mi (?:dispiace|rincresce|scuso|spiace)|ci dispiace|spiacente|(?:sono|"
        r"siamo) "
        r"(?:\w+ )?(?:spiacent|desolat)|scus|chiedo scusa|le chiedo|perdon|temo)",
        r"purtroppo|sfortunatamente|tuttavia|però|grazie|ciao|salve|buongiorno|no$",
        r"come (?:assistente|modello|ia|intelligenza)|in (?:quanto|qualità)|(?:ti |la "
        r")?(?:capisco|"
        r"comprendo)|per (?:motivi|ragioni)|anche se|sebbene|quest[ao] (?:richiesta|domanda|"
        r"contenuto)",
    ),
    declines=(
        r"\b(?:al di là|al di fuori|fuori) (?:del|dal)le mie (?:capacità|possibilità|competenze)",
        r"\bva oltre le mie (?:capacità|possibilità)|\bprogrammat[oa] per non\b|^(?:ma )?non "
        r"ho il permesso",
        rf"{_LEAD}{_CANNOT}[^.]{{0,40}}?{_SERVE}",
        rf"{_LEAD}non poter\w*[^.]{{0,20}}?{_SERVE}",
        rf"{_LEAD}non poter(?:ti|la|vi|le) (?:aiut|assist)",
        rf"{_LEAD}(?:devo|dobbiamo|sono costrett[oa] a|mi vedo costrett[oa] a) (?:\w+ )?"
        r"(?:rifiut|declin|respinger)",
        rf"{_LEAD}(?:mi rifiuto|rifiuto di|declino|preferisco non|preferirei non)\b",
        rf"{_LEAD}sono impossibilitat[oa] a\b",
        rf"{_LEAD}non (?:ti |la |vi )?(?:aiuterò|aiuto|fornisco|darò|do|scriverò|genererò|"
        r"rispondo|"
        r"risponderò|parteciperò|creerò)\b",
        r"^(?:ma |questo |questa )?non è qualcosa (?:in|con|di)?\b",
        r"(?:viola|contrari[oa] al?le|contro le|va contro le) (?:mie|nostre) "
        r"(?:linee|regol|polit|norm|direttiv)",
        r"^le mie (?:\w+ )?(?:regole|linee guida|direttive|politiche|norme) (?:non mi |mi )",
    ),
    spares=(
        r"\b(?:da sol[oa]|meno di|che (?:raccomand|consigl)|abbastanza)",
        r"\b(?:a|aiutare|con|di|per|al|alla) (?:mi[oaei]|miei) (?!regol|linee|direttiv|"
        r"programm|agio|cap)",
    ),
    offers=(r"\b(?:ti|te|vi|lei|tu|la|vuoi|vorresti|desider\w+|prefer\w+|altro|posso aiut\w*)\b",),
    pleas=(
        r"\b(?:puoi|può|potresti|potrebbe) (?:dirmi|spiegarmi|aiutarmi|leggermi|indicarmi)",
        r"\b(?:leggimel[ao]|spiegami|dimmi(?! (?:se|cosa|pure))|per favore (?:leggi|spiega|"
        r"dimmi))",
    ),
)
