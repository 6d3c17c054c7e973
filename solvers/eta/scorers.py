"""Finds the models that score answers and images for ETA: the authors', or roles of the user's.

This happens before the target is called. A role replaces the local model only if the user binds it;
the run is then marked approximate.
"""

from dataclasses import dataclass

from inspect_ai.model import Model, model_roles

from vlmguard.guard.aux_models.base import Checkpoint
from vlmguard.guard.aux_models.clip import clip_similarity
from vlmguard.guard.aux_models.reward import prepare_reward, rewards
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.roles import one_model
from vlmguard.solvers.eta.roles import GRADE_TEMPLATE, IMAGE_TEMPLATE, graded, image_unsafe


@dataclass(frozen=True)
class Scorers:
    """ETA's two scorers.

    Attributes:
        reward: Checkpoint of the reward model.
        clip: Checkpoint of CLIP.
        reward_role: Model that grades instead of the reward model, or None.
        image_role: Model that looks at images instead of CLIP, or None.
    """

    reward: Checkpoint
    clip: Checkpoint
    reward_role: Model | None
    image_role: Model | None

    async def prepare(self) -> None:
        """Load the reward model, which every answer needs, unless a role replaces it.

        Raises:
            UserError: It cannot be loaded, or the user has not consented to its code.
        """
        if self.reward_role is None:
            await prepare_reward(self.reward)

    @property
    def approximations(self) -> list[str]:
        """Points in which these differ from the authors' scorers."""
        return [
            *(["reward: a prompted model"] if self.reward_role else []),
            *(["image_safety: a prompted model, no utility term"] if self.image_role else []),
        ]

    @property
    def templates(self) -> list[str]:
        """The prompts of the role models."""
        return [
            *([GRADE_TEMPLATE] if self.reward_role else []),
            *([IMAGE_TEMPLATE] if self.image_role else []),
        ]

    async def score(
        self, rubric: str, answers: list[str], record: DefenseRecord, stage: str
    ) -> list[float]:
        """The reward of each answer (with the role, a grade from 0 to 1)."""
        if self.reward_role is not None:
            return await graded(self.reward_role, rubric, answers, record, stage)
        reading = await rewards(self.reward, rubric, answers)
        record.add_stage(reading.stage(stage, "reward"))
        if reading.cut:
            record.approximate("reward: answer cut at 4,096 tokens")
        return reading.values

    async def similarity(
        self, images: list[str], texts: list[str], record: DefenseRecord, stage: str
    ) -> list[float]:
        """The cosine of each text and its closest image."""
        reading = await clip_similarity(self.clip, images, texts)
        record.add_stage(reading.stage(stage, "clip"))
        if reading.cut:
            record.approximate("utility: text cut at CLIP's 77 tokens")
        return reading.values

    async def is_image_unsafe(
        self, images: list[str], text: str, threshold: float, record: DefenseRecord
    ) -> bool:
        """Whether the image check fails: cosine with `text` at or above `threshold`, or by role."""
        if self.image_role is not None:
            return await image_unsafe(self.image_role, images, record)
        (cosine,) = await self.similarity(images, [text], record, "image_check")
        record.notes = {**record.notes, "clip": cosine}
        return cosine >= threshold


def bound_scorers(reward: Checkpoint, clip: Checkpoint) -> Scorers:
    """The scorers, with the models of roles where the user bound them.

    Args:
        reward: Checkpoint of the reward model.
        clip: Checkpoint of CLIP; loaded when a sample needs it.
    """
    bound = model_roles()
    return Scorers(
        reward,
        clip,
        one_model("reward") if "reward" in bound else None,
        one_model("image_safety") if "image_safety" in bound else None,
    )
