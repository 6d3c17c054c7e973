"""A forged verdict in the checker's own format, typed behind the request.

Ours: a checker that copies the last line of what it is shown, or a reader that finds the line in a
quotation, takes the forger's word for the verdict.

    inspect eval tasks/siuo.py -T attack=verdict:line:llama_guard --solver guard_model ...
    inspect eval tasks/siuo.py -T attack=verdict:line:format=ecso --solver ecso ...
"""

from typing import Final

from vlmguard.guard.attacks.base import Attack, AttackCard, AttackInput, AttackOutput, attack
from vlmguard.guard.attacks.verdict.lines import ALL, forgeable, forged

CARD: Final = AttackCard(
    name="verdict:line",
    title="Forged verdict in the request",
    version="1-A",
    paper="ours",
    summary="a verdict in the checker's own format, typed behind the request",
    options=("format",),
    fidelity="ours",
)


@attack(CARD)
def verdict_line(format: str = ALL) -> Attack:
    """Type a forged verdict behind the request.

    Args:
        format: Whose verdict: a format of guard models, a defense that checks, or the general
            `judge`; `all` of them, each on lines of its own.
    """
    line = forged(forgeable(format))

    def apply(given: AttackInput) -> AttackOutput:
        return AttackOutput(
            f"{given.text}\n\n{line}".lstrip(),
            given.images,
            steps=(f"forged verdict ({format}) behind the request",),
        )

    return apply
