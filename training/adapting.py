"""Measure what a threshold chosen without labels achieves at other hospitals, whose labels are known."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from evaluation.metrics import threshold_for_share
from training.estimates import LEAST, Shown

SEED: Final = 0


@dataclass(frozen=True)
class Effect:
    """Results for one source and view at the model's own threshold and at one chosen for a flagged share."""

    part: str
    sick: int
    well: int
    found: tuple[int, int]
    """Pneumonia images flagged before and after."""
    passed: tuple[int, int]
    """Normal images not flagged before and after."""


def measure_share(shown: Shown, p_pneumonia: np.ndarray, threshold: float, share: float) -> list[Effect]:
    """Choose a threshold for a flagged share on half of each part's patients, without labels; measure the other half.

    Then the halves swap roles. Parts with fewer than LEAST images of either label are left out.
    """
    effects = []
    for part in sorted(set(shown.parts)):
        rows = np.flatnonzero(np.array([own == part for own in shown.parts]))
        truth = shown.truth[rows]
        if min(truth.sum(), (~truth).sum()) < LEAST:
            continue
        own = p_pneumonia[rows]
        flagged = own >= _thresholds(own, [shown.groups[i] for i in rows], share)
        before = own >= threshold
        effects.append(
            Effect(
                part=part,
                sick=int(truth.sum()),
                well=int((~truth).sum()),
                found=(int(before[truth].sum()), int(flagged[truth].sum())),
                passed=(int((~before[~truth]).sum()), int((~flagged[~truth]).sum())),
            )
        )
    return effects


def _thresholds(p_pneumonia: np.ndarray, groups: list[str], share: float) -> np.ndarray:
    """Return for each image the threshold chosen on the half of the patients that it does not belong to."""
    patients = np.random.default_rng(SEED).permutation(sorted(set(groups)))
    first = set(patients[: len(patients) // 2])
    of_first = np.array([group in first for group in groups])
    return np.where(
        of_first,
        threshold_for_share(p_pneumonia[~of_first], share),
        threshold_for_share(p_pneumonia[of_first], share),
    )
