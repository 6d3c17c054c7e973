"""The rules by which `policy_route` sorts requests: a user's YAML file, or ours.

A rule of the file:

    - id: kitchen_knives                  # letters, digits, `_`, `.`, `-`; the router's word for it
      name: knives in the kitchen         # for people; the id in words if it is left out
      definition: Cutting, storing or sharpening knives at home.
      action: forward                     # block, reframe or forward
      should: ["Say how not to get hurt."]
      should_not: ["Speak of knives as weapons."]

`definition` may be left out where the id is that of a hazard of our policy for guard models
(`guard/guard_models/policy.py`), which then defines it. `taxonomy.yaml` is ours, and has them all.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vlmguard.guard.data_records import Text
from vlmguard.guard.guard_models.policy import DEFAULT_POLICY
from vlmguard.guard.rule_files import read_rules

__all__ = [
    "ACTIONS",
    "DEFAULT_TAXONOMY",
    "NONE",
    "RouteAction",
    "RouteRule",
    "by_severity",
    "read_taxonomy",
]

RouteAction = Literal["block", "reframe", "forward"]
ACTIONS: Final[tuple[RouteAction, ...]] = ("block", "reframe", "forward")
"""What is done with a request, the most severe first."""

DEFAULT_TAXONOMY: Final = Path(__file__).with_name("taxonomy.yaml")
NONE: Final = ("none", "n/a", "null", "")
"""What models say for no rule, in small letters."""

_HAZARDS: Final = {rule.name: rule.definition for rule in DEFAULT_POLICY}
_FORM: Final = (
    "a taxonomy is a list of rules, each with `id`, `definition`, `action` (block, reframe or "
    "forward), and if wanted `name` and the lists `should` and `should_not`"
)


class RouteRule(BaseModel):
    """A rule of a taxonomy.

    Attributes:
        id: What the router calls it.
        name: What people call it.
        definition: Which requests it is about.
        action: What is done with such a request.
        should: What an answer should do.
        should_not: What it should not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    id: str = Field(pattern=r"^[\w.-]+$")
    name: Text
    definition: Text
    action: RouteAction
    should: tuple[Text, ...] = ()
    should_not: tuple[Text, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, values: Any) -> Any:
        known = values.get("id") if isinstance(values, dict) else None
        if not isinstance(known, str):
            return values
        defined = {"definition": _HAZARDS[known]} if known in _HAZARDS else {}
        return {"name": known.replace("_", " "), **defined, **values}

    @field_validator("id")
    @classmethod
    def _means_a_rule(cls, value: str) -> str:
        if value.casefold() in NONE:
            raise ValueError(f"{value} means that no rule applies; choose another id")
        return value

    @property
    def line(self) -> str:
        """The rule as the router sees it."""
        return f"- {self.id} ({self.name}): {self.definition}"

    @property
    def guidance(self) -> str:
        """What an answer should do and should not, as the target sees it."""
        return "\n".join(
            (
                f"It is about {self.name}.",
                *(f"- Do: {each}" for each in self.should),
                *(f"- Do not: {each}" for each in self.should_not),
            )
        )


def read_taxonomy(file: str | None = None) -> tuple[RouteRule, ...]:
    """Read a taxonomy.

    Args:
        file: The YAML file; ours by default.

    Raises:
        UserError: As for `rule_files.read_rules`; ids and names are unique together.
    """
    return read_rules(file or str(DEFAULT_TAXONOMY), RouteRule, _FORM, lambda r: (r.id, r.name))


def by_severity(rules: Sequence[RouteRule]) -> list[RouteRule]:
    """Rules with the most severe action first, otherwise in their order."""
    return sorted(rules, key=lambda rule: ACTIONS.index(rule.action))
