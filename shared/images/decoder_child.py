"""Decode hostile codestreams in a separate process; `shared.images.decoder` starts and limits it.

A request is REQUEST and the codestream, an answer is ANSWER and the samples in little-endian order: neither can name a
type or run code. It imports none of our modules, has no settings or secrets, and logs nothing.
"""

import os
import resource
import select
import signal
import struct
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Final

REQUEST: Final = struct.Struct("<8sIIBQ")
"""The codec; rows, columns and bits allocated as in the file's header; the number of bytes of the codestream."""
ANSWER: Final = struct.Struct("<BBBIIQ")
"""1 where it was decoded; bytes per sample; 1 where samples are signed; rows, columns; bytes of samples."""
REFUSED: Final = ANSWER.pack(0, 0, 0, 0, 0, 0)
IDLE_SECONDS: Final = 600.0
_OPEN_FILES: Final = 64  # for the libraries that the first stream of a codec loads
_END: Final = b"\xff\xd9"


def _jpeg(data: bytes, _rows: int, _columns: int, _bits: int) -> Any:
    import imagecodecs  # noqa: PLC0415  # each codec is loaded with the first stream of its kind

    return imagecodecs.jpeg_decode(data)


def _jpeg8(data: bytes, _rows: int, _columns: int, _bits: int) -> Any:
    """Decode grey 8-bit JPEG, also lossless, and fail where libjpeg-turbo warns that the stream is damaged."""
    import simplejpeg  # noqa: PLC0415

    return simplejpeg.decode_jpeg(data, "GRAY", fastdct=False, fastupsample=False, strict=True)[..., 0]


def _jpegls(data: bytes, _rows: int, _columns: int, _bits: int) -> Any:
    import imagecodecs  # noqa: PLC0415

    try:
        return imagecodecs.jpegls_decode(data)
    except imagecodecs.JpeglsError:
        # CharLS refuses padding before the end marker, which scanners write (team-charls/charls#365, #437).
        bare = data.removesuffix(_END).rstrip(b"\0") + _END
        if bare == data:
            raise
        return imagecodecs.jpegls_decode(bare)


def _jpeg2000(data: bytes, _rows: int, _columns: int, _bits: int) -> Any:
    """Decode JPEG 2000, and HTJ2K, too: OpenJPH (imagecodecs 2026.3.6) shows samples above white as black."""
    from openjpeg.utils import decode as decode_2000  # noqa: PLC0415

    return decode_2000(data)


def _rle(data: bytes, rows: int, columns: int, bits: int) -> Any:
    from pydicom.encaps import encapsulate  # noqa: PLC0415
    from pydicom.pixels.decoders.base import RLELosslessDecoder  # noqa: PLC0415

    header: dict[str, Any] = {
        "rows": rows, "columns": columns, "bits_allocated": bits, "bits_stored": bits, "number_of_frames": 1,
        "samples_per_pixel": 1, "pixel_representation": 0, "pixel_keyword": "PixelData",
        "photometric_interpretation": "MONOCHROME2",
    }  # fmt: skip
    return RLELosslessDecoder.as_array(encapsulate([data]), index=0, decoding_plugin="pydicom", raw=True, **header)[0]


CODECS: Final[Mapping[bytes, Callable[[bytes, int, int, int], Any]]] = {
    b"jpeg": _jpeg,
    b"jpeg8": _jpeg8,
    b"jpegls": _jpegls,
    b"jpeg2000": _jpeg2000,
    b"rle": _rle,
}


def bound(memory_bytes: int) -> None:
    """Drop what a decoder does not need: memory beyond a limit, files, and core dumps with patient data."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end closes the input
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for limit, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        hard = resource.getrlimit(limit)[1]
        lowest = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (lowest, lowest))


def allow_seconds(seconds: int) -> None:
    """Let the kernel kill this process after so many more seconds of processor time."""
    used = time.process_time()
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 1 + seconds, hard))


def decode(codec: bytes, data: bytes, rows: int, columns: int, bits: int) -> tuple[bytes, bytes]:
    """Return an answer: its head and its samples; REFUSED where the codestream cannot be decoded."""
    try:
        samples = CODECS[codec](data, rows, columns, bits)
        if samples.ndim != 2 or samples.dtype.kind not in "ui":
            return REFUSED, b""
        body = samples.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes()
    except BaseException:  # noqa: BLE001  # Rust panics are no Exception; the parent gives the message
        return REFUSED, b""
    height, width = samples.shape
    return ANSWER.pack(1, samples.dtype.itemsize, samples.dtype.kind == "i", height, width, len(body)), body


def serve(source: BinaryIO, out: BinaryIO, cpu_seconds: int) -> None:
    """Answer requests until the input ends or nothing has come for IDLE_SECONDS."""
    while select.select([source], [], [], IDLE_SECONDS)[0]:
        head = source.read(REQUEST.size)
        if len(head) < REQUEST.size:
            return
        allow_seconds(cpu_seconds)
        codec, rows, columns, bits, size = REQUEST.unpack(head)
        data = source.read(size)
        if len(data) < size:
            return
        answer, body = decode(codec.rstrip(b"\0"), data, rows, columns, bits)
        out.write(answer)
        out.write(body)
        out.flush()


if __name__ == "__main__":
    bound(int(sys.argv[1]))
    serve(sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[2]))
