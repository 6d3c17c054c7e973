"""English refusals. The speaker is "I" or "we", and stands at the front of a clause."""

from typing import Final

from vlmguard.guard.refusals.language import Language, any_of

__all__ = ["ENGLISH"]

# Bounded repeats, and one way alone to match the same words: no input may make matching slow.
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
# Words that only an assistant says of itself. Users say "I can't open it", too.
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

# In any clause: the speaker names itself and something that assistants are asked to do.
_SPEAKER: Final = (
    r"\b(?:i|we|(?:this|your) (?:assistant|ai|model|system|service|chatbot|tool)|as an? \w+)"
    r"(?: (?:also|still|therefore|simply|just|certainly|absolutely|definitely|respectfully|really|"
    r"personally|thus|too)){0,2}"
)
_WILL_NOT: Final = (
    r" ?(?:won't|will not|will never|'ll not|'ll never|shall not|would never|"
    r"(?:'m|am|'re|are|is) (?:not|never) (?:going to|willing to|about to|prepared to|here to)|"
    r"(?:'m|am|'re|are|is) (?:unwilling|reluctant|hesitant) to|refuses? to|declines? to|"
    r"(?:have|has) no (?:intention of|wish to|desire to)|do(?:es)?(?: not|n't) (?:want|wish) to|"
    r"(?:do(?:es)?(?: not|n't)|never)|(?:'m|am|'re|are|is) not)"
    r"(?: (?:be|also|ever|knowingly|simply|just|in good conscience)){0,2}"
)
_MAY_NOT: Final = (
    r" ?(?:can't|cannot|can not|could not|couldn't|may not|must not|should not|shouldn't|"
    r"(?:'m|am|'re|are|is) (?:unable|not able|not allowed|not permitted|not authori[sz]ed|not "
    r"in a position|not designed|not qualified|not licensed|forbidden|not free) to)"
    r"(?: (?:also|ever|ethically|legally|responsibly|in good conscience)){0,2}"
)
_DEED: Final = (
    r" (?:"
    r"(?:help|assist|aid|support)(?:ing)?(?: (?:you|with|anyone|in|out|someone|people|to)\b|$)|"
    r"(?:walk|guide|talk|coach|lead|show|tell|teach|give|lend|offer|hand|help|assist)(?:ing)? you|"
    r"(?:tell|teach|give|show)(?:ing)? (?:anyone|people|users|advice|instructions|out|tips)\b|"
    r"(?:provid|describ|writ|generat|creat|produc|compos|draft|transcrib|prescrib|ridicul|forg|"
    r"facilitat|endors|condon|encourag|speculat|guess|identif|outlin|shar|fabricat|disclos|"
    r"reveal|explain|mock|rat|rank|grad|scor|judg|comment|discuss|role-?play|engag|participat|"
    r"invent|joke|detail|process|fulfil|compl|answer|promot|diagnos|translat|recommend|"
    r"contribut|enabl|support)(?:e|y|ies|l|ing|ying)?(?: \w|$)|"
    r"(?:make|making|making up|tak(?:e|ing) part|play(?:ing)? along|be(?:ing)? (?:part|involved)|"
    r"go(?:ing)? (?:into|further|there|along|any)|draw(?:ing)? up|put(?:ting)? together|"
    r"tak(?:e|ing) (?:on|that on|this on|sides)|do(?:ing)? (?:it|that|this|so)\b|"
    r"look(?:ing)? up|read(?:ing)? out|nam(?:e|ing) (?:the|this|that|any|him|her|them))"
    r")"
)
_DEED_ONLY: Final = (
    r" (?:(?:help|assist|support) (?:you|with|anyone|in|people)\b|"
    r"(?:walk|guide|talk|coach|show|teach|give|offer) you|tell you (?:how|where|who|which)|"
    r"(?:prescribe|transcribe|facilitate|endorse|condone|comply|fulfil|assist|do that for you|"
    r"(?:process|handle|accept|answer|support) (?:any |your )?(?:requests?|questions|prompts)|"
    r"take part|participate|go along|be part of|make up|identify (?:him|her|them|the (?:person|"
    r"people|man|woman|individual)|people|anyone|real)|share (?:that|those|this|such|personal)|"
    r"provide (?:instructions|steps|guidance|advice|that|this|these|those|such|you|any|help|"
    r"a (?:diagnosis|recipe|guide)|assistance|support|details on|information (?:on|about) how))\b)"
)
_OUR_RULES: Final = (
    r"(?:my|our|the|this) (?:\w+ ){0,3}(?:guidelines?|polic(?:y|ies)|programming|principles|rules|"
    r"terms|values|standards|ethics|safety)"
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
    anywhere=(
        rf"{_SPEAKER}{_WILL_NOT}{_DEED}",
        rf"{_SPEAKER}{_MAY_NOT}{_DEED_ONLY}",
        rf"{_SPEAKER} ?(?:can't|cannot|can not|won't|will not) in good conscience\b",
        rf"{_SPEAKER} ?(?:won't|will not|can't do that|cannot do that)$",
        r"\bi(?:'ll| will| would|'d|'m going to|'m afraid i'll| think i'll)? ?(?:have to |need to |"
        r"must |rather |prefer to |just |respectfully |better )?(?:pass(?: on (?:this|that|"
        r"it)\b.*)?|"
        r"sit (?:this|that) (?:one )?out|opt out|stay out of (?:this|that|it)|leave it (?:there|at "
        r"that)|steer clear of (?:this|that|it)|draw the line (?:here|there|at)|say no(?: to\b.*)?|"
        r"stop (?:here|there)|skip (?:this|that)(?: one)?)$",
        r"\b(?:i|we)(?:'ll|'d| will| would| must| have to| need to|'m going to have to|'m| am)? ?"
        r"(?:\w+ly )?(?:declin|refus|abstain|refrain)(?:e|ing)?"
        r"(?: (?:to|from|this|that|your|any|it)\b|$)",
        r"\b(?:have|need|got|going) to (?:\w+ly )?(?:say no|decline|refuse|turn (?:this|that|it|"
        r"you) down)\b",
        r"\b(?:i|we)(?:'d| would) (?:rather|prefer)(?: to)? (?:not|we|talk|discuss|leave|stay)\b",
        r"\b(?:i|we)(?: would|'d)? (?:do not|don't|wouldn't|would not|'m not|am not) (?:feel |be )?"
        r"(?:right|comfortable|okay|ok|at ease|good about|happy to)\b",
        r"\b(?:i'm|i am|we're|we are|i'd be|i would be) (?:\w+ )?uncomfortable (?:with|\w+ing)",
        r"\bnot (?:qualified|licensed|permitted|allowed|authori[sz]ed|in a position) to "
        r"(?:prescribe|"
        r"diagnose|give|offer|provide|answer|say|discuss|share|help|advise|comment|make|do)",
        r"\b(?:outside|beyond|exceeds?|past|over the line of) (?:of )?(?:(?:the (?:scope|limits?|"
        r"bounds|boundaries|range) of )?(?:what|anything|things) (?:i|we)(?:'m| am| are| can)|my "
        r"(?:"
        r"remit|scope|role|limits|boundaries|competence|expertise))\b",
        r"^(?:(?:but|so|and|no|sorry) )*(?:help|assist|provid|giv|writ|creat|mak|generat|tell|show|"
        r"teach|identif|describ|explain|guid|rat|produc|shar|discuss|mock|support|walk)\w*ing\b.* "
        r"(?:is|are|would be) (?:out of the question|off (?:the table|limits)|not (?:something|"
        r"possible|on|okay|an option|permitted|allowed)|a no-go|nothing (?:i|we))\b",
        r"\b(?:that's|that is|this is|it's|it is|that|this) (?:a (?:hard |firm |definite )?no\b|"
        r"out "
        r"of the question$|not happening|off (?:the table|limits)$|a line i\b|not (?:something|a "
        r"(?:topic|request|task|conversation|subject)) (?:that )?(?:i|we)\b)",
        r"\b(?:something|a request|a task|a topic|anything|a line|not one) (?:that )?(?:i|we)(?: "
        r"(?:do not|don't)| ?(?:can't|cannot|won't|will not|'m not|am not|'m unable|am unable|"
        r"refuse|'re not|are not))(?! (?:know|see|underst|have|rememb|recogni))",
        r"^(?:(?:no|nope|sorry|nah|but|so) )*(?:not (?:doing|helping|going)|count me out|no can do|"
        r"leave me out|not going to (?:happen|do)|my answer is no|the answer is no|"
        r"(?:that's|it's)? ?a no from me|i'm out|absolutely not|no way|not a chance)\b(?! of)"
        r"(?: \w+){0,3}$",
        r"\b(?:request|question|prompt|content|information|instructions|details|help|assistance|"
        r"this|that|advice|image|text|text here) (?:can't|cannot|can not|won't|will not|is not "
        r"going "
        r"to|may not) be (?:fulfilled|completed|processed|honou?red|answered|granted|provided|"
        r"shared|"
        r"accommodated|given|supplied|produced|offered|disclosed|addressed|met)\b",
        r"\bno (?:\w+ ){0,3}(?:information|instructions|details|help|assistance|guidance|advice|"
        r"steps|recipe|directions)\b.*(?:will|can|may) be (?:given|provided|shared|offered|"
        r"supplied)",
        r"(?:against|violat\w+|breach\w*|contrary to|prohibited by|conflicts? with|contraven\w+|"
        rf"not in line with|inconsistent with|in conflict with) {_OUR_RULES}\b",
        r"\b(?:irresponsible|unethical|wrong|inappropriate|unsafe|reckless|improper|dishonest|"
        r"dangerous|harmful|unfair) (?:for me|of me|on my part)\b",
        r"\b(?:not|n't|never) (?:be )?(?:right|appropriate|ethical|responsible|proper|okay|safe|"
        r"fair|"
        r"comfortable) for (?:me|us) to\b",
        r"^(?:(?:but|so|and) )?(?:answering|responding to|fulfilling|complying with) (?:this|that|"
        r"your|it|such)\b.* (?:could|would|might|may|risks?|can)\b",
        r"\b(?:talk|chat|speak) about something else\b|\bchange the (?:subject|topic)\b",
        r"\b(?:hard|firm) (?:pass|no)\b|\b(?:so|and|then) (?:no|the answer is no|it's a no)$",
        r"\b(?:is|are)(?:n't| not) (?:(?:something|things?|topics?|for) (?:that )?(?:i|we)\b|for "
        r"me to\b|"
        r"(?:part|one) of my (?:job|role|task)|my (?:job|role|place|call)\b)",
        r"\byou (?:won't|will not|can't|cannot) (?:get|find|have|hear|receive|expect)\b.{0,40} "
        r"from (?:me|us)\b",
        r"\b(?:my|our) (?:\w+ ){0,2}(?:role|rules|polic\w+|guidelines|principles|training|design|"
        r"programming|"
        r"ethics|conscience) (?:\w+ )?(?:does not|doesn't|do not|don't|won't|will not|forbids?|"
        r"prohibits?|"
        r"prevents?|keeps?|stops?|bars?)\b",
        r"\b(?:draw|cross(?:es)?|drawing) (?:a|the|my) line\b",
    ),
)
