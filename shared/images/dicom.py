"""DICOM radiographs: what is taken, and from stored values to 8-bit grey. No error holds a header's text.

pydicom and NumPy are imported only where a DICOM file is at hand: the web needs them rarely, and pays for them always.
"""

import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from PIL import Image

from shared.errors import ImageRejected
from shared.images.dicom_file import damaged, read
from shared.images.dicom_patient import Patient, read_patient
from shared.images.dicom_samples import TRANSFER_SYNTAXES, stored_samples
from shared.refusals import Rejection

if TYPE_CHECKING:
    from pydicom import Dataset

    from shared.images.full_depth import FullDepth

MEDIA_TYPE: Final = "application/dicom"

# PS3.3, C.7.3.1.1.1: computed and digital radiography, and digitised radiographs. Not RF, OT, SC and none at all:
# fluoroscopy, photographs and screenshots go by these.
MODALITIES: Final = {"CR", "DX", "RG"}
_DARK_IS_HIGH: Final = "MONOCHROME1"  # PS3.3, C.7.6.3.1.2
_GREY: Final = {_DARK_IS_HIGH, "MONOCHROME2"}
_DIRECTORY: Final = "1.2.840.10008.1.3.10"  # Media Storage Directory, PS3.10, 8.6


@dataclass(frozen=True)
class Header:
    """What is read of a radiograph before its pixels."""

    size: tuple[int, int]
    """Width and height at which it is shown."""
    patient: Patient | None


def read_header(file: IO[bytes]) -> Header:
    """Return the size at which a radiograph is shown and whose it is, without its pixels.

    Raises ImageRejected where it is no single grey radiograph in a known transfer syntax.
    """
    header = read(file, stop_before_pixels=True)
    _refuse_unless_radiograph(header)
    from shared.images.dicom_transforms import shown_size  # noqa: PLC0415  # see the module's docstring

    return Header(shown_size(header), read_patient(header))


def decode(file: IO[bytes]) -> Image.Image:
    """Decode a radiograph to 8-bit grey, dark is low, with square pixels.

    Raises ImageRejected as `read_header` does.
    """
    from shared.images.dicom_transforms import shown_size, to_grey  # noqa: PLC0415  # see the module's docstring

    dataset = read(file, stop_before_pixels=False)
    _refuse_unless_radiograph(dataset)
    image = Image.fromarray(to_grey(stored_samples(dataset), dataset))
    size = shown_size(dataset)
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)


def at_full_depth(file: IO[bytes]) -> "FullDepth":
    """Decode a radiograph at the full depth of its samples, with square pixels.

    Raises ImageRejected as `read_header` does.
    """
    from shared.images.dicom_transforms import at_full_depth as transformed  # noqa: PLC0415  # see the module's docstring

    dataset = read(file, stop_before_pixels=False)
    _refuse_unless_radiograph(dataset)
    return transformed(stored_samples(dataset), dataset)


def _refuse_unless_radiograph(header: "Dataset") -> None:
    _refuse_unknown_syntax(header)
    _refuse_other_modality(header)
    frames, samples = int(header.get("NumberOfFrames") or 1), int(header.get("SamplesPerPixel") or 0)
    if frames > 1:
        raise ImageRejected(Rejection.SEVERAL_IMAGES, case="frames", count=frames)
    if frames != 1 or samples != 1 or header.get("PhotometricInterpretation") not in _GREY:
        raise ImageRejected(Rejection.NOT_A_RADIOGRAPH, case="not_grey")
    if not header.get("Rows") or not header.get("Columns"):
        raise ImageRejected(Rejection.UNREADABLE_IMAGE, case="no_image")


def _refuse_unknown_syntax(header: "Dataset") -> None:
    syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    if not syntax:
        raise damaged()
    if syntax not in TRANSFER_SYNTAXES:
        raise ImageRejected(Rejection.DICOM_UNSUPPORTED, case="syntax", syntax=_shown(syntax))


def _refuse_other_modality(header: "Dataset") -> None:
    if header.file_meta.get("MediaStorageSOPClassUID") == _DIRECTORY:
        raise ImageRejected(Rejection.NOT_A_RADIOGRAPH, case="directory")
    modality = str(header.get("Modality") or "missing").strip()
    if "Rows" not in header and modality.upper() in {"MISSING", *MODALITIES}:
        raise ImageRejected(Rejection.TRUNCATED_IMAGE)  # it ends before it says how large its image is
    if modality.upper() not in MODALITIES:
        raise ImageRejected(Rejection.NOT_A_RADIOGRAPH, case="modality", modality=_shown(modality))


def _shown(value: str) -> str:
    """Give an identifier or code word for a message; in a damaged file, other elements run into it."""
    return value if re.fullmatch(r"[0-9.]{1,64}|[A-Z]{1,8}|missing", value) else "unknown"
