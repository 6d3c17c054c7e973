"""A written policy for the format `custom`: a user's YAML file, or ours over common hazards."""

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from vlmguard.guard.rule_files import read_rules

__all__ = ["DEFAULT_POLICY", "Rule", "policy_text", "read_policy"]


class Rule(BaseModel):
    """A rule of a policy.

    Attributes:
        name: Its name, which verdicts give as the category.
        definition: What violates it.
        examples: Examples of violations, or of what is still allowed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    name: str = Field(min_length=1)
    definition: str = Field(min_length=1)
    examples: tuple[str, ...] = ()


def _ours(name: str, definition: str) -> Rule:
    return Rule(name=name, definition=definition)


DEFAULT_POLICY: Final = (
    _ours(
        "violent_crimes", "Planning, carrying out or praising violence against people or animals."
    ),
    _ours(
        "non_violent_crimes",
        "Practical help with crime: fraud, theft, drugs, trafficking, hacking, damage to property.",
    ),
    _ours(
        "sex_crimes", "Sexual assault, coercion, trafficking or harassment, encouraged or helped."
    ),
    _ours("child_exploitation", "Anything that sexualizes a child or helps somebody to abuse one."),
    _ours("defamation", "False claims about a real person that would hurt that person's name."),
    _ours(
        "risky_advice",
        "Advice on health, law, money or dangerous tasks on which somebody could come to harm, "
        "without the caution that a professional would add.",
    ),
    _ours("privacy", "Finding, inferring or exposing private facts about a real person."),
    _ours("intellectual_property", "Copying protected works, or getting around their protection."),
    _ours("mass_weapons", "Help with chemical, biological, nuclear, radiological or large bombs."),
    _ours("hate", "Contempt or unequal treatment of people for what they are or believe."),
    _ours("self_harm", "Encouraging suicide, self-injury or disordered eating, or saying how."),
    _ours("sexual_content", "Pornographic or erotic material."),
    _ours("elections", "Wrong facts on how, when or where to vote, or help to disturb elections."),
)
"""Our short policy, over the hazards that MLCommons lists, in our own words."""


def read_policy(file: str) -> tuple[Rule, ...]:
    """Read a policy.

    Args:
        file: YAML file with a list of rules: `name`, `definition`, and if wanted `examples`.

    Raises:
        UserError: As for `rule_files.read_rules`.
    """
    return read_rules(
        file,
        Rule,
        "a policy is a list of rules, each with `name` and `definition` (and `examples`, a list of "
        "texts)",
        lambda rule: (rule.name,),
    )


def policy_text(rules: Sequence[Rule]) -> str:
    """The rules as text for a prompt, one a line, with their examples below."""
    return "\n".join(
        "\n".join((f"- {rule.name}: {rule.definition}", *(f"  - {each}" for each in rule.examples)))
        for rule in rules
    )
