"""French refusals."""

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

# In any clause: words that only an assistant says of itself.
_PRONOUNS: Final = r"(?:(?:me|m'|te|t'|vous|le|la|l'|les|lui|leur|y|en|nous) ?){0,2}"
_NE: Final = rf"\b(?:je|nous) n(?:e |'){_PRONOUNS}"
_NOT: Final = r"(?: \w+){0,2}? (?:pas|jamais|aucun\w*|rien|plus|ni|nullement|point)\b"
_PRESENT: Final = (
    r"(?:note|juge|donne|fournis|commente|rédige|écris|décris|propose|participe|crée|génère|"
    r"prescris|réponds|traite|transcris|identifie|aide|recommande|évalue|soutiens|divulgue|"
    r"partage|encourage|fais|diffuse|communique|traitons|fournissons|donnons|répondons|"
    r"proposons|acceptons|aidons|rédigeons|créons|générons|participons|partageons|"
    r"communiquons|prescrivons|accepte)\b"
)
_DEED: Final = r"\b(?:[mtsylnd]')?" + any_of(
    "aid assist fournir donner répond satisfai offrir encourag cautionn partag continu "
    "poursuiv "
    "trait transcri écri rédig décri identifi expli recommand conseill créer géné faire\\b "
    "détaill parler discut comment(?:er)\\b particip approuv soutenir promouv propos divulgu "
    "accept accéder produire accompagn prescri indiqu apprend enseign montr dire\\b juger noter "
    "évaluer moquer plaisant révél communiqu diagnostiqu invent imit falsifi contourn effac "
    "retir supprim localis devin spécul exécut prêter suggér guid me_lancer m'engag avancer_sur "
    "prononc associ"
)
_OUR_RULES: Final = (
    r"(?:mes|nos|mon|notre|ma|les) (?:\w+ )?(?:règl|princip|directiv|politiq|consign|valeur|"
    r"éthiq|condition|charte|programm|lignes|normes)"
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
        r"\b(?:à|avec|de|aider|mon|pour) (?:mon|ma|mes) (?!part\b|règl|princip|program|directiv|"
        r"limit|capac)",
    ),
    offers=(r"\b(?:vous|votre|vos|te|tu|ton|ta|autre|puis-je)\b|t'",),
    pleas=(
        r"(?:pouvez|pourriez|peux|pourrais)-(?:vous|tu) (?:me |m')",
        r"\b(?:s'il (?:vous|te) plaît)\b|\b(?:lis|lisez|explique|expliquez|dis|dites)-"
        r"(?:moi|le|la)\b(?! (?:si|ce|en quoi|comment je))",
    ),
    anywhere=(
        rf"{_NE}(?!pourrai|serai|aurai|saurai|irai|viendrai|devrai|oublierai|pourrons|serons|"
        rf"aurons|saurons)\w+r(?:ai|ons){_NOT}",
        rf"{_NE}(?:vais|allons|souhaite|veux|voulons|souhaitons|compte|comptons|tiens|désire|dois|"
        rf"devons|saurais|saurions|suis|sommes|ai|avons|entends|me permettrai|voudrais)\b"
        rf"[^.]{{0,50}}?{_DEED}",
        rf"{_NE}(?:peux|pouvons|pourrai|pourrons)(?: \w+){{0,2}} (?:{_PRONOUNS})(?:aider|assister|"
        r"prescri|fournir|répondre|donner suite|traiter|accéder|indiquer|expliquer|écrire|rédiger|"
        r"transcri|participer|conseiller|donner (?:de|d'|des) |accompagner|continuer|dire comment|"
        r"satisfaire|cautionner|apporter|m'exprimer|faire (?:ça|cela))(?! (?:exact|avec précis))",
        rf"{_NE}{_PRESENT}{_NOT}",
        r"\b(?:cet|cette|notre|l') ?(?:assistant|ia|service|modèle|système|outil) ne \w+ (?:pas|"
        r"aucun)",
        r"\b(?:il )?(?:m'est|nous est) (?:\w+ment )?(?:impossible|interdit|défendu)\b|\bne "
        r"(?:m'est|"
        r"nous est) pas (?:possible|permis)\b",
        r"\b(?:pas|hors de) question (?:de|d'|que|pour)|\bhors de question\b|\bexclu que je\b|"
        r"^(?:non )?"
        r"(?:pas question|impossible|sans moi|très peu pour moi|ce n'est pas possible|ce sera non|"
        r"c'est non|ce n'est pas envisageable)$",
        r"\bne compte[sz]? pas sur moi|\bje (?:passe|vais passer|préfère passer)(?: mon tour)?$",
        r"\bje (?:me vois|suis|dois|me trouve)\b.{0,40} (?:refuser|décliner|m'abstenir|dire non)\b",
        r"\b(?:je|nous) (?:\w+ )?(?:refuse|refusons|décline|déclinons|m'abstiens|m'abstiendrai|"
        r"m'y refuse|m'y oppose|nous abstenons|nous refusons)\b(?! d'abandonner)",
        r"\b(?:je|j'|nous) ?(?:préf\w+|aimerai\w* mieux|voudrais mieux) (?:ne (?:pas|rien)|qu'on|"
        r"que "
        r"(?:nous|l'on)|parler|m'abstenir|en rester|éviter|changer|passer|discuter|aborder)",
        r"\b(?:parlons|parler|discutons) (?:plutôt )?d'autre chose|\bchang(?:eons|er) de sujet",
        r"^(?:mais )?(?:aucun\w*|nulle?) .{0,60}(?:sera|seront|peut être|est|sont) (?:\w+ "
        r")?(?:communiqu|"
        r"fourni|donn|partag|délivr|divulgu|transmis)|\bne (?:peut|sera|seront|peuvent) (?:pas "
        r")?(?:"
        r"être )?(?:pas )?(?:satisfait|traité|fourni|communiqué|accept|donné|honoré|accord)",
        r"(?:à l'encontre de|contraires? (?:à|aux)|enfrein\w*|viol\w*|contrevien\w* (?:à|aux)|"
        rf"incompatibles? avec|contre) {_OUR_RULES}|\b(?:contraire|contrevient) aux? (?:nos |mes )?"
        r"(?:règles|principes)",
        r"\b(?:dépasse|excède|outrepasse|(?:sort|hors|au-delà) d(?:e|u|es)) ?(?:les |le "
        r")?(?:limites? "
        r"|cadre )?(?:de )?(?:ce (?:que (?:je|j')|qui m'est)|mes (?:compét|attrib|foncti|possib|"
        r"limit)|"
        r"mon (?:champ|rôle|domaine))",
        r"\b(?:serait|est) (?:\w+ )?(?:irresponsable|contraire à l'éthique|imprudent|inapproprié|"
        r"déplacé|malhonnête) de (?:ma|notre) part",
        r"^(?:mais )?(?:répondre|donner suite) à (?:cette|votre|ta|ce)\b.* (?:pourrait|risque\w*|"
        r"serait|reviendrait)\b",
        r"\b(?:donc|alors|ma réponse est|la réponse est) (?:c'est |ce sera )?non$",
        r"\bn(?:'est|'entre|e fait|e relève|e sont)\w* pas (?:dans|de|partie de|à|mon|quelque "
        r"chose)\b ?(?:mes|"
        r"mon|ma|moi)?\b.{0,6}(?:attrib|rôle|compét|foncti|tâche|mission|ressort|travail|que je|"
        r"moi)",
        r"\bje (?:ne )?(?:peux|puis)(?: \w+){0,2} rien (?:vous |te )?(?:dire|faire|communiquer|"
        r"révéler)",
        r"\bje ne suis pas (?:habilité|autorisé|qualifié|en mesure|disposé|compétent|là pour|la "
        r"bonne "
        r"personne)",
        r"\b(?:mes|nos|ma|mon) (?:\w+ )?(?:règles|consignes|principes|directives|politique|"
        r"programmation|"
        r"éthique|rôle) (?:ne )?(?:m'|me |nous |l')?(?:interdi|empêch|permet|autoris)",
    ),
)
