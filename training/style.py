"""Describe how an image was made, apart from its content, and find images that are made like the other class.

In the training set normal and pneumonia images were made differently: sharpness, contrast and black border alone tell
them apart with an AUC above 0.9. A model that relies on that shortcut does well on images of the same rooms and fails
elsewhere. Held-out images made like the other class reveal it before another hospital does.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

SCALES: Final = (1, 2, 4, 8)
"""Scales in pixels at which an image is averaged before its detail is measured."""
LEVELS: Final = (5, 25, 50, 75, 95)
"""Percentiles of the grey levels."""
BLACK: Final = 12
SHARE: Final = 1 / 3
FOLDS: Final = 5


def describe_making(pixels: np.ndarray) -> np.ndarray:
    """Measure detail at four scales, tone curve, black border, exposure and contrast: float (images, 12).

    `pixels` is uint8 (images, size, size, 1).
    """
    return np.stack([_describe(image[..., 0].astype(np.float32)) for image in pixels])


def _describe(image: np.ndarray) -> np.ndarray:
    mean, spread = float(image.mean()), float(image.std()) + 1e-6
    standard = (image - mean) / spread
    detail = [np.log(_detail(standard, scale) + 1e-6) for scale in SCALES]
    return np.array([*detail, *np.percentile(standard, LEVELS), (image < BLACK).mean(), mean, spread])


def _detail(image: np.ndarray, scale: int) -> float:
    """Return the mean size of the Laplacian of an image averaged over squares of `scale` pixels."""
    side = len(image) // scale
    small = image[: side * scale, : side * scale].reshape(side, scale, side, scale).mean(axis=(1, 3))
    around = small[:-2, 1:-1] + small[2:, 1:-1] + small[1:-1, :-2] + small[1:-1, 2:]
    return float(np.abs(4 * small[1:-1, 1:-1] - around).mean())


def learn_making(making: np.ndarray, truth: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Learn to predict pneumonia from the making of images alone; return the probability for `others`, float (others,).

    `making` and `others` come from `describe_making`, `truth` is bool (images,).
    """
    return np.asarray(_maker().fit(making, truth).predict_proba(others)[:, 1])


def across_groups(making: np.ndarray, truth: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Return each image's probability by `learn_making`, learned on other groups only, float (images,)."""
    folds = GroupKFold(min(FOLDS, len(set(groups))))
    found = cross_val_predict(_maker(), making, truth, groups=groups, cv=folds, method="predict_proba")
    return np.asarray(found[:, 1])


def _maker() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def against_making(truth: np.ndarray, by_making: np.ndarray) -> np.ndarray:
    """Choose the third of each class whose making looks most like the other class: bool (images,)."""
    chosen = np.zeros(len(truth), dtype=bool)
    for is_sick in (False, True):
        rows = np.flatnonzero(truth == is_sick)
        order = rows[np.argsort(by_making[rows], kind="stable")]
        count = max(1, round(SHARE * len(rows)))
        chosen[order[:count] if is_sick else order[-count:]] = True
    return chosen
