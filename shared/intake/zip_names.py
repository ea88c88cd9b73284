"""Decode names and compression methods of ZIP entries, also where the writer left them ambiguous."""

import struct
import zipfile
import zlib
from typing import Final

_UTF8_FLAG: Final = 0x800  # APPNOTE.TXT 4.4.4, general purpose bit 11
_UNICODE_PATH: Final = 0x7075  # APPNOTE.TXT 4.6.9
_OLD: Final = "cp437"  # the encoding of names without the flag (APPNOTE.TXT, appendix D), which zipfile uses
_ANSI: Final = "cp1252"
_ANSI_LETTERS: Final = frozenset(range(0xC0, 0x100)) - {0xD7, 0xF7}  # À to ÿ without the two arithmetic signs

# APPNOTE.TXT 4.4.5. Not those for sound, MP3 and WavPack: an image with these has a damaged header.
METHODS: Final = {
    1: "Shrink", 2: "Reduce", 3: "Reduce", 4: "Reduce", 5: "Reduce", 6: "Implode", 9: "Deflate64", 10: "PKWARE Implode",
    12: "BZIP2", 14: "LZMA", 16: "IBM CMPSC", 18: "IBM TERSE", 19: "IBM LZ77", 20: "Zstandard", 93: "Zstandard",
    95: "XZ", 96: "JPEG", 98: "PPMd", 99: "AES",
}  # fmt: skip
_READ: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}


def decode_name(entry: zipfile.ZipInfo) -> str:
    """Decode an entry's name: by its UTF-8 flag or field; else as UTF-8 if valid, else as Windows-1252 or CP 437.

    Windows-1252 where every byte above 127 is one of its letters from À to ÿ: in CP 437 these are box drawing and
    Greek. Otherwise CP 437, whose letters are between 128 and 165.
    """
    name = entry.orig_filename
    if not entry.flag_bits & _UTF8_FLAG:
        raw = name.encode(_OLD)
        name = _unicode_path(entry.extra, raw) or _guess(raw)
    return name.split("\0", 1)[0]


def _guess(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        is_ansi = all(byte < 0x80 or byte in _ANSI_LETTERS for byte in raw)
        return raw.decode(_ANSI if is_ansi else _OLD)


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """Read Info-ZIP's Unicode Path, valid only where its checksum matches the name."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        body, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and len(body) >= 5 and body[1:5] == struct.pack("<I", zlib.crc32(raw)):
            return body[5:].decode("utf-8", "replace")
    return None


def unread_method(entry: zipfile.ZipInfo) -> str | None:
    """Return the name of an entry's compression method if it is known but not supported, else None."""
    return None if entry.compress_type in _READ else METHODS.get(entry.compress_type)
