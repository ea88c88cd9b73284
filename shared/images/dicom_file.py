"""Read a DICOM file into a dataset: with or without a preamble, deflated within limits.

pydicom is imported only for a DICOM file.
"""

import io
import re
import zlib
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, cast

from shared.errors import ImageRejected
from shared.refusals import Rejection

if TYPE_CHECKING:
    from pydicom import Dataset

MAGIC: Final = b"DICM"
MAGIC_OFFSET: Final = 128  # PS3.10, section 7.1: a preamble of 128 bytes, then DICM
HEAD_BYTES: Final = MAGIC_OFFSET + len(MAGIC)

_PIXELS: Final = 0x7FE0_0010  # Pixel Data; float pixel data have lower tags (PS3.3, C.7.6.3 and C.7.6.24)
_BEFORE_PIXELS: Final = 0x7FE0_0007
_MIB: Final = 1024 * 1024
_MOST_HEADER_BYTES: Final = 16 * _MIB
"""Bytes read of a file that must be changed before pydicom can read it, when its pixels are not needed."""
_MOST_READS: Final = 100_000
"""About three reads per element, and one per 8 KiB of compressed pixels: public CR and DX files need 160 at most."""
_SEQUENCES: Final = (0x0028_3000, 0x0028_3010, 0x0054_0220)  # modality and VOI tables, view codes
_MOST_SEQUENCE_BYTES: Final = 640 * 1024
"""Limit for sequences that are parsed: four tables of 65,536 entries. 2 MiB of empty items took pydicom 5 s."""
_MOST_INFLATED_BYTES: Final = 192 * _MIB
"""An inflated image of 40 megapixels and 16 bits has 80; Deflate could expand a file a thousandfold."""
_IMPLICIT, _EXPLICIT = b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.2.1\0"
_BIG_ENDIAN: Final = b"1.2.840.10008.1.2.2\0"
# Meta information should begin with its length (PS3.10, 7.1), but not always does.
_META_START: Final = re.compile(rb"\x02\x00[\x00\x01\x02\x03\x10]\x00(?:UL|OB|UI)", re.DOTALL)
# First elements, of group 0008, of a dataset without meta information: group length, character set, or image type.
_DATA_START: Final = re.compile(rb"\x08\x00[\x00\x01\x05\x08\x12\x13\x14\x16\x18]\x00", re.DOTALL)
_REPRESENTATION: Final = re.compile(rb"UL|CS|UI|DA|TM|SH|LO")
_MOST_FIRST_VALUE: Final = 256


def is_dicom(head: bytes) -> bool:
    """Recognise a DICOM file by its first HEAD_BYTES; older scanners omit the preamble, or all meta information."""
    return has_magic(head) or _lacks_preamble(head) or _starts_with_data(head)


def has_magic(head: bytes) -> bool:
    """Tell whether preamble and DICM are present."""
    return head[MAGIC_OFFSET:HEAD_BYTES] == MAGIC


def _lacks_preamble(head: bytes) -> bool:
    return bool(_META_START.match(head))


def _starts_with_data(head: bytes) -> bool:
    return bool(_DATA_START.match(head)) and len(head) >= 8 and (_is_explicit(head) or _first_length(head))


def _is_explicit(head: bytes) -> bool:
    return bool(_REPRESENTATION.match(head, 4))


def _first_length(head: bytes) -> bool:
    return 0 < int.from_bytes(head[4:8], "little") <= _MOST_FIRST_VALUE


def read(file: IO[bytes], *, stop_before_pixels: bool) -> "Dataset":
    """Read a dataset; raise ImageRejected where it is damaged or inflates to too much, and what pydicom raises."""
    from pydicom import config  # noqa: PLC0415  # see the module's docstring
    from pydicom.errors import InvalidDicomError  # noqa: PLC0415
    from pydicom.filereader import read_partial  # noqa: PLC0415
    from pydicom.uid import UID  # noqa: PLC0415

    # Values of other tags are often malformed, which does not matter here.
    config.settings.reading_validation_mode = config.IGNORE
    # Nor does what follows the pixels: for junk there pydicom drops the whole dataset.
    last = _BEFORE_PIXELS if stop_before_pixels else _PIXELS
    bounded = _bound(_mend(file, stop_before_pixels=stop_before_pixels))
    try:
        dataset = read_partial(bounded, lambda tag, _representation, _length: tag > last)
    except InvalidDicomError as error:
        raise damaged() from error
    if not len(dataset):  # as it does for one that ends within an element
        raise ImageRejected(Rejection.TRUNCATED_IMAGE)
    _refuse_long_sequences(dataset)
    if not dataset.file_meta.get("TransferSyntaxUID"):  # then pydicom guessed it by the first element, like dcmtk
        if "Rows" not in dataset:
            raise damaged()
        is_implicit, is_little = dataset.original_encoding
        syntax = _IMPLICIT if is_implicit else _EXPLICIT if is_little else _BIG_ENDIAN
        dataset.file_meta.TransferSyntaxUID = UID(syntax.decode().rstrip("\0"))
    return dataset


def _refuse_long_sequences(dataset: "Dataset") -> None:
    """Refuse sequences of many items before they are accessed, which is when they are parsed."""
    from pydicom.dataelem import RawDataElement  # noqa: PLC0415  # see the module's docstring

    for tag in _SEQUENCES:
        element: Any = dataset.get_item(tag) if tag in dataset else None
        if isinstance(element, RawDataElement) and len(element.value or b"") > _MOST_SEQUENCE_BYTES:
            raise damaged()


def damaged() -> ImageRejected:
    """Return the refusal of a file whose header or pixels contradict each other."""
    return ImageRejected(Rejection.UNREADABLE_IMAGE, case="dicom")


class _BoundedReads:
    """A file with a limited number of reads.

    pydicom reads each element, and each item of a sequence of undefined length, separately: 4 MiB of the smallest took
    seconds and hundreds of MiB.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, _MOST_READS
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Read; raise ImageRejected after too many reads."""
        self._left -= 1
        if self._left < 0:
            raise damaged()
        return self._file.read(size)


def _bound(file: IO[bytes]) -> "BinaryIO":
    return cast("BinaryIO", _BoundedReads(file))


def _mend(file: IO[bytes], *, stop_before_pixels: bool) -> IO[bytes]:
    """Return a file that pydicom can read: with preamble and meta information, and inflated."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not has_magic(head):
        rest = file.read(_MOST_HEADER_BYTES if stop_before_pixels else -1)
        file = io.BytesIO(bytes(MAGIC_OFFSET) + MAGIC + (b"" if _lacks_preamble(head) else _meta(head)) + rest)
    return _inflate(file, _MOST_HEADER_BYTES if stop_before_pixels else _MOST_INFLATED_BYTES)


def _meta(head: bytes) -> bytes:
    """Build meta information for a bare dataset: its transfer syntax is one of the two that need none."""
    return _syntax_element(_EXPLICIT if _is_explicit(head) else _IMPLICIT)


def _syntax_element(syntax: bytes) -> bytes:
    return b"\x02\x00\x10\x00UI" + len(syntax).to_bytes(2, "little") + syntax


def _inflate(file: IO[bytes], most: int) -> IO[bytes]:
    """Inflate a deflated file up to a limit, as Explicit VR Little Endian (PS3.5, A.5); return others unchanged.

    pydicom would inflate all of it, without a limit.
    """
    from pydicom.filereader import _read_file_meta_info  # noqa: PLC0415  # as pydicom does, to miss none
    from pydicom.uid import DeflatedExplicitVRLittleEndian  # noqa: PLC0415

    file.seek(HEAD_BYTES)
    if _read_file_meta_info(_bound(file)).get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        file.seek(0)
        return file
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(file.read(), most)
    except zlib.error as error:
        raise damaged() from error
    if unpacker.unconsumed_tail and most == _MOST_INFLATED_BYTES:
        raise ImageRejected(Rejection.TOO_LARGE, case="unpacked", limit_mib=most // _MIB)
    return io.BytesIO(bytes(MAGIC_OFFSET) + MAGIC + _syntax_element(_EXPLICIT) + data)
