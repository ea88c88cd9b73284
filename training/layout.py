"""Measure how much an image's layout alone, as a thumbnail, reveals of its class, and find the hard images.

In the training set a thumbnail of 16x16 pixels tells normal images from those with pneumonia almost without error,
because the two were framed and stretched apart. How much a model relies on that shows on normal images laid out like
pneumonia ones, when it was trained on none of them.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

SIDE: Final = 16
FOLDS: Final = 5
LEFT_OUT, MEASURED = 1 / 2, 1 / 5
"""Fractions of the normal images, the hardest by layout, left out of training and used to measure the gap."""


def layout_scores(thumbnails: np.ndarray, truth: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Return each image's log-odds of pneumonia from its thumbnail, learned on other groups: float64 (images,).

    `thumbnails` is uint8 (images, SIDE, SIDE, 1), `truth` is bool (images,), True for pneumonia.
    """
    rows, folds = _rows(thumbnails), GroupKFold(min(FOLDS, len(set(groups))))
    return np.asarray(
        cross_val_predict(_classifier(), rows, truth, groups=groups, cv=folds, method="decision_function")
    )


def power(
    thumbnails: np.ndarray, reframed: np.ndarray, truth: np.ndarray, groups: Sequence[str]
) -> tuple[float, float]:
    """Return the AUC of a thumbnail classifier on images of other groups, as they are and in other images' framing.

    Both are uint8 (images, SIDE, SIDE, 1); it learns from the former alone. The second AUC lacks what the first owed to
    the framing.
    """
    scores = np.zeros((2, len(truth)))
    for seen, held in GroupKFold(min(FOLDS, len(set(groups)))).split(thumbnails, truth, groups):
        model = _classifier().fit(_rows(thumbnails[seen]), truth[seen])
        for row, images in zip(scores, (thumbnails, reframed), strict=True):
            row[held] = model.decision_function(_rows(images[held]))
    before, after = (float(roc_auc_score(truth, row)) for row in scores)
    return before, after


def _rows(thumbnails: np.ndarray) -> np.ndarray:
    rows = thumbnails.reshape(len(thumbnails), -1).astype(np.float64)
    rows -= rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / (rows.std(axis=1, keepdims=True) + 1.0))


def _classifier() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))


def hardest_normals(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose the normal images laid out most like pneumonia, bool (n,): those left out, and the measured among them."""
    normal = np.flatnonzero(~truth)
    order = normal[np.argsort(scores[normal], kind="stable")]
    left_out, measured = np.zeros(len(truth), bool), np.zeros(len(truth), bool)
    left_out[order[-max(1, round(LEFT_OUT * len(order))) :]] = True
    measured[order[-max(1, round(MEASURED * len(order))) :]] = True
    return left_out, measured
