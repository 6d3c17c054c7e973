"""How English refuses. Who declines is "I" or "we", and it stands at the front of a clause."""

from typing import Final

from vlmguard.guard.refusals.language import Language, any_of

__all__ = ["ENGLISH"]

# Bounded, and no two ways to read the same words: time must not grow with them.
_LEAD: Final = (
    r"^(?:(?:but|and|so|however|therefore|thus|hence|also|unfortunately|regrettably|sadly|no|"
    r"nope|"
    r"well|hello|hi|sorry|then|that|apologies) ){0,4}"
    r"(?:(?:i'm|i am) (?:\w+ )?(?:sorry|afraid) |i apologi[sz]e |my apologies |"
    r"(?:as an?|for|due to) [^.!?]{0,60}? )?(?:but |that |so )?"
    r"(?:i (?:must|have to) (?:inform|tell|advise) you that )?"
)
_WHO: Final = r"(?:i|we)(?: (?:also|still|therefore|just|\w+ly)){0,2}"
_CANNOT: Final = (
    r" ?(?:(?:can't|cannot|can not)(?: and (?:will not|won't))?|"
    r"(?:won't|will not)(?: be(?: able to)?)?|"
    r"(?:'m|am|'re|are) (?:unable to|not able to|not going to|not willing to|"
    r"not (?:allowed|permitted|authori[sz]ed|designed|programmed|equipped) to|"
    r"not comfortable(?: with)?|not (?:qualified|certified|capable of)(?: to)?|prohibited from|"
    r"incapable of)|(?:do not|don't) have the ability to)"
    r"(?: (?:in good conscience|be|also|ever|\w+ly)){0,2}"
)
_REQUEST: Final = (
    r"(?:with |in |to |by |on |about |for |of )?"
    r"(?:this|that|it|these|those|such|your|any|so|you|the (?:request|prompt|question)|"
    r"questions)\b"
)
_HELP: Final = (
    r"(?:help|assist|support)\w*(?: (?:you|with|in|to|anyone|others|people|actions|any|"
    r"illegal|\w+ (?:this|that|your))\b"
    r"|[^\w ]|$)"
)
_ON_REQUEST: Final = (
    any_of(
        "answer rewrit rephras improv process fulfil complet accommodat handl discuss "
        "respond engag "
        "continu proceed creat generat do say view see grad evaluat"
    )
    + rf"\w* {_REQUEST}"
)
# What only who serves says of himself; "I can't open it" is said by those who ask.
_SERVE: Final = (
    any_of(
        "assist comply condon endors promot encourag facilitat advis speculat disclos identif "
        "determin recommend suggest describ discuss comment provid produc generat offer "
        "facilitate "
        "engag participat perform carry_out execut aid\\b diagnos verif estimat guess creat "
        "transcrib output display explain list writ describe reveal pass_judg make_assum "
        "draw_conclu "
        "give_(?:you|any|specific|personal|real|out|advice|information|instructions?|answers?|"
        "the_(?:help|information|answer)|help|guidance|details|medical|legal|financial|such|that|"
        "this) shar(?:e|ing)_(?:you|any|specific|personal|real|information|instructions?|details|"
        "that|this|such)"
    )
    + r"\w*"
)
_MINE: Final = (
    r"(?:(?:my|openai'?s?|our)(?: \w+){0,3} |our usage[ -]|our use[ -]case )"
    r"(?:guidelines?|polic(?:y|ies)|programming|principles|rules|terms)"
)

ENGLISH: Final = Language(
    script="LATIN",
    openers=(
        r"(?:but |and |so )?(?:(?:i'm|i am) (?:\w+ ){0,2}(?:sorry|afraid|glad)|sorry|i "
        r"(?:sincerely )?"
        r"apologi[sz]e|(?:my |our )?(?:sincere )?apologies|please (?:forgive|excuse|understand)|"
        r"forgive|excuse)\b",
        r"(?:unfortunately|regrettably|sadly|however|no|nope|well|hello|hi|hey|thank you|"
        r"thanks|and|"
        r"but|so|still|instead)\b",
        r"as (?:an?|per|your|the|stated|mentioned|someone|such|part|it|this)\b",
        r"(?:for|due to|because|given|since|while|although|though|even|according to|in "
        r"accordance)\b",
        r"i (?:\w+ly )?(?:do )?(?:understand|appreciate|realise|realize|know|hear|see|"
        r"respect|want)\b",
        r"(?:i'm|i am) (?:\w+ ){0,2}(?:programmed|designed|just|only|an? (?:large|ai|"
        r"language|assistant))",
        r"(?:a|ai|answer|response|assistant)$",
        r"(?:this|that|your|the) (?:request|image|question|content|prompt|instruction)\b",
        r"(?:it's|it is) (?:important|crucial|essential|against|unsafe|not (?:appropriate|"
        r"safe))\b",
    ),
    declines=(
        r"\bis (?:outside|beyond) (?:of )?(?:what (?:i|we) can|(?:the scope of )?my (?:scope|"
        r"capabilit|abilit))",
        r"\bprogrammed (?:not to|to (?:decline|refuse|avoid))\b",
        rf"{_LEAD}{_WHO} (?:do not|don't) have (?:the )?(?:permission|authori[sz]ation|"
        r"authority) to",
        rf"{_LEAD}{_WHO}{_CANNOT} (?:{_HELP}|{_ON_REQUEST}|{_SERVE})",
        rf"^(?:(?:no|nope|sorry) )?{_CANNOT} (?:help|assist)\w* with\b",
        rf"{_LEAD}{_WHO}{_CANNOT}$",
        rf"{_LEAD}{_WHO}(?:'ll)? (?:(?:must|have to|need to|will|would have to|will have to) "
        r")?(?:\w+ly )?"
        r"(?:decline|refuse)\b",
        rf"{_LEAD}{_WHO}(?:'m| am) (?:not comfortable|uncomfortable)\b",
        rf"{_LEAD}{_WHO} (?:do not|don't) (?:feel comfortable|condone|endorse|"
        r"(?:support|encourage|promote) (?:actions|any|illegal|harm|violen)|"
        r"(?:provide|offer|give) (?:help|assistance|information|instructions|advice|guidance))",
        rf"{_LEAD}{_WHO}(?:'d| would) (?:rather|prefer) not\b",
        rf"{_LEAD}{_WHO} prefer not to\b",
        rf"{_LEAD}(?:this|that|it)(?:'s| is) (?:not (?:something|an? \w+) (?:that )?{_WHO}\b|"
        rf"something (?:that )?{_WHO}{_CANNOT})",
        rf"{_LEAD}(?:it|this|that) (?:would|is|'s)(?: not|n't)? (?:be )?(?:not )?"
        r"(?:in)?appropriate (?:or \w+ )?for me to\b",
        rf"{_LEAD}(?:this|that|it) (?:issue |request |question |topic )?is beyond my "
        r"(?:scope|abilit)",
        r"(?:against|violat\w+|breach\w*|contrary to|prohibit\w*|restrict\w*|goes against) "
        rf"(?:\w+ ){{0,2}}{_MINE}|^(?:\w+ )?{_MINE}(?: \w+){{0,3}} (?:prohibit|restrict|"
        r"forbid|prevent)",
        r"\bis (?:not allowed|prohibited) on (?:our|this) platform\b",
        r"\b(?:not safe|unsafe|not allowed|not permitted)(?: \w+){0,4} (?:per|under|by) " + _MINE,
    ),
    spares=(
        r"\bhelp (?:but|\w+ing|myself|my|him|her|them)\b",
        r"\b(?:alone|by myself|on my own|without (?:help|you))\b",
        r"\benough\b",
        r"\b(?:with|for|to|give|help|support|answer|of|in|this with|discuss|explain|describe|"
        r"identify) "
        r"my (?!guideline|polic|program|current|train|capabilit|principle|creator|design|"
        r"abilit|role|"
        r"knowledge|purpose)",
        r"\b(?:give up|let go)\b",
        r"\b(?:provide|support) for\b",
        r"with this much\b",
    ),
    offers=(r"\b(?:you|your|else|other|anything specific|instead|we)\b",),
    pleas=(
        r"\bplease (?:explain|read|describe|translate|identify|show|tell me(?! (?:more|if "
        r"you|what you))|give me|help me|list|advise|"
        r"check|look at|suggest|write|summari[sz]e|recommend)\b",
        r"^(?:tell|show|give|advise|teach|help) me\b(?! (?:more|know|if you|what you))|"
        r"^(?:explain|identify|describe|list|suggest|read|"
        r"translate|write)\b",
        r"\b(?:can|could|will|would) you (?:please )?(?!like|prefer|share|provide|clarify|"
        r"rephrase|"
        r"tell me more|try)\w",
    ),
    musings=(
        r"(?:ok|okay|alright|all right|hmm+|so|got it|let me (?:think|see)|let's (?:think|see)|"
        r"first)\b[,.]? (?:the user|i need to|let me|let's|what|we need)",
        r"(?:the user|we need to|the question asks|hmm)\b",
    ),
)
