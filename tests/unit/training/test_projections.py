"""Views drawn from a CT: from the front and from the sides of a made chest, read from any form that CTs come in."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name that its documentation uses
from PIL import Image

from shared.images import gate
from tests.made_chest import made_chest
from tests.unit.shared.images.test_dicom import make
from training import projections

AGES = (1, 5)


@pytest.fixture(scope="module")
def chest() -> np.ndarray:
    return made_chest()


def as_image(volume: np.ndarray) -> sitk.Image:
    """Return a volume, down from the head, as CT files hold it: up from the feet."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume[::-1]).astype(np.int16))
    image.SetSpacing((projections.VOXEL,) * 3)
    return image


def seen(sums: np.ndarray) -> list[str]:
    """Return what the gate makes of a projection at each exposure but the one that may be too bright to be read."""
    pictures = [
        projections.expose(sums, exposure, 160, evened=evened)
        for exposure in projections.EXPOSURES[:2]
        for evened in (0.0, projections.EVENED)
    ]
    return [str(gate.look(Image.fromarray(picture), gate.default(AGES)).refused or "read") for picture in pictures]


@pytest.mark.parametrize(
    ("degrees", "code"), [(0, "read"), (6, "read"), (84, "not_frontal"), (90, "not_frontal"), (276, "not_frontal")]
)
def test_the_gate_refuses_a_chest_from_the_side_and_reads_it_from_the_front(
    chest: np.ndarray, degrees: int, code: str
) -> None:
    assert set(seen(projections.project(chest, degrees))) == {code}


def test_the_back_shows_the_mirror_image_of_the_front(chest: np.ndarray) -> None:
    front, back = projections.project(chest, 0), projections.project(chest, 180)
    assert front.shape == back.shape
    assert np.abs(front - back[:, ::-1]).max() < 0.02 * front.max()


def test_a_projection_is_as_wide_as_the_patient(chest: np.ndarray) -> None:
    tissue = chest > projections.BODY
    assert abs(projections.project(chest, 0).shape[1] - np.flatnonzero(tissue.any(axis=(0, 1))).size) <= 2
    assert abs(projections.project(chest, 90).shape[1] - np.flatnonzero(tissue.any(axis=(0, 2))).size) <= 2


@pytest.mark.parametrize("form", ["chest.nrrd", "chest.nii.gz", "slices"])
def test_a_ct_is_read_the_right_way_round_from_any_form(chest: np.ndarray, tmp_path: Path, form: str) -> None:
    path = tmp_path / form
    if form == "slices":
        path.mkdir()
        write_slices(chest, path)
    else:
        sitk.WriteImage(as_image(chest), str(path))
    read = projections.read_volume(path)
    assert read.shape == chest.shape
    inside = chest > projections.BODY
    assert np.abs(read - chest)[inside].max() <= 1


def write_slices(volume: np.ndarray, folder: Path) -> None:
    """Write a CT as a scanner sends it, a file a slice, from the feet up.

    SimpleITK would write them as well, and leave the whole process in the locale C.
    """
    stored = (volume[::-1] - projections.AIR).round().astype(np.uint16)
    for number, samples in enumerate(stored):
        slice_of_ct = make(
            samples,
            Modality="CT",
            SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
            StudyInstanceUID="1.2.826.0.1.3680043.8.498.1",
            SeriesInstanceUID="1.2.826.0.1.3680043.8.498.2",
            InstanceNumber=number,
            ImagePositionPatient=[0, 0, projections.VOXEL * number],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[projections.VOXEL, projections.VOXEL],
            SliceThickness=projections.VOXEL,
            RescaleSlope=1,
            RescaleIntercept=int(projections.AIR),
        )
        (folder / f"{number:04d}.dcm").write_bytes(slice_of_ct)


def test_the_table_under_a_patient_is_left_out(chest: np.ndarray, tmp_path: Path) -> None:
    table = chest.copy()
    table[:, -2:, 20:-20] = 100.0
    path = tmp_path / "table.nrrd"
    sitk.WriteImage(as_image(table), str(path))
    assert projections.read_volume(path)[:, -2:].max() == projections.AIR
