"""Intake: turn a stream of uploaded bytes into stored images and refusals, one file at a time.

The web checks signature, format and dimensions without decoding a pixel; the worker decodes in full later.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import IO, BinaryIO, Final

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from shared.errors import ImageRejected
from shared.images import dicom, jpeg, tiff, unsupported
from shared.images.codestreams import with_height
from shared.images.dicom_file import HEAD_BYTES as DICOM_HEAD_BYTES
from shared.images.dicom_file import is_dicom
from shared.images.dicom_patient import Patient
from shared.images.orientation import upright_size
from shared.images.pages import choose_page
from shared.intake.pseudonyms import conceal_patient
from shared.letters import make_shown
from shared.refusals import Rejection, Scalar
from shared.settings import MIB, Settings
from shared.store.incoming import Incoming
from shared.store.store import Store

ZIP_SIGNATURES: Final = (b"PK\x03\x04", b"PK\x05\x06")
CHUNK: Final = 256 * 1024
FILE_NAME_LENGTH: Final = 512

# First bytes of the accepted formats; from each format's own specification.
_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),  # BigTIFF
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
    (b"RIFF", "WEBP"),
)
_DICOM: Final = "DICOM"
HEAD_BYTES: Final = max(DICOM_HEAD_BYTES, unsupported.SIGNATURE_BYTES)
"""Enough to recognise every format."""
_ZIP_END: Final = b"PK\x05\x06"
_ZIP_TAIL_BYTES: Final = 65_535 + 22  # the comment and the record itself (APPNOTE.TXT 4.3.16)

_MEDIA_TYPES: Final = {
    _DICOM: dicom.MEDIA_TYPE,
    **{name: f"image/{name.lower()}" for name in ("JPEG", "PNG", "TIFF", "BMP", "WEBP")},
}


@dataclass(frozen=True)
class AcceptedImage:
    """A stored image and its header data."""

    sha256: str
    size_bytes: int
    width: int
    height: int
    media_type: str
    patient: str | None = None
    """A pseudonym (`shared.intake.pseudonyms`); None where the patient is unknown."""
    taken_on: date | None = None
    """The day in the header; only for an image whose patient is known."""


@dataclass(frozen=True)
class Received:
    """One file of an upload: an image, or the reason why it was refused."""

    file_name: str
    image: AcceptedImage | None = None
    rejection: ImageRejected | None = None


def display_name(name: str) -> str:
    """Shorten a client's file name for show; control characters go, folders stay."""
    shown = make_shown(name.replace("\\", "/")).strip()
    return shown[-FILE_NAME_LENGTH:] or "unnamed"


def accept(chunks: Iterable[bytes], store: Store, settings: Settings) -> AcceptedImage:
    """Stream one file into the store and return its description.

    Raises ImageRejected where it cannot be an image, StoreFull where the disk has no room. Memory stays at one chunk.
    """
    with store.receive() as incoming:
        for chunk in chunks:
            incoming.write(chunk)
            if incoming.size > settings.max_image_bytes:
                limit = settings.max_image_bytes // MIB
                raise ImageRejected(Rejection.TOO_LARGE, case="file", limit_mib=limit)
        incoming.finish()
        image = _examine(incoming, settings)
        store.keep(incoming)
        return image


def is_image(head: bytes) -> bool:
    """Tell whether a file's first HEAD_BYTES announce an accepted format."""
    return _format_of(head) is not None


def refuse_unless_known(head: bytes) -> str:
    """Return the format that a file's first bytes announce; raise ImageRejected where they announce none."""
    if not head:
        raise ImageRejected(Rejection.EMPTY_FILE)
    if found := _format_of(head):
        return found
    other = unsupported.name_format(head)
    if other:
        raise ImageRejected(Rejection.UNKNOWN_FORMAT, case="other", format=other)
    raise ImageRejected(Rejection.UNKNOWN_FORMAT)


def _format_of(head: bytes) -> str | None:
    if is_dicom(head):
        return _DICOM
    for signature, name in _SIGNATURES:
        if head.startswith(signature) and (name != "WEBP" or head[8:12] == b"WEBP"):
            return name
    return None


def _refuse_zip_behind_something(file: BinaryIO) -> None:
    """Refuse a ZIP that does not start as one: a self-extracting one, or one after a mail header."""
    file.seek(max(0, file.seek(0, io.SEEK_END) - _ZIP_TAIL_BYTES))
    if _ZIP_END in file.read():
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="zip_prefix")


def _examine(incoming: Incoming, settings: Settings) -> AcceptedImage:
    with incoming.open() as file:
        head = file.read(HEAD_BYTES)
        if head and not is_image(head):
            _refuse_zip_behind_something(file)
        expected = refuse_unless_known(head)
        file.seek(0)
        (width, height), patient = _read_header(file, expected)
    if width * height > settings.max_image_pixels:
        most = settings.max_image_pixels
        raise ImageRejected(Rejection.TOO_MANY_PIXELS, case="size", width=width, height=height, most=most)
    if min(width, height) < settings.min_image_side:
        least = settings.min_image_side
        raise ImageRejected(Rejection.TOO_SMALL, width=width, height=height, least=least)
    pseudonym = None if patient is None else conceal_patient(patient, settings)
    return AcceptedImage(
        incoming.sha256,
        incoming.size,
        width,
        height,
        _MEDIA_TYPES[expected],
        pseudonym,
        None if pseudonym is None or patient is None else patient.taken_on,
    )


def _read_header(file: BinaryIO, expected: str) -> tuple[tuple[int, int], Patient | None]:
    """Read an image's display size and patient from its header; no pixel is decoded."""
    try:
        if expected == _DICOM:
            header = dicom.read_header(file)
            return header.size, header.patient
        return _size(file, expected), None
    except ImageRejected:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRejected(Rejection.TOO_MANY_PIXELS) from error
    except UnidentifiedImageError as error:
        if expected == "JPEG":
            file.seek(0)
            data = file.read()
            mended = with_height(data)
            return (jpeg.special_size(data), None) if mended is None else _read_header(io.BytesIO(mended), expected)
        raise unsupported.explain(file, expected) or _unreadable() from error
    except Exception as error:
        # On hostile files header parsers raise ValueError, struct.error, SyntaxError, OverflowError and others.
        raise unsupported.explain(file, expected) or _unreadable() from error


def _size(file: BinaryIO, expected: str) -> tuple[int, int]:
    if expected == "TIFF" and (deep := tiff.read_deep(file)) is not None:
        return deep.upright_size
    with Image.open(file, formats=(expected,)) as image:
        return _image_size(image, file)


def _image_size(image: Image.Image, file: BinaryIO) -> tuple[int, int]:
    choose_page(image, file)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        unsupported.refuse_unread_compression(image.tag_v2)
    return upright_size(image, file)


def _unreadable() -> ImageRejected:
    return ImageRejected(Rejection.UNREADABLE_IMAGE, case="header")


def reject(file_name: str, code: Rejection, **details: Scalar) -> Received:
    """Return the refusal of one file."""
    return Received(display_name(file_name), rejection=ImageRejected(code, **details))


def take(file_name: str, chunks: Iterable[bytes], store: Store, settings: Settings) -> Received:
    """Accept one image file; a refusal is returned, not raised."""
    try:
        return Received(display_name(file_name), image=accept(chunks, store, settings))
    except ImageRejected as rejection:
        return Received(display_name(file_name), rejection=rejection)


def read_chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield an open file in chunks."""
    while chunk := file.read(CHUNK):
        yield chunk
