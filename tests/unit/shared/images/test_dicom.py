"""DICOM radiographs: taken, turned the right way round, or refused with a reason."""

import io
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from shared.errors import ImageRejected
from shared.images.dicom import MEDIA_TYPE
from shared.images.preprocess import decode, prepare
from shared.intake.archive import receive
from shared.models.spec import ModelSpec
from shared.refusals import Rejection
from shared.settings import Settings
from shared.store.store import FolderStore
from tests.conftest import draw, text_of
from tests.drawn_files import radiograph

RAMP = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (80, 1))


def make(samples: np.ndarray = RAMP, syntax: str = ExplicitVRLittleEndian, **tags: object) -> bytes:
    """Write a radiograph as a detector would."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    dataset.PatientName = "Somebody^Real"
    dataset.Modality = "DX"
    dataset.Rows, dataset.Columns = samples.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = samples.dtype.itemsize * 8
    dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
    dataset.PixelRepresentation = 0
    is_encapsulated = syntax == MPEG2MPML
    dataset.PixelData = encapsulate([samples.tobytes()]) if is_encapsulated else samples.tobytes()
    dataset["PixelData"].VR = "OB" if is_encapsulated else "OW"
    for name, value in tags.items():
        setattr(dataset, name, value)
    if syntax == RLELossless:
        dataset.compress(RLELossless)
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless])
def test_eight_bits_are_taken_as_they_are(syntax: str) -> None:
    assert (np.asarray(decode(make(syntax=syntax), 64)) == RAMP).all()


def test_monochrome1_is_turned_round() -> None:
    assert (np.asarray(decode(make(PhotometricInterpretation="MONOCHROME1"), 64)) == 255 - RAMP).all()


def test_twelve_bits_are_scaled_to_their_own_range() -> None:
    deep = (RAMP.astype(np.uint16) * 8) + 1000
    grey = np.asarray(decode(make(deep, BitsStored=12, HighBit=11), 64))
    assert (int(grey.min()), int(grey.max())) == (0, 255)
    assert np.abs(grey.astype(int) - RAMP).max() <= 1


def test_the_window_of_the_file_is_applied() -> None:
    deep = RAMP.astype(np.uint16) * 16
    grey = np.asarray(decode(make(deep, BitsStored=12, HighBit=11, WindowCenter=2000, WindowWidth=400), 64))
    assert (grey[:, deep[0] < 1790] == 0).all()
    assert (grey[:, deep[0] > 2210] == 255).all()


def test_prepare_takes_a_radiograph(spec: ModelSpec) -> None:
    assert prepare(make(np.asarray(draw(1))), spec).shape == (spec.input_size, spec.input_size, 1)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(make(Modality="CT"), Rejection.NOT_A_RADIOGRAPH, id="ct"),
        pytest.param(make(Modality="RF"), Rejection.NOT_A_RADIOGRAPH, id="fluoroscopy"),
        pytest.param(make(NumberOfFrames=2), Rejection.SEVERAL_IMAGES, id="frames"),
        pytest.param(make(PhotometricInterpretation="PALETTE COLOR"), Rejection.NOT_A_RADIOGRAPH, id="palette"),
        pytest.param(make(Rows=0), Rejection.UNREADABLE_IMAGE, id="no-rows"),
        pytest.param(make(Rows=60000, Columns=60000), Rejection.TOO_MANY_PIXELS, id="bomb"),
        pytest.param(make(syntax=MPEG2MPML), Rejection.DICOM_UNSUPPORTED, id="video"),
    ],
)
def test_what_is_no_radiograph_is_refused_at_intake(
    data: bytes, code: Rejection, store: FolderStore, settings: Settings
) -> None:
    (item,) = receive("image.dcm", iter([data]), store, settings)
    assert item.rejection.code is code
    assert "Somebody" not in text_of(item.rejection)


def test_a_radiograph_is_taken_at_intake(store: FolderStore, settings: Settings) -> None:
    (item,) = receive("image.dcm", iter([make()]), store, settings)
    assert (item.image.width, item.image.height, item.image.media_type) == (96, 80, MEDIA_TYPE)


def test_a_radiograph_cut_short_is_refused_by_the_worker() -> None:
    with pytest.raises(ImageRejected) as refused:
        decode(make()[:-3000], 64)
    assert refused.value.code in {Rejection.UNREADABLE_IMAGE, Rejection.TRUNCATED_IMAGE}


def outcome(data: bytes, store: FolderStore, settings: Settings) -> np.ndarray:
    """Return what is drawn of a radiograph that is taken."""
    (item,) = receive("image.dcm", iter([data]), store, settings)
    assert item.rejection is None
    return np.asarray(decode(data, 64))


@pytest.mark.parametrize("written", ["monochrome1", "Monochrome1 ", "MONOCHROME1\0"])
def test_the_polarity_is_known_in_any_spelling(written: str, store: FolderStore, settings: Settings) -> None:
    assert np.array_equal(outcome(make(PhotometricInterpretation=written), store, settings), 255 - RAMP)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_header_that_does_not_name_its_transfer_syntax_shows_it(
    syntax: str, store: FolderStore, settings: Settings
) -> None:
    deep = RAMP.astype(np.uint16) * 16
    data = radiograph(deep, syntax, BitsStored=12, HighBit=11)
    named = data.index(b"\x02\0\x10\0UI")
    data = data[:named] + data[named + 8 + data[named + 6] :]
    assert np.abs(outcome(data, store, settings).astype(int) - RAMP).max() <= 1


@pytest.mark.parametrize("frames", ["0", "-1", "one", "1.0"])
def test_a_number_of_frames_that_cannot_be_is_one(frames: str, store: FolderStore, settings: Settings) -> None:
    assert np.array_equal(outcome(radiograph(RAMP, NumberOfFrames=frames), store, settings), RAMP)


def test_a_grey_image_that_does_not_count_its_samples_has_one(store: FolderStore, settings: Settings) -> None:
    assert np.array_equal(outcome(radiograph(RAMP, SamplesPerPixel=None), store, settings), RAMP)


@pytest.mark.filterwarnings("ignore:End of file reached")  # as pydicom says
def test_a_compressed_radiograph_cut_short_is_called_so() -> None:
    with pytest.raises(ImageRejected) as refused:
        decode(make(syntax=RLELossless)[:-300], 64)
    assert refused.value.code is Rejection.TRUNCATED_IMAGE


@pytest.mark.parametrize("last", [b"Somebody^", b"MONOCHROME2"])
def test_a_radiograph_cut_short_in_its_header_is_called_so(last: bytes, store: FolderStore, settings: Settings) -> None:
    data = make()
    (item,) = receive("image.dcm", iter([data[: data.index(last) + len(last) - 1]]), store, settings)
    assert item.rejection.code is Rejection.TRUNCATED_IMAGE


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("behind", [b"\0" * 512, b"\xff" * 512, b"\r\n", b"PADDING!"])
def test_what_lies_behind_the_pixels_does_not_matter(syntax: str, behind: bytes) -> None:
    assert np.array_equal(np.asarray(decode(make(syntax=syntax) + behind, 64)), RAMP)


def test_a_real_image_and_its_copy_marked_monochrome1_are_negatives(data_folder: Path) -> None:
    image = np.asarray(decode((data_folder / "dicom" / "cr_chest_pa.dcm").read_bytes(), 384))
    negative = np.asarray(decode((data_folder / "dicom" / "cr_chest_pa_monochrome1.dcm").read_bytes(), 384))
    assert image.shape == (1024, 1024)
    assert (image == 255 - negative).all()
