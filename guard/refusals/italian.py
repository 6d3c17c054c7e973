"""Italian refusals."""

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

# In any clause: words that only an assistant says of itself.
_PRONOUNS: Final = r"(?:(?:ti|la|le|vi|lo|li|ne|mi|ci|gli|te|glie) ?){0,2}"
_WILL: Final = (
    r"(?:intendo|intendiamo|voglio|vogliamo|devo|dobbiamo|desidero|vorrei|ho intenzione di|abbiamo "
    r"intenzione di|sono (?:dispost|autorizzat|abilitat|qualificat|tenut|in grado|in condizione|"
    r"nella posizione)\w*|siamo (?:in grado|autorizzat|dispost|tenut)\w*|sento di|me la sento di|"
    r"(?:mi|ci) (?:è|sarà) (?:possibile|consentito|permesso|concesso)|è (?:mia|nostra) intenzione|"
    r"mi permetto di|mi azzardo a)"
)
_DEED: Final = (
    r"\b"
    + any_of(
        "aiut assist forni risponde dar(?:e|ti|le|vi|lo)\\b offri consigli raccomand sostener "
        "incoragg "
        "favori condivid soddisf esaudi accogli elabor trascriv descriv identific gener crear "
        "scriver rediger spieg elenc dettagl parlar discut comment partecip continu proced "
        "collabor "
        "approv farlo\\b fare\\b farti\\b suggeri insegn mostr indic dir(?:e|ti|le|vi)\\b rivel "
        "prescriv valut giudic votar scherz prend rimuov falsific imit ipotizz guid invent esegui "
        "prestar evad tratt compil diagnostic fornir"
    )
    + r"\w*"
)
_FUTURE: Final = (
    r"(?:aiuter|assister|fornir|risponder|dar|offrir|consiglier|raccomander|sosterr|"
    r"incoragger|condivider|trascriver|descriver|identificher|generer|creer|scriver|rediger|"
    r"spiegher|elencher|parler|discuter|commenter|parteciper|continuer|proceder|collaborer|far|"
    r"suggerir|insegner|mostrer|indicher|dir|riveler|prescriver|valuter|giudicher|scherzer|"
    r"prender|rimuover|falsificher|ipotizzer|guider|inventer|prester|asseconder|aggiunger|"
    r"procurer|agevoler|user|toccher|voter)(?:ò|emo)\b"
)
_PRESENT: Final = (
    r"(?:aiuto|fornisco|rispondo|scrivo|genero|partecipo|creo|facilito|commento|valuto|giudico|"
    r"consiglio|prescrivo|trascrivo|identifico|collaboro|descrivo|offro|forniamo|rispondiamo|"
    r"aiutiamo|offriamo|trattiamo|elaboriamo|accettiamo|diamo)\b"
)
_OUR_RULES: Final = (
    r"(?:mie|nostre|miei|nostri|mia|nostra|norme|regole) ?(?:linee|regol|polit|norm|direttiv|"
    r"princip|"
    r"valor|etic|condizion|programm|sui|d')"
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
    anywhere=(
        rf"\bnon {_PRONOUNS}{_WILL}\b[^.]{{0,30}}?{_DEED}",
        rf"\bnon {_PRONOUNS}(?:posso|possiamo|potrò|potremo|poter) (?:\w+ )?(?:aiutar|assister|"
        rf"prescriver|"
        r"fornir|soddisfar|rispondere a|dar(?:ti|le|vi)|dir(?:ti|le|vi) come|spiegar(?:ti|le)|"
        r"insegnar|partecipar|collaborar|trascriver|scriver|accoglier|proseguire|continuare|"
        r"procedere|esaudir|offrir|prestarm)(?!\w* (?:esatt|con esattezza))",
        rf"\bnon {_PRONOUNS}(?:{_FUTURE}|{_PRESENT})|\b(?:non|mai) \w*{_FUTURE} mai\b",
        r"\b(?:quest[oa]|il|l'|la) ?(?:assistente|ia|servizio|modello|sistema|strumento) non "
        r"(?:forni|può|offr|dà|aiut|risponde|gener|partecip)",
        r"\bnon (?:mi|ci) (?:è|sarà) (?:possibile|consentito|permesso|concesso)|\b(?:mi|ci) è "
        r"(?:impossibile|vietato|proibito)|\bnon me la sento\b|\bnon mi sento (?:di|a mio)",
        r"\bnon (?:sono|siamo) (?:autorizzat|dispost|abilitat|qualificat|tenut)\w+ a\b",
        r"\b(?:devo|dobbiamo|sono costrett[oa] a|siamo (?:\w+ )?(?:costretti|tenuti) a|mi vedo "
        r"costrett[oa] "
        r"a|sono (?:obbligat|tenut)[oa] a|mi tocca) (?:\w+ )?(?:rifiut|declin|respinger|dire di no|"
        r"asten|negar|dirti di no|dirle di no)",
        r"\b(?:mi rifiuto|rifiuto|rifiutiamo|declino|decliniamo|mi astengo|mi oppongo)(?: (?:di|"
        r"quest\w|"
        r"la|dal\w*|ogni|qualsiasi|a)\b|$)",
        r"\b(?:preferisco|preferirei|preferiamo|vorrei) (?:non|parlare|che parlassimo|cambiare|"
        r"evitare|"
        r"astenermi|passare|lasciar perdere)\b",
        r"\bnon se ne parla\b|\bnon (?:contare|conti|contate) su di (?:me|noi)|\bfuori "
        r"discussione\b|"
        r"^(?:\w+ )?(?:no )?(?:quest[oa]|quell[oa]) (?:proprio |davvero )?no$|^(?:io )?(?:passo|"
        r"mi tiro "
        r"fuori|mi chiamo fuori)\b|\bnon fa per (?:me|noi)\b|^(?:no )?(?:non (?:è possibile|si "
        r"può fare|"
        r"posso|posso farlo)|impossibile|assolutamente no|neanche per sogno|nemmeno per idea)$|\bè "
        r"escluso che (?:io|ti|le)\b|\bè (?:\w+mente )?escluso$",
        r"\b(?:cambi(?:amo|are)) (?:discorso|argomento)|\bparl(?:iamo|are) (?:piuttosto )?(?:di "
        r"altro|"
        r"d'altro)",
        r"(?:viola|contrari[oa] al?l[ea]|contro|va contro|contravviene a(?:ll[ea]|i)?|infrange|"
        r"in contrasto "
        rf"con|incompatibil\w con)(?: l[ea]| i| gli)? ?{_OUR_RULES}",
        r"\b(?:va oltre|oltre|al di fuori d|al di là d|esula d|eccede|supera|fuori d)\w*(?: "
        r"\w+)? (?:quanto "
        r"(?:mi|posso|io)|ciò che (?:mi|posso)|quello che (?:mi|posso)|mi[eoa]i? (?:compet|possib|"
        r"capac|limit|funz|ruolo))",
        r"\bnon (?:verranno|verrà|saranno|sarà|possono|può|vengono|viene)(?: \w+)? ?(?:essere "
        r")?(?:date|dato|"
        r"fornit|condivis|soddisfatt|accolt|evas|esaudit|rilasciat|divulgat)",
        r"\bsarebbe (?:\w+ )?(?:irresponsabile|da incoscienti|scorretto|inopportuno|imprudente|"
        r"poco "
        r"etico|un'irresponsabilità) (?:da parte mia|da parte nostra)|\bsarebbe da (?:incoscienti|"
        r"irresponsabili)|\bsarebbe (?:irresponsabile|imprudente) da parte mia",
        r"^(?:ma )?rispondere a (?:quest|tal)\w*\b.* (?:potrebbe|può|rischi\w+|sarebbe)\b",
        r"\bnon (?:(?:ti|la|le|lo|li|ne|vi|gli|te|ve) ){0,2}(?!potr|sar|avr|dovr|andr|verr|"
        r"riuscir|sapr|star|"
        r"vero|chiar|rar|car|intero|sincer|leggero|liber|sever|integr)\w{3,}[ei]rò\b",
        r"\b(?:le|i|la) (?:mi[eao]|miei|nostr\w) (?:\w+ )?(?:regole|linee guida|norme|direttive|"
        r"principi|"
        r"politiche|etica|programmazione|ruolo) (?:non )?(?:me lo|mi|ce lo|lo|ci|impedi|vieta|"
        r"proibi|consent|"
        r"permett)",
        r"\b(?:devo|dobbiamo) dir(?:ti|le|vi)? (?:di )?no\b|\b(?:quindi|perciò|dunque|la "
        r"risposta è|la mia "
        r"risposta è) no$",
        r"\bnon (?:rientra|fa parte|è|sono|spetta|compete)\w* (?:\w+ )?(?:tra|fra|di|dei|nei|il|"
        r"un|mio|la|a)? ?"
        r"(?:i )?(?:miei|mio|mie|mia|me|persona giusta|compito mio)\b",
        r"\bnon posso (?:\w+ )?(?:esser(?:ti|le|vi)|far nulla|fare nulla|dir(?:ti|le) nulla)",
    ),
)
