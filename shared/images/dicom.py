"""Read DICOM radiographs: accept or refuse them, and decode to 8-bit grey. No error quotes free text of a header.

pydicom and NumPy are imported only for a DICOM file: the web rarely needs them, and they slow every start.
"""

import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from PIL import Image

from shared.errors import ImageRejected
from shared.images.dicom_elements import text, value
from shared.images.dicom_file import read
from shared.images.dicom_patient import Patient, read_patient
from shared.images.dicom_samples import NATIVE, TRANSFER_SYNTAXES, WIDTHS, stored_samples
from shared.refusals import Rejection

if TYPE_CHECKING:
    from pydicom import Dataset

    from shared.images.full_depth import FullDepth

MEDIA_TYPE: Final = "application/dicom"

# PS3.3, C.7.3.1.1.1: computed and digital radiography, and digitised radiographs. Not RF, OT, SC or none, which
# fluoroscopy, photographs and screenshots have.
MODALITIES: Final = {"CR", "DX", "RG"}
_DARK_IS_HIGH: Final = "MONOCHROME1"  # PS3.3, C.7.6.3.1.2
_GREY: Final = {_DARK_IS_HIGH, "MONOCHROME2"}
_FRAMES: Final = re.compile(r"([0-9]{1,9})(?:\.0*)?")
_DIRECTORY: Final = "1.2.840.10008.1.3.10"  # Media Storage Directory, PS3.10, 8.6


@dataclass(frozen=True)
class Header:
    """What is read from a radiograph's header."""

    size: tuple[int, int]
    """Width and height as displayed."""
    patient: Patient | None


def read_header(file: IO[bytes]) -> Header:
    """Read a radiograph's display size and patient, without its pixels.

    Raises ImageRejected unless it is a single grey radiograph in a supported transfer syntax.
    """
    header = _read(file, stop_before_pixels=True)
    from shared.images.dicom_spacing import shown_size  # noqa: PLC0415  # see the module's docstring

    return Header(shown_size(header), read_patient(header))


def decode(file: IO[bytes]) -> Image.Image:
    """Decode a radiograph to 8-bit grey, dark is low, with square pixels.

    Raises ImageRejected as `read_header` does.
    """
    from shared.images.dicom_spacing import shown_size  # noqa: PLC0415  # see the module's docstring
    from shared.images.dicom_transforms import to_grey  # noqa: PLC0415  # as above

    dataset = _read(file, stop_before_pixels=False)
    image = Image.fromarray(to_grey(stored_samples(dataset), dataset))
    size = shown_size(dataset)
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)


def at_full_depth(file: IO[bytes]) -> "FullDepth":
    """Decode a radiograph at the full depth of its samples, with square pixels.

    Raises ImageRejected as `read_header` does.
    """
    from shared.images.dicom_transforms import at_full_depth as transformed  # noqa: PLC0415  # see the module's docstring

    dataset = _read(file, stop_before_pixels=False)
    return transformed(stored_samples(dataset), dataset)


def _read(file: IO[bytes], *, stop_before_pixels: bool) -> "Dataset":
    dataset = read(file, stop_before_pixels=stop_before_pixels)
    _put_right(dataset)
    _refuse_unless_radiograph(dataset)
    return dataset


def _put_right(header: "Dataset") -> None:
    """Correct unambiguous errors in the elements that describe the pixels, as dcmtk does.

    A missing number of samples means one, an invalid number of frames means one, and code words are upper case.
    """
    if "PhotometricInterpretation" in header:
        header.PhotometricInterpretation = text(header, "PhotometricInterpretation").strip("\0 ").upper()
    if value(header, "SamplesPerPixel") is None:
        header.SamplesPerPixel = 1
    frames = _FRAMES.fullmatch(text(header, "NumberOfFrames"))
    header.NumberOfFrames = int(frames[1]) or 1 if frames else 1


def _refuse_unless_radiograph(header: "Dataset") -> None:
    _refuse_unknown_syntax(header)
    _refuse_other_modality(header)
    if header.NumberOfFrames > 1:
        raise ImageRejected(Rejection.SEVERAL_IMAGES, case="frames", count=int(header.NumberOfFrames))
    if header.SamplesPerPixel != 1 or header.get("PhotometricInterpretation") not in _GREY:
        raise ImageRejected(Rejection.NOT_A_RADIOGRAPH, case="not_grey")
    if not header.get("Rows") or not header.get("Columns"):
        raise ImageRejected(Rejection.UNREADABLE_IMAGE, case="no_image")
    bits = header.get("BitsAllocated")
    if isinstance(bits, int) and bits not in WIDTHS and header.file_meta.TransferSyntaxUID in NATIVE:
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="dicom_bits", bits=bits)


def _refuse_unknown_syntax(header: "Dataset") -> None:
    syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    if syntax not in TRANSFER_SYNTAXES:
        raise ImageRejected(Rejection.DICOM_UNSUPPORTED, case="syntax", syntax=_shown(syntax))


def _refuse_other_modality(header: "Dataset") -> None:
    if header.file_meta.get("MediaStorageSOPClassUID") == _DIRECTORY:
        raise ImageRejected(Rejection.NOT_A_RADIOGRAPH, case="directory")
    modality = str(header.get("Modality") or "missing").strip()
    if "Rows" not in header and modality.upper() in {"MISSING", *MODALITIES}:
        raise ImageRejected(Rejection.TRUNCATED_IMAGE)  # it ends before the size of its image
    if modality.upper() not in MODALITIES:
        raise ImageRejected(Rejection.NOT_A_RADIOGRAPH, case="modality", modality=_shown(modality))


def _shown(value: str) -> str:
    """Return an identifier or code word for a message; in a damaged file other elements may run into it."""
    return value if re.fullmatch(r"[0-9.]{1,64}|[A-Z]{1,8}|missing", value) else "unknown"
