"""Attacks on models and on the guards before them: one attack a file.

    inspect eval tasks/siuo.py -T attack=adaptive:R2 --solver vlmguard --model M ...
    inspect eval tasks/siuo.py --solver attack_loop -S attack=si_attack --model guarded/vlmguard/M

`base` says what an attack is, `chosen` reads its name and options, `rendering` applies it to a
conversation, and `drawing` writes into pictures. README.md says which attack breaks what.
"""

# Importing an attack registers it.
from vlmguard.guard.attacks.adaptive import approval as approval
from vlmguard.guard.attacks.base import (
    ATTACK,
    Attack,
    AttackCard,
    AttackFailed,
    AttackInput,
    AttackOutput,
    Dialogue,
    Try,
    Turn,
    attack,
    attack_cards,
)
from vlmguard.guard.attacks.best_of_n import best_of_n as best_of_n
from vlmguard.guard.attacks.chosen import ChosenAttack, chosen_attack, default_options
from vlmguard.guard.attacks.crescendo import crescendo as crescendo
from vlmguard.guard.attacks.figstep import figstep as figstep
from vlmguard.guard.attacks.figstep_pro import figstep_pro as figstep_pro
from vlmguard.guard.attacks.forgotten import forgotten as forgotten
from vlmguard.guard.attacks.jood import jood as jood
from vlmguard.guard.attacks.mml import mml as mml
from vlmguard.guard.attacks.rendering import (
    Asked,
    Attacked,
    asked_of,
    attacked,
    input_of,
    messages_of,
)
from vlmguard.guard.attacks.si_attack import si_attack as si_attack
from vlmguard.guard.attacks.typographic import typographic as typographic
from vlmguard.guard.attacks.verdict import verdict_answer as verdict_answer
from vlmguard.guard.attacks.verdict import verdict_line as verdict_line
from vlmguard.guard.attacks.verdict import verdict_note as verdict_note

__all__ = [
    "ATTACK",
    "Asked",
    "Attack",
    "AttackCard",
    "AttackFailed",
    "AttackInput",
    "AttackOutput",
    "Attacked",
    "ChosenAttack",
    "Dialogue",
    "Try",
    "Turn",
    "asked_of",
    "attack",
    "attack_cards",
    "attacked",
    "chosen_attack",
    "default_options",
    "input_of",
    "messages_of",
]
