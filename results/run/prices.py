"""What a plan's calls come to in tokens and money: an estimate, by assumptions about a call."""

from collections.abc import Mapping, Sequence
from typing import Final

from vlmguard.results.run.config import Matrix, ModelChoice, Prices

_UNPRICED: Final = Prices(input=0, output=0)
"""What a call is assumed to take where `prices:` does not name the model."""

ASSUMED: Final = (
    f"Tokens and cost are estimates: {_UNPRICED.input_tokens:,} tokens read and "
    f"{_UNPRICED.output_tokens:,} written a call (fewer for an undefended answer that its "
    "benchmark ends sooner), unless prices: "
    "says otherwise for a model."
)


def tokens_of(
    matrix: Matrix,
    bound: Mapping[str, Sequence[ModelChoice]],
    target: str,
    samples: int | None,
    asked: Mapping[str, int | None],
    longest: int | None = None,
) -> int | None:
    """Tokens read and written in one run; None if a number of calls is not known.

    Args:
        matrix: The configuration, with what calls are assumed to take.
        bound: The models of each role.
        target: The evaluated model.
        samples: Number of answers.
        asked: Calls per sample, of the `target` and of each role.
        longest: The most tokens of the target's answer, if that is known.
    """
    known = [
        times(samples, calls)
        for role, calls in asked.items()
        if calls is None or _names(role, bound, target)
    ]
    if any(number is None for number in known):
        return None
    tokens = 0.0
    for role, calls in asked.items():
        names = _names(role, bound, target)
        for name in names:
            price = matrix.prices.get(name, _UNPRICED)
            number = (times(samples, calls) or 0) / len(names)
            written = _written(price, longest if role == "target" else None)
            tokens += number * (price.input_tokens + written)
    return round(tokens)


def cost_of(
    matrix: Matrix,
    bound: Mapping[str, Sequence[ModelChoice]],
    target: str,
    samples: int | None,
    asked: Mapping[str, int | None],
    longest: int | None = None,
) -> float | None:
    """Money for one run, with the arguments of `tokens_of`; None if a model has no price."""
    money = 0.0
    for role, calls in asked.items():
        number = times(samples, calls)
        if number == 0:
            continue
        names = _names(role, bound, target)
        for name in names:
            price = matrix.prices.get(name)
            if price is None or number is None:
                return None
            written = _written(price, longest if role == "target" else None)
            tokens = price.input * price.input_tokens + price.output * written
            money += number / len(names) * tokens / 1e6
        if number is None:
            return None
    return money


def _names(role: str, bound: Mapping[str, Sequence[ModelChoice]], target: str) -> list[str]:
    """The models that are called; a role without one is a classifier in this process, and free."""
    return [target] if role == "target" else [each.model for each in bound.get(role, ())]


def _written(price: Prices, longest: int | None) -> int:
    """Tokens written in a call; what the user says of a model wins."""
    if longest is None or "output_tokens" in price.model_fields_set:
        return price.output_tokens
    return min(price.output_tokens, longest)


def times(one: int | None, other: int | None) -> int | None:
    """A product; None if a factor is not known."""
    return None if one is None or other is None else one * other


def total(values: Sequence[int | None]) -> int | None:
    """A sum; None if a term is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
