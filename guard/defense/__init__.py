"""The contract of a defense: one object for solver, model API, server and gateway hooks.

defense = defense_named("ecso")(verdict="exact")
outcome = await defense.run(Conversation(messages), Target(model))
outcome.decision.action     # pass, rewrite, block or regenerate
outcome.output              # what the user gets
outcome.record              # every call, and what came of it
"""

from vlmguard.guard.decision import (
    ON_FAILURE,
    Action,
    Decision,
    OnFailure,
    Verdict,
)
from vlmguard.guard.defense.base import Answered, Defense, Outcome, UnusableReply
from vlmguard.guard.defense.conversation import Conversation
from vlmguard.guard.defense.helper import Helper, unusable
from vlmguard.guard.defense.names import defense_named, register_defense
from vlmguard.guard.defense.options import check_options
from vlmguard.guard.defense.refusal import REFUSAL_MESSAGE, refusal
from vlmguard.guard.defense.target import Target
from vlmguard.guard.defense.together import call_each

__all__ = [
    "ON_FAILURE",
    "REFUSAL_MESSAGE",
    "Action",
    "Answered",
    "Conversation",
    "Decision",
    "Defense",
    "Helper",
    "OnFailure",
    "Outcome",
    "Target",
    "UnusableReply",
    "Verdict",
    "call_each",
    "check_options",
    "defense_named",
    "refusal",
    "register_defense",
    "unusable",
]
