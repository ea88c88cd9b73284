"""Decode a DICOM dataset's stored samples, in any supported transfer syntax.

Encapsulated frames are decoded in `shared.images.decoder`'s process, once their own header agrees with the dataset's.
pydicom's plugins are not used for them: it takes the first one installed, and some of them abort.
"""

import re
from typing import TYPE_CHECKING, Final

from shared.errors import ImageRejected
from shared.images.codestreams import (
    CodestreamDamaged,
    Frame,
    Process,
    read_jpeg,
    read_jpeg_2000,
    with_height,
    without_padding,
)
from shared.images.decoder import Codec, decode
from shared.images.dicom_file import damaged
from shared.images.jpeg import decode_frame
from shared.images.jpeg_scans import refuse_scan_bomb
from shared.refusals import Rejection

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

# The start of a second frame after the end of a first, at an even offset (PS3.5, A.4). Data of JPEG codecs never
# contain these bytes; those of RLE may.
_NEXT_FRAME: Final = re.compile(rb"\xff\xd9\0?(?:\xff\xd8\xff|\xff\x4f\xff\x51)")
_ROWS_COMPARED: Final = 256
_BASE: Final = "1.2.840.10008.1.2"
NATIVE: Final = {
    _BASE: "Implicit VR Little Endian",
    f"{_BASE}.1": "Explicit VR Little Endian",
    f"{_BASE}.1.99": "Deflated Explicit VR Little Endian",
    f"{_BASE}.2": "Explicit VR Big Endian",
}
WIDTHS: Final = {8, 16, 32}
"""Bits Allocated supported in uncompressed data; before 1993 samples were packed in 12, too."""
_RLE: Final = f"{_BASE}.5"
_JPEG: Final = {
    f"{_BASE}.4.50": "JPEG Baseline",
    f"{_BASE}.4.51": "JPEG Extended",
    f"{_BASE}.4.57": "JPEG Lossless",
    f"{_BASE}.4.70": "JPEG Lossless, selection value 1",
}
_JPEG_LS: Final = {f"{_BASE}.4.80": "JPEG-LS Lossless", f"{_BASE}.4.81": "JPEG-LS Near-Lossless"}
_JPEG_2000: Final = {f"{_BASE}.4.90": "JPEG 2000 Lossless", f"{_BASE}.4.91": "JPEG 2000"}
_HTJ2K: Final = {
    f"{_BASE}.4.201": "HTJ2K Lossless",
    f"{_BASE}.4.202": "HTJ2K Lossless RPCL",
    f"{_BASE}.4.203": "HTJ2K",
}
TRANSFER_SYNTAXES: Final = {
    **NATIVE,
    _RLE: "RLE Lossless",
    **_JPEG,
    **_JPEG_LS,
    **_JPEG_2000,
    **_HTJ2K,
}
"""Supported transfer syntaxes, by UID (PS3.6, table A-1)."""


def stored_samples(dataset: "Dataset") -> "np.ndarray":
    """Return the samples of a single grey image: (rows, columns), signed where the dataset says so.

    Whole containers, unused bits included, where the file stores them so (native, RLE); else the stored bits. Where the
    dataset's sign or bits turn out to be wrong, it is corrected.

    Raises ImageRejected where the frame is damaged or not the image of the header, and what pydicom raises.
    """
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    if syntax in NATIVE:
        from pydicom.pixels.utils import pixel_array  # noqa: PLC0415  # loads with the first DICOM file

        _refuse_more_native_frames(dataset)
        return pixel_array(dataset, raw=True, correct_unused_bits=False)
    frame = _first_frame(dataset)
    if syntax == _RLE:
        bits = int(dataset.BitsAllocated)
        samples = decode(Codec.RLE, frame, rows=dataset.Rows, columns=dataset.Columns, bits=bits)
        return samples.view(f"<{'i' if dataset.PixelRepresentation == 1 else 'u'}{bits // 8}")
    if syntax in _JPEG or syntax in _JPEG_LS:
        frame = with_height(frame) or frame
    header = _read_header(frame, syntax)
    _refuse_other_image(header, dataset)
    return _likelier(_decode(frame, header, syntax), header, dataset)


def _refuse_more_native_frames(dataset: "Dataset") -> None:
    """Refuse pixels of several frames where the header does not give their number."""
    size = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8
    if size and len(dataset.PixelData) >= 2 * size:
        raise ImageRejected(Rejection.SEVERAL_IMAGES, case="frames", count=len(dataset.PixelData) // size)


def _first_frame(dataset: "Dataset") -> bytes:
    """Return the only frame; raise ImageRejected where there are more, whatever their number in the header."""
    from pydicom.encaps import get_frame, parse_basic_offsets, parse_fragments  # noqa: PLC0415  # as above

    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    if str(dataset.file_meta.TransferSyntaxUID) == _RLE:  # one fragment per frame (PS3.5, 8.2.2 and annex G)
        found = parse_fragments(dataset.PixelData)[0] - 1
    else:
        found = 1 + len(_NEXT_FRAME.findall(frame))
    count = max(len(parse_basic_offsets(dataset.PixelData)), found)
    if count > 1:
        raise ImageRejected(Rejection.SEVERAL_IMAGES, case="frames", count=count)
    return frame


def _read_header(frame: bytes, syntax: str) -> Frame:
    is_2000 = syntax in _JPEG_2000 or syntax in _HTJ2K
    try:
        header = read_jpeg_2000(frame) if is_2000 else read_jpeg(frame)
    except CodestreamDamaged as error:
        raise damaged() from error
    if not is_2000 and (header.process is Process.LS) != (syntax in _JPEG_LS):
        raise damaged()
    if header.process is Process.OTHER:
        raise ImageRejected(Rejection.DICOM_UNSUPPORTED, case="jpeg_coding")
    return header


def _refuse_other_image(header: Frame, dataset: "Dataset") -> None:
    """Refuse a frame that does not match the dataset before it is decoded."""
    size = (header.rows, header.columns, header.components)
    if size != (dataset.Rows, dataset.Columns, 1) or not 2 <= header.precision <= dataset.BitsAllocated:
        raise damaged()


def _decode(frame: bytes, header: Frame, syntax: str) -> "np.ndarray":
    if header.process is not Process.JPEG_2000:
        if syntax in _JPEG:
            refuse_scan_bomb(frame)
        return decode_frame(frame, header)
    return decode(Codec.JPEG_2000, _whole(frame), rows=header.rows, columns=header.columns)


def _whole(frame: bytes) -> bytes:
    try:
        return without_padding(frame)
    except CodestreamDamaged as error:
        raise ImageRejected(Rejection.TRUNCATED_IMAGE) from error


def _likelier(samples: "np.ndarray", header: Frame, dataset: "Dataset") -> "np.ndarray":
    """Read samples with the dataset's sign, or with the JPEG 2000 codestream's where neighbours are then more alike.

    Where the two contradict each other either may be wrong: some writers code signed samples as unsigned ones or vice
    versa, others declare the sign in the dataset alone. Read wrongly, samples wrap from white to black.
    """
    by_dataset = _by_dataset(samples, dataset, header.precision)
    contradict = header.process is Process.JPEG_2000 and header.is_signed != (dataset.PixelRepresentation == 1)
    if contradict and _roughness(by_dataset) > _roughness(samples):
        dataset.PixelRepresentation = int(header.is_signed)
        dataset.BitsStored, dataset.HighBit = header.precision, header.precision - 1
        return samples
    if int(dataset.get("BitsStored") or header.precision) < header.precision:
        _refuse_if_wrapped(by_dataset, _of_bits(samples, header.precision, dataset), dataset)
    return by_dataset


def _refuse_if_wrapped(by_dataset: "np.ndarray", whole: "np.ndarray", dataset: "Dataset") -> None:
    """Refuse samples that need more bits than the dataset declares: without those, neighbours are less alike.

    Where the extra bits are an overlay, neighbours are more alike without them.
    """
    import numpy as np  # noqa: PLC0415  # the web needs it for some images only

    from shared.images.grayscale import TAIL  # noqa: PLC0415  # loads numpy

    changed = np.count_nonzero(by_dataset != whole)
    if changed > TAIL * whole.size and _roughness(whole) < _roughness(by_dataset):
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="stored_bits", bits=int(dataset.BitsStored))


def _roughness(samples: "np.ndarray") -> int:
    """Return the sum of the differences between neighbours along some of the rows."""
    import numpy as np  # noqa: PLC0415  # the web needs it for some images only

    some = samples[:: max(1, len(samples) // _ROWS_COMPARED)].astype(np.int64)
    return int(np.abs(np.diff(some)).sum())


def _by_dataset(samples: "np.ndarray", dataset: "Dataset", precision: int) -> "np.ndarray":
    """Read samples as signed or unsigned by the dataset, where the codestream lacks or contradicts it.

    Bits above those stored, such as an overlay, are dropped, as pydicom does with native pixels. Where a codestream has
    fewer bits than are stored, its highest is a sign bit only if neighbours are then more alike.
    """
    stored = int(dataset.get("BitsStored") or precision)
    bits = min(precision, stored) if int(dataset.get("HighBit") or stored - 1) == stored - 1 else precision
    read = _of_bits(samples, bits, dataset)
    if dataset.PixelRepresentation != 1 or stored <= precision:
        return read
    as_stored = _of_bits(samples, stored, dataset)
    return read if _roughness(read) <= _roughness(as_stored) else as_stored


def _of_bits(samples: "np.ndarray", bits: int, dataset: "Dataset") -> "np.ndarray":
    """Read the lowest bits of samples, the highest being the sign bit where the dataset is signed."""
    width = samples.dtype.itemsize * 8
    unsigned = samples.view(f"<u{width // 8}")
    if dataset.PixelRepresentation == 1:
        if bits > width:
            return unsigned.astype(f"<i{width // 4}")
        return (unsigned << (width - bits)).view(f"<i{width // 8}") >> (width - bits)
    if bits >= width and samples.dtype.kind == "u":
        return samples
    return unsigned & ((1 << min(bits, width)) - 1)
