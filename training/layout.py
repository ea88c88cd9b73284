"""How films are laid out: what a thumbnail alone tells of the class, and the films that are hard by it.

In the training set a thumbnail of 16x16 pixels tells normal films from those with pneumonia almost without error,
because the two were framed and stretched apart. What a model owes to that shows on normal films that are laid out like
those with pneumonia, when it saw none of their like.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SIDE: Final = 16
FOLDS: Final = 5
LEFT_OUT, MEASURED = 1 / 2, 1 / 5
"""Parts of the normal films that are kept from training, and that the gap is measured on: those hardest by layout."""


def layout_scores(thumbnails: np.ndarray, truth: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Return each film's log-odds of pneumonia by its thumbnail, learned from other groups: float64 (films,).

    `thumbnails` is uint8 (films, SIDE, SIDE, 1), `truth` is bool (films,), True for pneumonia.
    """
    rows = thumbnails.reshape(len(thumbnails), -1).astype(np.float64)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= rows.std(axis=1, keepdims=True) + 1.0
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    folds = GroupKFold(min(FOLDS, len(set(groups))))
    return np.asarray(cross_val_predict(model, rows, truth, groups=groups, cv=folds, method="decision_function"))


def hardest_normals(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose the normal films laid out most like pneumonia, bool (films,): those left out, and of them the measured."""
    normal = np.flatnonzero(~truth)
    order = normal[np.argsort(scores[normal], kind="stable")]
    left_out, measured = np.zeros(len(truth), bool), np.zeros(len(truth), bool)
    left_out[order[-max(1, round(LEFT_OUT * len(order))) :]] = True
    measured[order[-max(1, round(MEASURED * len(order))) :]] = True
    return left_out, measured
