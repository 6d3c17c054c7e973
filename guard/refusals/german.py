"""German refusals. The verb of service stands last, after "nicht" or "kein"."""

from typing import Final

from vlmguard.guard.refusals.language import Language, any_of

__all__ = ["GERMAN"]

_LEAD: Final = r"^(?:(?!dass\b|schreib|übersetz|sag)[\w'-]+ ){0,6}?"
_MODAL: Final = r"(?:kann|können|darf|dürfen|werde|werden|möchte|möchten|will|könnte)"
_NOT: Final = r"\b(?:nicht|keine?[rnms]?|nichts)\b"
_SERVE: Final = r"\b" + any_of(
    "helf weiterhelf behilflich hilf unterstütz beantwort antwort bereitstell geben\\b "
    "erteil anbiet "
    "biet nachkomm erfüll bearbeit erstell verfass schreib beschreib identifizier erklär "
    "empfehl gutheiss fortfahr weitermach nenn äusser eingeh teilen diskutier sprech mitwirk "
    "beteilig teilnehm liefer befürwort auskunft ermutig raten verrat erzeug generier "
    "umformulier umschreib kommentier transkrib einlassen anleit tun\\b machen\\b sagen\\b dien"
)

# In any clause: words that only an assistant says of itself, in the word order of main and of
# subordinate clauses.
_I: Final = r"(?:ich|wir)\b"
_DEED: Final = (
    r"\b"
    + any_of(
        "helf weiterhelf behilflich unterstütz beantwort antwort bereitstell geben\\b erteil "
        "anbiet "
        "nachkomm erfüll bearbeit erstell verfass schreib beschreib identifizier erklär "
        "empfehl gutheiss fortfahr weitermach nennen\\b äussern\\b eingeh teilen\\b diskutier "
        "mitwirk "
        "beteilig teilnehm mitmach liefern befürwort ermutig raten\\b verrat erzeug generier "
        "kommentier transkrib einlassen anleit tun\\b machen\\b sagen\\b dienen verordn verschreib "
        "benot "
        "bewert beurteil zeigen\\b beibring abschreib herausgeb preisgeb veröffentlich spekulier "
        "fälsch entfern umgeh lustig verspott ausdenk dichten entwerf entwickl auskunft mitteil "
        "vorschlag darleg erläuter weitergeb anfertig herstell"
    )
    + r"\w*"
)
_DO: Final = (
    r"(?:mache|tue|helfe|gebe|erstelle|schreibe|beantworte|nenne|unterstütze|erkläre|liefere|"
    r"verfasse|beschreibe|erteile|fördere|empfehle|sage|verrate|zeige|bewerte|benote|beurteile|"
    r"verrate|leiste|bearbeite|beteilige|äussere|spekuliere|kommentiere|identifiziere|"
    r"transkribiere|verschreibe|verordne|machen|helfen|geben|erstellen|beantworten|bearbeiten|"
    r"erteilen|bieten|biete)"
)
_NEVER: Final = r"\b(?:nicht|keine?[rnms]?|nichts|nie|niemals|keinesfalls|keinerlei)\b"
_OUR_RULES: Final = (
    r"(?:meine[nr]?|unsere[nr]?|die) (?:\w+ )?(?:\w*richtlini|\w*grundsätz|\w*regel|\w*prinzip|"
    r"vorgab|\w*bedingung|werte)"
)

GERMAN: Final = Language(
    script="LATIN",
    openers=(
        r"(?:aber |und )?(?:(?:es )?tut mir|entschuldig|verzeih|sorry|ich (?:bitte|bedau|fürchte|"
        r"entschuldige)|bedauer|leider|bitte (?:entsch|verst|haben sie verst))",
        r"danke|vielen dank|hallo|guten (?:tag|morgen|abend)|nein$|als (?:ki|ein|sprach|"
        r"künst|assist|"
        r"verantw)|ich (?:\w+ )?(?:verstehe|weiss)|ich kann (?:gut )?(?:verstehen|"
        r"nachvollziehen)",
        r"aus \w*gründen|auch wenn|obwohl|zwar|da |dass |so sehr|(?:diese|deine|ihre) "
        r"(?:anfrage|bitte|frage)|dieser (?:inhalt|wunsch)|das bild enthält",
    ),
    declines=(
        r"\b(?:ausserhalb|jenseits) meiner (?:möglichkeit|fähigkeit|befugnis)",
        r"^(?:\w+ )?(?:ich kann das|das kann ich|das darf ich) (?:leider )?nicht$",
        r"^(?:dazu )?(?:habe ich|ich habe) (?:dazu )?keine (?:befugnis|berechtigung|erlaubnis)",
        rf"^dass (?:ich|wir)\b[^.]{{0,60}}{_NOT}[^.]{{0,60}}?{_SERVE}",
        rf"{_LEAD}(?:(?:ich|wir) {_MODAL}|{_MODAL} (?:ich|"
        rf"wir))\b[^.]{{0,90}}{_NOT}[^.]{{0,60}}?{_SERVE}",
        rf"{_LEAD}(?:{_DO} ich|ich {_DO})\b[^.]{{0,50}}{_NOT}",
        rf"{_LEAD}(?:muss|müssen) (?:ich|wir)?[^.]{{0,50}}\b(?:ablehnen|verweigern)\b",
        rf"{_LEAD}(?:ich|wir) (?:muss|müssen)\b[^.]{{0,50}}\b(?:ablehnen|verweigern|passen)\b",
        rf"{_LEAD}(?:ich|wir) lehnen? (?:es |das |dies|diese|solche)[^.]{{0,40}}\bab\b",
        rf"{_LEAD}(?:ich weigere|weigere ich) mich\b",
        rf"{_LEAD}(?:es |das )?ist (?:es )?mir (?:leider )?nicht (?:möglich|erlaubt|gestattet)",
        rf"{_LEAD}(?:ich bin|bin ich|wir sind) (?:leider )?nicht (?:in der lage|befugt|"
        r"berechtigt|"
        r"bereit|imstande)",
        r"^(?:aber )?das ist (?:leider )?(?:nichts|keine? \w+|etwas)$",
        r"(?:verstösst gegen|widerspricht|gegen) (?:meine|meinen|unsere|unseren) "
        r"(?:richtlini|grundsätz|regel|prinzip|vorgab)",
        r"^meine (?:richtlinien|regeln|programmierung|vorgaben) (?:verbiet|erlaub|lassen)",
    ),
    spares=(
        r"\b(?:allein|alleine|selbst nicht|umhin|nicht auf$|genug)\b",
        r"\bmein(?:e[mnrs]?)? (?!möglichk|fähigk|befugn|richtlin|grundsätz|regel|prinzip|"
        r"programm|vorgab)\w+",
    ),
    offers=(r"\b(?:dir|dich|du|ihnen|sie|euch|ihr|anderes|stattdessen|sonst noch)\b",),
    pleas=(
        r"(?:können|könnten|kannst|könntest) (?:sie|du) (?:mir|mich)\b",
        r"\bbitte (?:lies|erklär|sag (?!mir,|mir wenn|bescheid)|zeig|übersetz|beschreib)",
    ),
    anywhere=(
        rf"\b(?:{_I} (?:werde|werden|möchte|möchten|will|wollen|darf|dürfen|würde)|(?:werde|werden|"
        rf"möchte|möchten|will|wollen|darf|dürfen|würde) "
        rf"{_I})[^.]{{0,70}}?{_NEVER}[^.]{{0,60}}?{_DEED}",
        rf"\b(?:{_I} (?:kann|können)|(?:kann|können) "
        rf"{_I})[^.]{{0,50}}?{_NEVER}[^.]{{0,20}}?\b(?:helfen|"
        r"weiterhelfen|unterstützen|behilflich|nachkommen|bearbeiten|dienen|bereitstellen|"
        r"mitwirken|beantworten|verantworten|anbieten|erfüllen)\b",
        rf"\b(?:ich|wir)\b[^.]{{0,60}}?{_NEVER}[^.]{{0,60}}?{_DEED} (?:werde|werden|möchte|will|"
        rf"darf|kann|"
        r"können|dürfen)$",
        rf"{_DEED}[^.]{{0,20}} (?:werde|darf|möchte|will|werden|dürfen|kann|können) "
        rf"{_I}[^.]{{0,25}}{_NEVER}",
        r"^nicht (?:bearbeiten|beantworten|erfüllen)$|^nicht (?:bearbeiten|beantworten|"
        r"erfüllen|helfen|dienen)$",
        rf"\b(?:{_I} {_DO}|{_DO} {_I})[^.]{{0,50}}?{_NEVER}",
        rf"^(?:die|das|den|was|wobei|woran|was) {_I}(?: \w+){{0,3}}? {_NEVER}(?: \w+){{0,3}}$",
        rf"\b(?:{_I} lehnen?|lehnen? {_I})\b[^.]{{0,60}}\bab\b|\b{_I}[^.]{{0,60}}\bablehnen?$|"
        rf"\b(?:ablehnen|"
        r"verweigern|absagen) (?:muss|müssen)$",
        rf"\b(?:muss|müssen) {_I}[^.]{{0,50}}\b(?:ablehnen|verweigern|passen|absagen|zurückweisen)|"
        rf"\b{_I} (?:muss|müssen)\b[^.]{{0,50}}\b(?:ablehnen|verweigern|passen|absagen|nein "
        rf"sagen)\b",
        rf"\b(?:weigere {_I}|{_I} weigere) mich|\bsehe (?:ich )?(?:davon|hiervon) ab\b|"
        rf"\bverzichte ich\b",
        r"\b(?:ich bin|bin ich|da bin ich) (?:da |hier |leider )?raus\b|^(?:da |hier )?ohne "
        r"mich$|\bnicht "
        r"mit mir$|^(?:\w+ )?(?:da|hier) (?:mache|mach) ich nicht mit\b|\bmach\w* ich\b.*\bnicht "
        r"mit$",
        r"^(?:(?:nein|nee|aber|das|da|leider|hier) )*(?:das )?(?:geht|mache ich|tue ich|wird)(?: "
        r"\w+)? "
        r"(?:nicht|nichts)$|\bkommt (?:\w+ )*(?:nicht in ?frage|nicht infrage)|\b(?:ist|bleibt) "
        r"(?:\w+ )?(?:völlig )?ausgeschlossen$",
        r"\b(?:mir|uns) (?:\w+ )?nicht (?:möglich|erlaubt|gestattet)|\b(?:ist|bleibt) (?:mir|uns) "
        r"(?:\w+ )?(?:untersagt|verboten|nicht)\b|\b(?:mir|uns) (?:untersagt|verboten)\b",
        r"\b(?:ausserhalb|jenseits|über das hinaus)\b.{0,25}(?:mir|meine|ich|uns|unsere)\w*\b|"
        r"\b(?:ausserhalb dessen|über das hinaus)$|\bübersteigt "
        r"(?:meine|das|unsere)",
        r"\b(?:wird|werden|kann|können|darf|dürfen) (?:hier |von \w+ )?[^.]{0,40}?(?:nicht|"
        r"keine\w*)"
        r"[^.]{0,40}\b(?:erteilt|bereitgestellt|herausgegeben|beantwortet|gegeben|bearbeitet|"
        r"entsprochen|weitergegeben|veröffentlicht)(?: werden)?$",
        r"\bvon (?:mir|uns)\b[^.]{0,40}\b(?:niemals|nicht|keine\w*|nie)\b|\b(?:niemals|nicht|"
        r"keine\w*|nie)\b"
        r"[^.]{0,30}\bvon (?:mir|uns)\b",
        r"\blass\w*(?: sie)? uns (?:lieber|besser|doch|stattdessen)? ?(?:lieber )?(?:über etwas "
        r"anderes|das "
        r"thema wechseln|von etwas)|\bthema wechseln\b|\b(?:ich|wir) (?:würden?|möchte|rede) "
        r"(?:\w+ )?"
        r"(?:lieber|stattdessen) (?:über|nicht|kein|von)",
        rf"(?:verstösst|verstossen|widerspricht|gegen)(?: gegen)? {_OUR_RULES}",
        r"\bnicht (?:zu )?verantworten\b|\bwäre (?:es )?(?:\w+ )?(?:unverantwortlich|unethisch|"
        r"falsch|"
        r"fahrlässig|unseriös) (?:von mir|meinerseits)|\bwäre (?:meinerseits|von mir) ",
        r"^(?:diese|ihre|deine|solche) (?:anfrage|frage|bitte)\w* (?:zu )?beantwort\w*",
        r"\b(?:meine|unsere)\w* (?:\w+ )?(?:\w*richtlinien|\w*regeln|\w*grundsätze|\w*vorgaben|"
        r"programmierung|"
        r"prinzipien) (?:lassen|erlauben|verbieten|untersagen|gestatten|verbietet|erlaubt|lässt)",
        r"\bstehe ich (?:\w+ )*nicht zur verfügung|\bgehör\w* (?:\w+ )?nicht zu mein|\bnicht "
        r"mein\w* "
        r"(?:aufgabe|zuständigkeit|rolle)|\b(?:bin|sind) (?:ich |wir )?(?:\w+ )?nicht "
        r"(?:zuständig|befugt|"
        r"berechtigt|bereit|der richtige|die richtige)",
        r"^\w*(?:\w+ )?werde ich (?:\w+ ){0,3}(?:nicht|niemals|nie|"
        r"keinesfalls)$",
        r"\b(?:also|daher|deshalb|darum|meine antwort ist|meine antwort lautet) nein$",
    ),
)
