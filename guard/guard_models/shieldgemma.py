"""ShieldGemma 2 4B: probabilities of Yes and No for each policy, from a local checkpoint.

    -S adapter=shieldgemma -S options="{checkpoint: google/shieldgemma-2-4b-it}"

Format: Google's model card and the code of transformers (`ShieldGemma2ForImageClassification`;
Gemma terms). It judges images alone, against the policies `dangerous`, `sexual` and `violence`, and
cannot be reached through a chat API. The score is the highest probability of Yes over images and
policies; pan-and-scan is off. Never run with the model's own weights here: a test runs a tiny
checkpoint of its architecture with random ones.

No threshold is published: 0.5 is only where Yes is more probable than No.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.aux_models.base import Checkpoint
from vlmguard.guard.aux_models.shieldgemma import prepare_shieldgemma, probabilities_unsafe
from vlmguard.guard.decision import Verdict
from vlmguard.guard.errors import UserError
from vlmguard.guard.guard_models.base import (
    ROLE,
    Checked,
    Exchange,
    GuardModel,
    Reads,
    views,
    worst,
)

__all__ = ["POLICIES", "ShieldGemma"]

POLICIES: Final = ("dangerous", "sexual", "violence")


class ShieldGemma(GuardModel):
    """ShieldGemma 2.

    Args:
        checkpoint: Folder, hub id or `HUB_ID@REVISION`.
        device: `cpu`, `cuda:1`, ...; CUDA by default if there is a device, else the CPU.
        policies: What is asked, some of `POLICIES`.
        threshold: Least probability of Yes that counts as unsafe, over 0 and up to 1.

    Raises:
        UserError: An option cannot be used.
    """

    name: ClassVar = "shieldgemma"
    sides: ClassVar = ("input",)
    reads: ClassVar[tuple[Reads, ...]] = ("image",)
    images: ClassVar = "each"
    scores = True
    roles = ()

    def __init__(
        self,
        *,
        checkpoint: str,
        device: str | None = None,
        policies: Sequence[str] = POLICIES,
        threshold: float = 0.5,
    ) -> None:
        self.checkpoint = Checkpoint.named(checkpoint, device)
        self.policies = [policies] if isinstance(policies, str) else list(policies)
        unknown = [each for each in self.policies if each not in POLICIES]
        if unknown or not self.policies:
            meant = did_you_mean(unknown[0], POLICIES) if unknown else ""
            raise UserError(
                f"shieldgemma: policies={policies}: choose among {', '.join(POLICIES)}.{meant}"
            )
        if not 0 < threshold <= 1:
            raise UserError(
                f"shieldgemma: threshold={threshold}: choose a number over 0 and up to 1."
            )
        self.threshold = threshold

    async def ready(self) -> None:
        """Load the checkpoint."""
        await prepare_shieldgemma(self.checkpoint)

    async def check(self, exchange: Exchange) -> Checked:
        """Ask about each image under each policy."""
        images = [view.conversation.seen for view in views(exchange, self.images)]
        return worst([await self._one(seen[0]) for seen in images if seen])

    async def _one(self, image: str) -> Checked:
        reading = await probabilities_unsafe(self.checkpoint, image, self.policies)
        named = dict(zip(self.policies, reading.values, strict=True))
        over = tuple(name for name, value in named.items() if value >= self.threshold)
        verdict = Verdict(
            raw=" ".join(f"{name} {value:.4f}" for name, value in named.items()),
            label="unsafe" if over else "safe",
            categories=over,
            score=max(reading.values),
        )
        return Checked(verdict, (reading.stage("guard_input", ROLE),))
