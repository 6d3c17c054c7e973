"""Reads a YAML list of rules (a policy, a taxonomy, a gate), and names what is wrong with one."""

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from vlmguard.guard.errors import UserError, first_fault, short
from vlmguard.guard.paths import user_path
from vlmguard.guard.yaml_files import read_yaml_list

__all__ = ["read_rules"]

R = TypeVar("R", bound=BaseModel)


def read_rules(
    file: str, schema: type[R], form: str, names: Callable[[R], tuple[str, ...]]
) -> tuple[R, ...]:
    """Read a list of rules.

    Args:
        file: The YAML file.
        schema: What a rule holds.
        form: What the file holds, for an error: `a policy is a list of rules, each with ...`.
        names: The names of a rule that no other rule may have, in capitals or small letters.

    Returns:
        At least one rule.

    Raises:
        UserError: Unreadable, no list, a rule is wrong, or a name occurs twice; names the file, the
            entry and its line.
    """
    entries = read_yaml_list(user_path(file))
    if not entries:
        raise UserError(f"{file}: {form}. Write one.")
    rules: list[R] = []
    known: dict[str, int] = {}
    for number, (line, content) in enumerate(entries, start=1):
        where = f"{file}: line {line}: entry {number}"
        rule = _rule(content, schema, where, form)
        for name in names(rule):
            first = known.setdefault(name.casefold(), number)
            if first != number:
                raise UserError(
                    f"{where}: the name {short(name)!r} occurs twice, in entry {first} too. "
                    "Change one."
                )
        rules.append(rule)
    return tuple(rules)


def _rule(content: Any, schema: type[R], where: str, form: str) -> R:
    if not isinstance(content, dict):
        raise UserError(f"{where}: no rule: {form}. Write it so.")
    named = content.get("id") or content.get("name")
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        field, reason = first_fault(error, schema)
        what = f" ({short(named)})" if isinstance(named, str) else ""
        told = f"{field}: {reason}" if field else reason
        raise UserError(f"{where}{what}: {told}. Correct it.") from error
    except UserError as error:  # of the schema's own checks
        raise UserError(f"{where}: {error.text}") from error
