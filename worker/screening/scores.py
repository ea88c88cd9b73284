"""The interface that the score queues `asked_scores` and `shadow_scores` share; scores are computed one at a time."""

from typing import Protocol, TypeVar

from sqlalchemy.orm import Session

from shared.errors import ImageRejected
from shared.models.spec import ModelPrediction, ModelSpec
from shared.queue.asked_scores import AskedImage
from shared.queue.shadow_scores import ShadowImage

Held = TypeVar("Held", AskedImage, ShadowImage)
Held_contra = TypeVar("Held_contra", AskedImage, ShadowImage, contravariant=True)
Score = tuple[ModelPrediction | None, ImageRejected | None]
"""A prediction, or the reason why there is none."""


class Scores(Protocol[Held_contra]):
    """A queue of scores; both modules implement it."""

    def settle(
        self,
        session: Session,
        held: Held_contra,
        spec: ModelSpec,
        prediction: ModelPrediction | None,
        refusal: ImageRejected | None = None,
    ) -> bool:
        """Write the outcome."""
