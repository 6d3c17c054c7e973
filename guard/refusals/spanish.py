"""How Spanish refuses, written without accents or with them."""

from typing import Final

from vlmguard.guard.refusals.language import Language, any_of

__all__ = ["SPANISH"]

# Not behind "que": "di que no puedo ir" is an order.
_LEAD: Final = (
    r"^(?:(?:me temo|lament\w+|siento|sentimos)(?: \w+){0,4}? que )?(?:(?!que\b|escrib|"
    r"traduc|diga\b)[\w'-]+ ){0,6}?"
)
_CANNOT: Final = (
    r"no (?:me |nos |te |le |se )?(?:puedo|podemos|podre|podremos|podria|debo|voy a|vamos a|"
    r"sere capaz de|soy capaz de|poder|es posible|esta permitido|estoy \w+|siento comod[oa]|"
    r"quiero|pienso)\b"
)
_SERVE: Final = (
    r"\b"
    + any_of(
        "ayud asist proporcion ofrec d(?:ar|oy|é)(?:te|le|les|os|lo|la)?\\b brind facilit "
        "respond "
        "contest cumpl satisfac atend transcri recomend aconsej alent anim foment promov "
        "apoy particip "
        "colabor describ identific gener cre(?:ar|o|e) (?:re)?escrib reformul "
        "redact explic habl discut coment "
        "compart continu proced segu(?:ir|iré) realiz proces complac detall enumer mostr decir "
        "involucr acced respald toler hacer(?:lo)?(?:_eso|_esto|_algo_así|\\b$)"
    )
    + r"\w*"
)

SPANISH: Final = Language(
    script="LATIN",
    openers=(
        r"(?:y |pero )?(?:lo (?:siento|lamento)|lamento|lamentamos|siento|sentimos|disculp|"
        r"perd[oó]n|"
        r"mis disculpas|me (?:disculpo|temo)|con todo respeto)",
        r"(?:lamentable|desafortunada|desgraciada)mente|por desgracia|sin embargo|gracias|"
        r"hola|no$",
        r"como (?:un |una )?(?:asistente|modelo|ia|inteligencia|sistema)",
        r"(?:te |le )?(?:entiendo|comprendo)|por (?:razones|motivos|seguridad|favor)|aunque|"
        r"si bien|"
        r"debido a|est[ea] (?:solicitud|petici|pregunta|imagen|contenido)",
    ),
    declines=(
        r"\b(?:fuera de|más allá de) (?:mi alcance|mis (?:capacidades|posibilidades|funciones))",
        r"\bprogramad[oa] para no\b|^(?:pero |yo )?no tengo (?:permiso|autorización) para\b",
        rf"{_LEAD}{_CANNOT}[^.]{{0,40}}?{_SERVE}",
        rf"{_LEAD}(?:debo|tengo que|me veo obligad[oa] a|prefiero) "
        r"(?:rechazar|negarme|declinar|rehusar|no )",
        rf"{_LEAD}(?:me niego|rechazo|rehuso|declino)\b",
        rf"{_LEAD}soy incapaz de {_SERVE}",
        rf"{_LEAD}no (?:te |le )?(?:ofrezco|proporciono|ayudo|ayudaré|daré|doy|respondo|"
        r"responderé|"
        r"escribiré|generaré|creo contenido|participo|participaré|facilito)\b",
        r"^(?:eso|esto|es[ea] \w+) no es algo (?:con lo |en lo )?que\b",
        r"(?:infringe|viola|contra|contrari[oa] a|incumple|vulnera)(?: de)? mis "
        r"(?:norm|pol|directric|princip|pautas|regl)",
        r"^mi[s]? (?:programación|normas|directrices|políticas) (?:me )?(?:no me )?"
        r"(?:impid|prohib|permit)",
    ),
    spares=(
        r"\b(?:sol[oa]s?|evitar|dejar de|menos que|más que|sino)\b",
        r"\b(?:a|con|de|en|por|para) mis? (?!alcance|norm|pol|directric|program|princip|"
        r"capac|paut|"
        r"límit|regl)",
    ),
    offers=(
        r"\b(?:te|le|les|os|ti|usted(?:es)?|quieres?|quisieras?|deseas?|prefieres?|necesitas?|"
        r"algo más|otr[oa]|puedo ayud\w*|gustaría)\b",
    ),
    pleas=(
        r"(?:puedes?|podrías?|podría usted|puede usted) (?:decir|explic|ayud|leer|indicar|"
        r"aconsej)",
        r"\bpor favor,? (?:expl|lee|dime|tradu|descr)|\b(?:explícame|dime(?! (?:si|qué|en "
        r"qué))|léeme\w*|muéstrame)\b",
    ),
)
