"""DICOM radiographs: what is taken, and from stored values to 8-bit grey. Nothing of a patient leaves this file.

pydicom and NumPy are imported only where a DICOM file is at hand: the web needs them rarely, and pays for them always.
"""

import io
import re
from typing import IO, TYPE_CHECKING, Final

from PIL import Image, UnidentifiedImageError

from shared.errors import FilmRejected, Rejection
from shared.scans import refuse_scan_bomb

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

MEDIA_TYPE: Final = "application/dicom"
MAGIC: Final = b"DICM"
MAGIC_OFFSET: Final = 128  # PS3.10, section 7.1: a preamble of 128 bytes, then DICM

# Transfer syntaxes (PS3.6, table A-1) that pydicom and Pillow decode. Deflated is left out: it unpacks without a bound.
TRANSFER_SYNTAXES: Final = {
    "1.2.840.10008.1.2": "Implicit VR Little Endian",
    "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
    "1.2.840.10008.1.2.2": "Explicit VR Big Endian",
    "1.2.840.10008.1.2.5": "RLE Lossless",
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
}
MODALITIES: Final = {"CR": "computed radiography", "DX": "digital radiography"}  # PS3.3, C.7.3.1.1.1
_DARK_IS_HIGH: Final = "MONOCHROME1"  # PS3.3, C.7.6.3.1.2
_GREY: Final = {_DARK_IS_HIGH, "MONOCHROME2"}
_BY_PILLOW: Final = {syntax for syntax, name in TRANSFER_SYNTAXES.items() if name.startswith("JPEG")}
_JP2: Final = b"\x00\x00\x00\x0cjP  "
_BOX_HEADER_BYTES: Final = 8


def is_dicom(head: bytes) -> bool:
    """Tell a DICOM file by its first 132 bytes."""
    return head[MAGIC_OFFSET : MAGIC_OFFSET + len(MAGIC)] == MAGIC


def read_size(file: IO[bytes]) -> tuple[int, int]:
    """Return the width and height at which a radiograph is shown from its header, without its pixels.

    Raises FilmRejected where it is no single grey radiograph in a known transfer syntax.
    """
    header = _read(file, stop_before_pixels=True)
    _refuse_unless_radiograph(header)
    from shared.dicom_transforms import shown_size  # noqa: PLC0415  # see the module's docstring

    return shown_size(header)


def decode(file: IO[bytes]) -> Image.Image:
    """Decode a radiograph to 8-bit grey, dark is low, with square pixels.

    Raises FilmRejected as `read_size` does.
    """
    from shared.dicom_transforms import shown_size, to_grey  # noqa: PLC0415  # see the module's docstring

    dataset = _read(file, stop_before_pixels=False)
    _refuse_unless_radiograph(dataset)
    image = Image.fromarray(to_grey(_samples(dataset), dataset))
    size = shown_size(dataset)
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)


def _samples(dataset: "Dataset") -> "np.ndarray":
    """Return the samples as `dicom_transforms.to_grey` wants them."""
    if str(dataset.file_meta.TransferSyntaxUID) in _BY_PILLOW:
        _refuse_other_frame(dataset)
    dataset.pixel_array_options(correct_unused_bits=False)
    return dataset.pixel_array


def _read(file: IO[bytes], *, stop_before_pixels: bool) -> "Dataset":
    from pydicom import config, dcmread  # noqa: PLC0415  # see the module's docstring
    from pydicom.errors import InvalidDicomError  # noqa: PLC0415

    # Values of other tags are often out of form and none of our business.
    config.settings.reading_validation_mode = config.IGNORE
    try:
        return dcmread(file, stop_before_pixels=stop_before_pixels)
    except InvalidDicomError as error:
        raise _damaged() from error


def _damaged() -> FilmRejected:
    return FilmRejected(Rejection.UNREADABLE_IMAGE, "The DICOM file is damaged. Export it again from the PACS.")


def _refuse_unless_radiograph(header: "Dataset") -> None:
    syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    if not syntax:
        raise _damaged()
    if syntax not in TRANSFER_SYNTAXES:
        raise FilmRejected(
            Rejection.DICOM_UNSUPPORTED,
            f"The DICOM file is compressed in a way that is not read here (transfer syntax {_shown(syntax)}). "
            "Export it uncompressed.",
        )
    modality = str(header.get("Modality", "missing"))
    if modality not in MODALITIES:
        raise FilmRejected(
            Rejection.NOT_A_RADIOGRAPH,
            f"The DICOM file has the modality {_shown(modality)}; a film is CR or DX. "
            "Send the frontal chest radiograph.",
        )
    frames, samples = int(header.get("NumberOfFrames") or 1), int(header.get("SamplesPerPixel") or 0)
    if frames != 1 or samples != 1 or header.get("PhotometricInterpretation") not in _GREY:
        raise FilmRejected(
            Rejection.NOT_A_RADIOGRAPH, "The DICOM file is not a single grey image. Send the chest film itself."
        )
    if not header.get("Rows") or not header.get("Columns"):
        raise FilmRejected(Rejection.UNREADABLE_IMAGE, "The DICOM file holds no image. Send the chest film itself.")


def _shown(value: str) -> str:
    """Give an identifier or code word for a message; in a damaged file, other elements run into it."""
    return value if re.fullmatch(r"[0-9.]{1,64}|[A-Z]{1,8}|missing", value) else "unknown"


def _refuse_other_frame(dataset: "Dataset") -> None:
    """Refuse a compressed frame that is not the image of the header: it would be decoded before that shows."""
    from pydicom.encaps import get_frame  # noqa: PLC0415  # see the module's docstring

    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    refuse_scan_bomb(frame)
    _refuse_endless_boxes(frame)
    try:
        with Image.open(io.BytesIO(frame), formats=("JPEG", "JPEG2000")) as image:
            size = image.size
    except UnidentifiedImageError as error:
        raise _damaged() from error
    if size != (dataset.Columns, dataset.Rows):
        raise _damaged()


def _refuse_endless_boxes(frame: bytes) -> None:
    """Refuse a JPEG 2000 file whose boxes do not lead to its image (ISO/IEC 15444-1, I.4).

    pydicom 3.0.2 goes from box to box by their lengths, and for ever on the spot where one is 0.
    """
    if not frame.startswith(_JP2):
        return
    place = len(_JP2) + 4
    while place < len(frame) and frame[place + 4 : place + 8] != b"jp2c":
        length = int.from_bytes(frame[place : place + 4], "big")
        if length < _BOX_HEADER_BYTES:
            raise _damaged()
        place += length
