"""How German refuses. The verb of service stands last, behind "nicht" or "kein"."""

from typing import Final

from vlmguard.guard.refusals.language import Language, any_of

__all__ = ["GERMAN"]

_LEAD: Final = r"^(?:(?!dass\b|schreib|übersetz|sag)[\w'-]+ ){0,6}?"
_MODAL: Final = r"(?:kann|können|darf|dürfen|werde|werden|möchte|möchten|will|könnte)"
_DO: Final = (
    r"(?:mache|tue|helfe|gebe|erstelle|schreibe|beantworte|nenne|unterstütze|erkläre|liefere|"
    r"verfasse|beschreibe|erteile|fördere|empfehle)"
)
_NOT: Final = r"\b(?:nicht|keine?[rnms]?|nichts)\b"
_SERVE: Final = r"\b" + any_of(
    "helf weiterhelf behilflich hilf unterstütz beantwort antwort bereitstell geben\\b "
    "erteil anbiet "
    "biet nachkomm erfüll bearbeit erstell verfass schreib beschreib identifizier erklär "
    "empfehl gutheiss fortfahr weitermach nenn äusser eingeh teilen diskutier sprech mitwirk "
    "beteilig teilnehm liefer befürwort auskunft ermutig raten verrat erzeug generier "
    "umformulier umschreib kommentier transkrib einlassen anleit tun\\b machen\\b sagen\\b dien"
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
)
