"""Hostile ZIPs: bombs, path traversal, wrong lengths, and overlapping entries."""

import io
import random
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Final

_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_ENTRY, _DIRECTORY, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END_BYTES: Final = 22
NAMES: Final = (
    "../outside.jpg", "../../../../tmp/outside.jpg", "/etc/passwd", "C:\\outside.jpg", "..\\..\\outside.jpg",
    "\\\\server\\share\\a.jpg", "a/../../b.jpg", "con.jpg", "nul\0.jpg", ".", "..", "/", "", " ", "a" * 70_000,
    "image\u202egpj.exe", "\ud800.jpg".encode("utf-8", "surrogatepass").decode("latin-1"), "Röntgen Thorax.jpg",
    "胸部.png", "a//b.jpg", "line\nbreak.jpg", "<script>alert(1)</script>.jpg", "=cmd|' /C calc'!A0.jpg",
    "%2e%2e%2fa.jpg", ".DS_Store", "__MACOSX/._a.jpg", "-rf.jpg", "a.jpg/",
)  # fmt: skip
"""Entry names known from attacks on other programs."""

Attack = Callable[[Sequence[bytes], random.Random], bytes]


def pack(images: Sequence[bytes], rng: random.Random) -> bytes:
    """Pack images under plain names, each by another method."""
    return _write([(f"ward/{place}.jpg", image, rng.choice(_METHODS)) for place, image in enumerate(images)])


def _write(entries: Sequence[tuple[str | zipfile.ZipInfo, bytes, int]]) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.filterwarnings("ignore", "Duplicate name")
        for name, data, method in entries:
            info = name if isinstance(name, zipfile.ZipInfo) else _named(name)
            archive.writestr(info, data, method)
    return out.getvalue()


def _named(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename = name[:65_535]
    return info


def name_badly(images: Sequence[bytes], rng: random.Random) -> bytes:
    """Give entries bad names; some are links, devices or folders with content."""
    entries: list[tuple[str | zipfile.ZipInfo, bytes, int]] = []
    for image in images:
        info = _named(rng.choice(NAMES))
        if rng.random() < 0.3:
            info.external_attr = rng.choice((0o120777, 0o020666, 0o040755, 0o104755)) << 16
        entries.append((info, image, zipfile.ZIP_DEFLATED))
    return _write(entries)


def encode_names_badly(images: Sequence[bytes], rng: random.Random) -> bytes:
    """Put bytes into names that are invalid in the entry's declared encoding."""
    data = bytearray(_write([("Q" * 12 + ".jpg", image, zipfile.ZIP_STORED) for image in images]))
    name, is_utf8 = rng.randbytes(12).replace(b"Q", b"R"), rng.random() < 0.5
    for signature, flags in ((_ENTRY, 6), (_DIRECTORY, 8)):
        place = data.find(signature)
        while place >= 0 and is_utf8:
            data[place + flags + 1] |= 0x08  # APPNOTE.TXT 4.4.4, bit 11: the name is UTF-8
            place = data.find(signature, place + 4)
    return bytes(data).replace(b"Q" * 12, name)


def bomb(images: Sequence[bytes], rng: random.Random) -> bytes:
    """Pack zeros behind an image's header, far above or just below the accepted compression ratio."""
    size = rng.choice((1_200_000, 1_200_000, 8_000_000, 70_000_000))
    noise = rng.randbytes(rng.choice((0, size // 250, size // 150)))
    return _write([("bomb.bmp", images[0][:200] + noise + bytes(size), zipfile.ZIP_DEFLATED), ("b.jpg", images[0], 8)])


def nest(images: Sequence[bytes], rng: random.Random) -> bytes:
    """Put ZIPs into ZIPs, or a ZIP behind an image."""
    inner = pack(images, rng)
    for _ in range(rng.randint(1, 4)):
        inner = _write([("inner.zip", inner, zipfile.ZIP_DEFLATED), ("image.jpg", images[0], zipfile.ZIP_STORED)])
    return images[0] + inner if rng.random() < 0.2 else inner


def lie(images: Sequence[bytes], rng: random.Random) -> bytes:
    """Change fields of local headers, of the directory, or of its end: flags, methods, CRC, sizes, offsets, counts."""
    data = bytearray(pack(images, rng))
    for _ in range(rng.randint(1, 4)):
        signature, most = rng.choice(((_ENTRY, 30), (_DIRECTORY, 46), (_END, 22)))
        places = [found.start() for found in re.finditer(re.escape(signature), data)] or [0]
        place = rng.choice(places) + rng.randrange(4, most - 2)
        value = rng.choice((0, 1, 8, 12, 14, 99, 0x7FFF, 0xFFFF, rng.randrange(65_536)))
        data[place : place + 2] = value.to_bytes(2, "little")
    return bytes(data)


def encrypt(images: Sequence[bytes], rng: random.Random) -> bytes:
    """Mark some or all entries as encrypted."""
    data = bytearray(pack(images, rng))
    for signature, flags in ((_ENTRY, 6), (_DIRECTORY, 8)):
        place = data.find(signature)
        while place >= 0:
            data[place + flags] |= rng.choice((0x01, 0x41, 0x00))
            place = data.find(signature, place + 4)
    return bytes(data)


def overlap(images: Sequence[bytes], rng: random.Random) -> bytes:
    """Let many directory entries share the same bytes (a bomb that no ratio reveals, Fifield 2019)."""
    data = _write([("image.jpg", images[0], zipfile.ZIP_DEFLATED)])
    start, end = data.find(_DIRECTORY), data.find(_END)
    count = rng.choice((2, 50, 2000, 20_001))
    entry = data[start:end]
    size = struct.pack("<HHII", min(count, 65_535), min(count, 65_535), len(entry) * count, start)
    return data[:start] + entry * count + data[end : end + 8] + size + b"\0\0"


def widen(images: Sequence[bytes], rng: random.Random) -> bytes:
    """Add a ZIP64 end and extra fields whose numbers are at their edges (APPNOTE.TXT 4.3.14, 4.5.3)."""
    data = pack(images, rng)
    place = data.rfind(_END)
    edges = [rng.choice((0, 1, 2**31, 2**32, 2**63, 2**64 - 1, place)) for _ in range(4)]
    wide = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, *edges)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, rng.choice((place, 0, 2**63)), 1)
    return data[:place] + wide + locator + data[place:]


def say_method(images: Sequence[bytes], rng: random.Random) -> bytes:
    """Declare an unsupported compression method for entries (APPNOTE.TXT 4.4.5)."""
    data = bytearray(pack(images, rng))
    method = rng.choice((1, 6, 9, 10, 18, 93, 95, 97, 98, 99)).to_bytes(2, "little")
    for signature, at in ((_ENTRY, 8), (_DIRECTORY, 10)):
        for found in re.finditer(re.escape(signature), data):
            if rng.random() < 0.7:
                data[found.start() + at : found.start() + at + 2] = method
    return bytes(data)


def pack_disc(images: Sequence[bytes], rng: random.Random) -> bytes:
    """Pack the non-image files of a patient's disc; some are images after all, or damaged."""
    names = ("DICOMDIR", "AUTORUN.INF", "VIEWER/viewer.exe", "index.html", "README.TXT", "__MACOSX/._a", "IMAGES/IM1")
    return _write([(name, rng.choice((rng.choice(images), b"MZ", b"")), rng.choice(_METHODS)) for name in names])


def prepend(images: Sequence[bytes], rng: random.Random) -> bytes:
    """Put bytes before, between or after the entries that the directory lists."""
    data = pack(images, rng)
    return rng.choice(
        (
            b"MZ" + rng.randbytes(50) + data,
            _ENTRY + rng.randbytes(50) + data,
            data + rng.randbytes(300),
            data + data,
            data[:-_END_BYTES],
        )
    )


ATTACKS: Final[Sequence[Attack]] = (
    pack, name_badly, encode_names_badly, bomb, nest, lie, lie, encrypt, overlap, widen, prepend,
    say_method, pack_disc,
)  # fmt: skip
