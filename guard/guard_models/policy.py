"""A written policy for the format `custom`: a user's YAML file, or ours over common hazards."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlmguard.guard.errors import UserError, first_fault
from vlmguard.guard.paths import user_path
from vlmguard.guard.yaml_files import read_yaml

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
        UserError: Unreadable, no list of rules, a rule is wrong, or a name occurs twice; names the
            file and the entry.
    """
    content = read_yaml(user_path(file))
    if not isinstance(content, list) or not content:
        raise UserError(
            f"{file}: a policy is a list of rules, each with `name` and `definition` (and "
            "`examples`, a list of texts). Write one."
        )
    rules = tuple(_rule(file, number, each) for number, each in enumerate(content, start=1))
    names = [rule.name for rule in rules]
    for number, name in enumerate(names, start=1):
        if name in names[: number - 1]:
            raise UserError(f"{file}: entry {number}: the name {name!r} occurs twice. Change one.")
    return rules


def policy_text(rules: Sequence[Rule]) -> str:
    """The rules as text for a prompt, one a line, with their examples below."""
    return "\n".join(
        "\n".join((f"- {rule.name}: {rule.definition}", *(f"  - {each}" for each in rule.examples)))
        for rule in rules
    )


def _rule(file: str, number: int, entry: object) -> Rule:
    named = entry.get("name") if isinstance(entry, dict) else None
    where = f"{Path(file)}: entry {number}" + (f" ({named})" if isinstance(named, str) else "")
    if not isinstance(entry, dict):
        raise UserError(f"{where}: a rule has `name` and `definition`. Write them.")
    try:
        return Rule.model_validate(entry)
    except ValidationError as error:
        field, reason = first_fault(error, Rule)
        raise UserError(f"{where}: {field}: {reason}. Correct it.") from error
