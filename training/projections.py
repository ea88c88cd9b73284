"""Draw digitally reconstructed radiographs from CT at any angle: frontal, lateral and abdominal views.

Public sets of lateral radiographs are large and need agreements; a few open chest CTs give a lateral view of each
patient from any side: a digitally reconstructed radiograph, as used in radiotherapy since Sherouse, Novins and Chaney
1990. Frontal views of the same CTs are drawn as well, so that a lateral cannot be told by the way it was drawn.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that its documentation uses
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]  # SciPy ships no types

VOXEL: Final = 2.0
"""In millimetres; a chest's projection then has some 150 pixels a side."""
BEHIND: Final = 6.25
"""In millimetres of water; less attenuation is outside the patient."""
AIR: Final = -1000.0
"""In Hounsfield units, in which water has 0."""
BODY: Final = -350.0
"""Above this is tissue; parts not connected with the largest one are the table, or a sheet."""
FRONTAL: Final = (-12, -6, 0, 6, 12)
LATERAL: Final = (72, 78, 84, 88, 92, 96, 102, 108)
"""Rotations of the patient in degrees; the opposite side of each is drawn as well."""
EXPOSURES: Final = (0.4, 1.0, 2.0)
"""From low contrast to saturation behind the patient's middle, whatever the patient's thickness."""
EVENED: Final = 0.6
"""Fraction of the coarse differences that a digital system's processing removes to show fine ones."""


def read_volume(path: Path) -> np.ndarray:
    """Read a CT, a folder of DICOM slices or a file that SimpleITK knows (.nrrd, .nii.gz, .mha).

    Return Hounsfield units, float32 (head to foot, front to back, patient's right to left), in voxels of VOXEL
    millimetres, with everything but the patient replaced by air.
    """
    if path.is_dir():
        image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path)))
    else:
        image = sitk.ReadImage(str(path))
    image = sitk.DICOMOrient(sitk.Cast(image, sitk.sitkFloat32), "LPS")
    size = [round(count * space / VOXEL) for count, space in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    fine = sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear,
        image.GetOrigin(), (VOXEL,) * 3, image.GetDirection(), AIR,
    )  # fmt: skip
    return _patient_alone(sitk.GetArrayFromImage(fine)[::-1])


def _patient_alone(volume: np.ndarray) -> np.ndarray:
    tissue = ndimage.binary_opening(volume > BODY, iterations=2)
    parts, count = ndimage.label(tissue)
    largest = parts == 1 + int(np.argmax(ndimage.sum_labels(tissue, parts, range(1, count + 1))))
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in ndimage.binary_dilation(largest, iterations=3)])
    return np.where(filled, volume, AIR).astype(np.float32)


def project(volume: np.ndarray, degrees: float) -> np.ndarray:
    """Sum the attenuation of parallel rays through a patient turned by `degrees`: mm of water, float32 (height, width).

    0 is frontal, with the patient's right on the left of the image; 90 and 270 are lateral. The width is the patient's.
    """
    density = np.maximum(volume - AIR, 0.0) / -AIR
    # Calcium makes bone attenuate more than its density suggests.
    density = np.where(density > 1.1, 1.1 + 1.8 * (density - 1.1), density)
    turned = ndimage.rotate(density, degrees, axes=(1, 2), reshape=True, order=1)
    sums = turned.sum(axis=1, dtype=np.float32) * np.float32(VOXEL)
    seen = np.flatnonzero((sums > BEHIND).any(axis=0))
    return np.asarray(sums[:, seen[0] : seen[-1] + 1])


def expose(sums: np.ndarray, exposure: float, side: int, *, evened: float = 0.0) -> np.ndarray:
    """Render a projection as a radiograph, bone bright: uint8 (side, side), ignoring its aspect ratio."""
    behind = sums > BEHIND
    shown = 1 - np.exp(-exposure * sums / np.median(sums[behind]))
    shown = shown - evened * ndimage.gaussian_filter(shown, shown.shape[1] / 6)
    low, high = np.percentile(shown[behind], (1, 99.5))
    grey = ((shown - low) / (high - low)).clip(0, 1) * 255
    return np.asarray(Image.fromarray(grey.astype(np.uint8)).resize((side, side), Image.Resampling.BILINEAR))


def radiographs(path: Path, angles: Sequence[int], side: int) -> np.ndarray:
    """Draw a CT from both sides of each angle at each of EXPOSURES, evened and not: uint8 (pictures, side, side)."""
    volume = read_volume(path)
    return np.stack([
        expose(sums, exposure, side, evened=evened)
        for sums in (project(volume, degrees + half) for degrees in angles for half in (0, 180))
        for exposure in EXPOSURES
        for evened in (0.0, EVENED)
    ])  # fmt: skip
