"""How French refuses."""

from typing import Final

from vlmguard.guard.refusals.language import Language, any_of

__all__ = ["FRENCH"]

_LEAD: Final = r"^(?:(?!que\b|écri|tradui)[\w'-]+ ){0,6}?"
_CANNOT: Final = (
    r"(?:je|nous) n(?:e |')(?:m'|vous |te |me )?(?:peux|pouvons|pourrai|pourrons|saurais|"
    r"saurions|"
    r"vais|dois|souhaite|veux|suis|sommes|ai|avons)\b"
)
_SERVE: Final = r"\b(?:[mtsylnd]')?" + any_of(
    "reformul réécri "
    "aid assist fourn donne répond satisfai offrir encourag caution partag continu poursuiv "
    "trait transcri écri rédig décri identifi expli recommand conseill cré(?:er|e) géné "
    "faire_(?:ça|cela|"
    "ceci) détaill parl discut comment(?:er|e)\\b particip approuv soutenir promouv propos "
    "divulgu accept accéder produi accompagn"
)

FRENCH: Final = Language(
    script="LATIN",
    openers=(
        r"(?:mais |et )?(?:(?:je|nous) (?:suis|sommes) (?:\w+ )?(?:désolé|navré)|désolé|"
        r"navré|pardon|"
        r"je (?:m'excuse|regrette|crains|vous prie)|nous regrettons|veuillez|excuse|toutes mes|"
        r"mes excuses)",
        r"malheureusement|hélas|cependant|merci|bonjour|bonsoir|salut|non$",
        r"en tant qu|je (?:vous |te )?compren|pour des raisons|par souci|bien que|même si|"
        r"cela va|(?:cette|votre|ta) (?:demande|question|requête|image)|ce contenu",
    ),
    declines=(
        r"\b(?:dépasse|hors de|au-delà de) (?:mes|ma) (?:capacité|compéten|possibilit|portée)",
        r"\bprogrammée? pour ne pas\b|^(?:mais )?je n'ai pas (?:le droit|l'autorisation) de",
        rf"{_LEAD}{_CANNOT}[^.]{{0,50}}?{_SERVE}",
        rf"{_LEAD}je crains de ne (?:pas )?(?:pouvoir|être)",
        rf"{_LEAD}il (?:m'est|nous est|ne m'est pas) (?:\w+ )?(?:im)?possible de "
        rf"[^.]{{0,30}}?{_SERVE}",
        rf"{_LEAD}il ne m'est pas permis",
        rf"{_LEAD}(?:je|nous) (?:me |nous )?(?:dois|devons|suis (?:contraint|obligé)\w*|préfère|"
        r"préférons|préférerais) (?:de )?(?:malheureusement )?(?:refuser|décliner|ne pas)",
        rf"{_LEAD}(?:je|nous) (?:refus(?:e|ons)|déclin(?:e|ons)|m'abstien)\b",
        rf"{_LEAD}je suis (?:incapable|dans l'impossibilité) de [^.]{{0,30}}?{_SERVE}",
        rf"{_LEAD}(?:je|nous) n(?:e |')(?:vous |te )?(?:aide|fourni|donne|écri|particip|"
        r"répond)\w* "
        r"(?:pas|aucun|jamais)\b",
        r"^(?:mais |non )?(?:ce|cela) n'est pas (?:quelque chose|une chose)",
        r"(?:à l'encontre de|contraire à|enfrein\w*|viol\w*|contrevien\w* à) (?:mes|nos) "
        r"(?:règl|princip|directiv|politiq|consign)",
        r"^(?:mes|ma) \w+ (?:m'|ne me )(?:interdi|empêch|permet)",
    ),
    spares=(
        r"\b(?:tout[e]? seule?|seule?|m'empêcher|saurais trop|que vous (?:conseill|recommand))",
        r"\b(?:à|avec|de|aider|mon|pour) (?:mon|ma|mes) (?!règl|princip|program|directiv|"
        r"limit|capac)",
    ),
    offers=(r"\b(?:vous|votre|vos|te|tu|ton|ta|autre|puis-je)\b|t'",),
    pleas=(
        r"(?:pouvez|pourriez|peux|pourrais)-(?:vous|tu) (?:me |m')",
        r"\b(?:s'il (?:vous|te) plaît)\b|\b(?:lis|lisez|explique|expliquez|dis|dites)-"
        r"(?:moi|le|la)\b(?! (?:si|ce|en quoi|comment je))",
    ),
)
