"""Spanish refusals, with and without accents."""

from typing import Final

from vlmguard.guard.refusals.language import Language, any_of

__all__ = ["SPANISH"]

# Not after "que": "di que no puedo ir" is an order.
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

# In any clause: words that only an assistant says of itself.
_PRONOUNS: Final = r"(?:(?:te|le|les|os|lo|la|los|las|me|se|nos) ){0,2}"
_WILL: Final = (
    r"(?:voy a|vamos a|pienso|pensamos|quiero|queremos|deseo|debo|debemos|"
    r"(?:estoy|estamos) (?:dispuest|autorizad|capacitad|habilitad|cualificad|en condiciones|"
    r"program|aquí para)\w*|(?:soy|somos) capac?es? de|"
    r"(?:soy|somos) capaz de|(?:tengo|tenemos|dispongo de|disponemos de) (?:permiso|autorización|"
    r"permitido|intención|potestad|competencia)|me (?:está|es) (?:permitido|posible|lícito)|"
    r"nos (?:está|es) (?:permitido|posible)|se me permite|me siento cómod\w|me corresponde|"
    r"me atrevo a|me prest\w+ a|contribuir\w* a)"
)
_DEED: Final = (
    r"\b"
    + any_of(
        "ayud asist proporcion ofrec dar(?:te|le|les|os|lo)?\\b brind facilit respond contest "
        "cumpl "
        "atend "
        "transcri recomend recet diagnostic particip colabor describ identific gener crear escrib "
        "redact explic hablar coment compart continu segu(?:ir|iré)\\b realiz "
        "complac detall enumer mostrar decir revel ense[nñ] indic contar(?:te|le)\\b gui(?:ar|"
        "arte) "
        "hacer(?:lo|te)?\\b "
        "hacer_(?:eso|esto|algo|chist|brom) bromear burlar puntu valor calific opin elimin quitar "
        "falsific "
        "echar(?:te|le)?_una_mano entrar_en involucr prest tramit proces resolver redact elabor "
        "fabric especul adivin ubicar localiz imit suplant traduc permit"
    )
    + r"\w*"
)
_FUTURE: Final = (
    r"(?:ayuda|asisti|participa|colabora|da|di|escribi|redacta|proporciona|ofrece|facilita|"
    r"responde|"
    r"contesta|transcribi|describi|identifica|genera|crea|explica|habla|comenta|comparti|"
    r"continua|segui|realiza|ha|detalla|mostra|revela|ense[nñ]a|indica|conta|guia|intenta|"
    r"bromea|burla|puntua|valora|califica|opina|elimina|quita|falsifica|contribui|presta|"
    r"entra|recomenda|receta|apoya|adivina|especula|inventa|imita|localiza|ubica|produci|"
    r"elabora|toca|cumpli|atende|procede|deja)r(?:é|emos)\b"
)
_PRESENT: Final = (
    r"(?:ayudo|facilito|doy|proporciono|ofrezco|respondo|escribo|redacto|genero|comento|opino|"
    r"recomiendo|identifico|puntúo|valoro|califico|participo|colaboro|apoyo|atiendo|proceso|"
    r"receto|transcribo|especulo|hago (?:eso|esto|chist|brom|ese)|ayudamos|facilitamos|damos|"
    r"proporcionamos|ofrecemos|respondemos|atendemos|participamos|procesamos|tramitamos)\b"
)
_OUR_RULES: Final = (
    r"(?:mis|nuestr[oa]s|mi|nuestra|las) (?:\w+ )?(?:norm|pol[ií]t|directric|princip|pautas|regl|"
    r"valores|ética|programac|condiciones|criterios)"
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
    anywhere=(
        rf"\bno {_PRONOUNS}{_WILL} [^.]{{0,30}}?{_DEED}",
        rf"\bno {_PRONOUNS}(?:puedo|podemos|podré|podremos) (?:\w+ )?(?:ayudar|asistir|darte|darle|"
        r"facilitar|proporcionar|ofrecer|atender|recetar|decirte|explicarte|enseñarte|mostrarte|"
        r"indicarte|participar|colaborar|cumplir|satisfacer|transcribir|echar|hacerlo|seguir|"
        r"continuar|escribir|redactar|prestar|tramitar|acceder a)(?!\w* (?:exact|con exactitud))",
        rf"\bno {_PRONOUNS}{_FUTURE}",
        rf"\b(?:no|jamás|nunca) {_PRONOUNS}(?:{_PRESENT}|{_FUTURE})",
        r"\b(?:este|esta|el|la) (?:asistente|ia|servicio|modelo|sistema|herramienta) no "
        r"(?:\w+ )?(?:facilit|proporcion|ofrec|da\b|puede|ayud|respond|gener|atiend|particip)",
        r"\bno me (?:está|es|resulta) (?:permitido|posible|lícito)\b|\bno se me permite\b|\bno me "
        r"(?:parece|siento) (?:bien|correct|apropiad|étic|cómod|adecuad|capaz)|\bme (?:está|es|"
        r"resulta) (?:prohibido|imposible|vedado)\b",
        r"\bno (?:estoy|estamos) (?:autorizad|dispuest|cualificad|capacitad|habilitad)\w+ (?:para|"
        r"a)\b|\bno (?:dispongo|disponemos) de (?:autorización|permiso)",
        r"\b(?:prefiero|preferiría|preferimos) (?:no|hablar|que hablemos|cambiar|dejarlo|"
        r"abstenerme)\b",
        r"\b(?:me niego|nos negamos|rechazo|rechazamos|declino|declinamos|rehúso|me abst\w+|"
        r"me opongo)(?: (?:a|de|esta|este|tu|su|dar|cualquier|puntuar|\w+r)\b|$)",
        r"\b(?:debo|tengo que|debemos|tenemos que|me veo (?:obligad\w|en la obligación de)|nos "
        r"vemos "
        r"obligados a|he de)(?: a| de)? (?:\w+mente )?(?:rechaz|neg(?:ar|arme|arnos)|declin|rehus|"
        r"decir que no|abstener)",
        r"\bconmigo no cuent|\bno cuent\w+ conmigo|^(?:eso )?ni hablar|^de ning(?:una manera|ún "
        r"modo)$|"
        r"\b(?:queda|está|quedan) (?:\w+mente )?(?:descartad|fuera de (?:discusión|lugar|lo que))|"
        r"\bimpensable$|^(?:eso )?(?:no es posible|no va a poder ser|no puede ser|imposible)$",
        r"\bhasta aquí (?:puedo llegar|llego)|\bpaso de\b.*\best[oa]\b|^(?:yo )?(?:paso|en est[ao] "
        r"paso)$",
        r"\bno es algo (?:en|con|que|a)\b.{0,12}\b(?:pueda|vaya|haga|esté|quiera|podamos|"
        r"hagamos)\b",
        rf"(?:contra|contrari[oa] a|infringe|viola|incumple|vulnera|contraviene)(?: de)? "
        rf"{_OUR_RULES}",
        r"\b(?:más allá|fuera) de (?:lo que (?:puedo|se me|tengo|me)|mi (?:ámbito|competencia|"
        r"alcance|cometido)|mis (?:func|compet|límit|atrib))|\b(?:excede|supera|sobrepasa|rebasa) "
        r"(?:mis|lo que (?:puedo|se me|me|tengo))",
        r"\b(?:hablemos|hablamos|hablar|conversemos) (?:mejor )?de otr[ao]|\b(?:cambiemos|cambiar|"
        r"cambiamos) de tema\b",
        r"\bno (?:se )?(?:puede|podrá|pueden|será|serán|es posible) (?:ser )?(?:facilit|proporcion|"
        r"atend|satisf|cumpl|proces|tramit|compart)|\bno se (?:facilit|proporcion|ofrec|"
        r"dar)\w*(?:á|"
        r"án|n|a|e) (?:\w+ )?(?:información|instruc|datos|detalles|ayuda|ningun)",
        r"\bsería (?:\w+ )?(?:irresponsable|poco étic|incorrect|inapropiad|una irresponsab)\w* "
        r"(?:por|de) (?:mi|nuestra) parte",
        r"^(?:pero )?(?:responder|contestar|atender) (?:a )?(?:est[aeo]|es[aeo]|tu|su)\b.* "
        r"(?:podría|"
        r"puede|sería|supondría)\b",
        r"\b(?:mis|nuestras|mi|nuestra) (?:\w+ )?(?:normas|reglas|directrices|políticas?|"
        r"principios|"
        r"pautas|programación|función|ética) (?:no (?:me|nos|lo|se)|me (?:lo )?(?:impid|prohíb)|lo "
        r"(?:impid|prohíb))",
        r"^(?:pero )?(?:de mí|conmigo) no\b|\b(?:por|de) mi parte no\b|\b(?:así que|por eso|por "
        r"lo que|o sea "
        r"que|mi respuesta es|la respuesta es) (?:\w+ )?no$|\b(?:tengo|he) (?:que|de) "
        r"decir(?:te|le|os|les)? (?:\w+ )?que no\b",
        r"\bno (?:es|son|está|entra|figura|forma parte)\w* (?:\w+ )?(?:algo|mi|de mis|entre mis|"
        r"en mi|parte de "
        r"mi|de mi)\w* ?(?:que|tarea|función|papel|trabajo|cometido|compet|ámbito|en (?:lo|que))",
        r"\bno (?:te |le )?(?:leeré|copiaré|modificaré|cambiaré|buscaré|alteraré|analizaré|"
        r"diagnosticaré|"
        r"fingiré|difundiré|aconsejaré|alentaré|fomentaré)",
        r"\b(?:eso|esto) no (?:te |se |le )*(?:lo )?puedo\b|\bno puedo (?:\w+ )?(?:contár|decír|"
        r"dár|explicár|"
        r"hacér|facilitár|revelár|mostrár)\w+",
        r"\bno (?:estaría|está|sería|es) (?:bien|correcto|ético|responsable|apropiado|justo) que "
        r"(?:yo )?"
        r"(?:te|le|lo|hablara|diera|dijera|escrib)",
    ),
)
