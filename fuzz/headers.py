"""Format-aware mutations: headers that stay well formed but contain false values."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Final

from PIL import Image

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_SIDES: Final = (0, 1, 63, 64, 225, 6000, 6300, 20_000, 65_500, 65_535, 0x7FFF_FFFF, 0xFFFF_FFFF)
_START_OF_FRAME: Final = (0xC0, 0xC1, 0xC2)
_START_OF_SCAN: Final = b"\xff\xda"
_TIFF_TYPES: Final = 17
_MOST_BYTES: Final = 8_000_000


def lie_in_png(data: bytes, rng: random.Random) -> bytes:
    """Change, drop, double, swap or add a chunk; nine times in ten its CRC is corrected."""
    chunks = _png_chunks(data)
    if not chunks:
        return data
    place = rng.randrange(len(chunks))
    kind, body = chunks[place]
    match rng.randrange(6):
        case 0:
            chunks[0] = (chunks[0][0], _lie_in_ihdr(chunks[0][1], rng))
        case 1:
            chunks[place] = (kind, rng.randbytes(rng.randrange(64)) + body[rng.randrange(64) :])
        case 2:
            del chunks[place]
        case 3:
            chunks[place:place] = [chunks[place]] * rng.choice((1, 3, 200))
        case 4:
            other = rng.randrange(len(chunks))
            chunks[place], chunks[other] = chunks[other], chunks[place]
        case _:
            chunks.insert(rng.randrange(len(chunks)), _strange_chunk(rng))
    return PNG_SIGNATURE + b"".join(_png_chunk(kind, body, is_right=rng.random() < 0.9) for kind, body in chunks)


def mend_png(data: bytes) -> bytes:
    """Correct every CRC, so that damage is not refused before it is parsed."""
    return PNG_SIGNATURE + b"".join(_png_chunk(kind, body, is_right=True) for kind, body in _png_chunks(data))


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, place = [], len(PNG_SIGNATURE)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def _png_chunk(kind: bytes, body: bytes, *, is_right: bool) -> bytes:
    crc = zlib.crc32(kind + body) if is_right else 0
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def _lie_in_ihdr(body: bytes, rng: random.Random) -> bytes:
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", body.ljust(13, b"\0")[:13])
    if rng.random() < 0.7:
        width, height = rng.choice((width, rng.choice(_SIDES))), rng.choice((height, rng.choice(_SIDES)))
    else:
        depth, colour = rng.choice((1, 2, 4, 8, 16, 32)), rng.choice((0, 2, 3, 4, 6, 7))
        rest[2] = rng.choice((0, 1, 2))  # interlaced
    return struct.pack(">IIBBBBB", width, height, depth, colour, *rest)


def _strange_chunk(rng: random.Random) -> tuple[bytes, bytes]:
    bomb = zlib.compress(bytes(4_000_000), 9)
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([rng.randrange(10)]) + b"\0\0\0\0\0\0"
    return rng.choice((
        (b"zTXt", b"comment\0\0" + bomb),
        (b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + bomb),
        (b"iCCP", b"profile\0\0" + bomb),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n   9\nzz")),
        (b"eXIf", exif),
        (b"eXIf", rng.randbytes(40)),
        (b"acTL", struct.pack(">II", rng.choice((0, 1, 2**31)), 0)),
        (b"fcTL", rng.randbytes(26)),
        (b"tRNS", rng.randbytes(rng.randrange(300))),
        (b"PLTE", rng.randbytes(rng.choice((3, 768, 7)))),
        (b"pHYs", rng.randbytes(9)),
        (b"IDAT", bomb),
    ))  # fmt: skip


def lie_in_jpeg(data: bytes, rng: random.Random) -> bytes:
    """Change a segment's length, the frame's size, the tables, or the number of scans."""
    match rng.randrange(6):
        case 0:
            return _lie_in_frame(data, rng)
        case 1:
            return _repeat_scans(rng)
        case 2:
            return _add_segment(data, rng)
        case 3:
            return _set_orientation(data, rng)
        case 4:
            return _lie_in_length(data, rng)
        case _:
            kind = rng.choice((b"\xff\xc4", b"\xff\xdb", b"\xff\xdd", b"\xff\xc0", b"\xff\xda"))
            place = data.find(kind) + 4 + rng.randrange(32)
            return data[:place] + rng.randbytes(rng.randrange(1, 16)) + data[place + 8 :]


def _lie_in_frame(data: bytes, rng: random.Random) -> bytes:
    place = next((data.find(bytes([0xFF, kind])) for kind in _START_OF_FRAME if bytes([0xFF, kind]) in data), -1)
    if place < 0:
        return data
    sides = struct.pack(">HH", rng.choice(_SIDES) % 65_536, rng.choice(_SIDES) % 65_536)
    head = bytearray(data[:place] + data[place : place + 5] + sides + data[place + 9 :])
    if rng.random() < 0.3:
        head[place + 1] = rng.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC9))  # progressive, lossless, arithmetic
    return bytes(head)


def _repeat_scans(rng: random.Random) -> bytes:
    """Repeat the last scan of a progressive image thousands of times; each costs a pass over all pixels."""
    out = io.BytesIO()
    coarse = Image.frombytes("L", (4, 4), rng.randbytes(16))
    coarse.resize(rng.choice(((600, 500), (2500, 2500)))).save(out, "JPEG", progressive=True, quality=10)
    image = out.getvalue()
    scan = image[image.rfind(_START_OF_SCAN) : -2]
    return image[:-2] + scan * min(rng.choice((3, 80, 2000, 50_000)), _MOST_BYTES // len(scan)) + image[-2:]


def _add_segment(data: bytes, rng: random.Random) -> bytes:
    bodies = (
        b"Exif\0\0" + rng.randbytes(60),
        b"Exif\0\0" + _tiff_loop(),
        b"ICC_PROFILE\0" + bytes([rng.randrange(4), rng.randrange(4)]) + rng.randbytes(200),
        b"MPF\0" + _tiff_loop(),
        b"Photoshop 3.0\0" + rng.randbytes(90),
        b"JFIF\0" + rng.randbytes(9),
        b"Adobe" + rng.randbytes(7),
        b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='9'>",
    )
    marker = bytes([0xFF, rng.choice((0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE))])
    body = rng.choice(bodies)
    return data[:2] + (marker + struct.pack(">H", len(body) + 2) + body) * rng.choice((1, 2, 40)) + data[2:]


def _tiff_loop() -> bytes:
    """Make a directory of 5,000 tags that all point to the same 60,000 bytes and whose next directory is itself."""
    tags = b"".join(struct.pack("<HHII", tag, 7, 60_000, 0) for tag in range(5000))
    return (b"II*\0" + struct.pack("<IH", 8, 5000) + tags + struct.pack("<I", 8))[:65_000]


def _set_orientation(data: bytes, rng: random.Random) -> bytes:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([rng.randrange(12)]) + b"\0\0\0\0\0\0"
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def _lie_in_length(data: bytes, rng: random.Random) -> bytes:
    place = 2
    for _ in range(rng.randrange(6)):
        if place + 4 > len(data):
            break
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return data[: place + 2] + struct.pack(">H", rng.choice((0, 1, 2, 3, 255, 65_535))) + data[place + 4 :]


def lie_in_tiff(data: bytes, rng: random.Random) -> bytes:
    """Change one to three entries of the first directory: size, strips, compression, bits, counts, types, offsets."""
    if data[2:4] in {b"+\0", b"\0+"}:
        return _lie_in_big_tiff(data, rng)
    order = "<" if data[:2] == b"II" else ">"
    found = bytearray(data)
    (start,) = struct.unpack_from(f"{order}I", found, 4)
    (count,) = struct.unpack_from(f"{order}H", found, start)
    for _ in range(rng.randint(1, 3)):
        place = start + 2 + 12 * rng.randrange(max(count, 1))
        tag, kind, number, value = struct.unpack_from(f"{order}HHII", found, place)
        match rng.randrange(5):
            case 0:
                value = rng.choice((*_SIDES, rng.randrange(len(data)), 5, 7, 8, 32_773, 34_712, 50_001))
            case 1:
                number = rng.choice((0, 1, 2, 1000, 2**28, 2**32 - 1))
            case 2:
                kind = rng.randrange(_TIFF_TYPES)
            case 3:
                tag = rng.choice(
                    (256, 257, 258, 259, 262, 274, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339, 34_675)
                )
            case _:
                struct.pack_into(f"{order}H", found, start, rng.choice((0, 1, count + 1, 65_535)))
        struct.pack_into(f"{order}HHII", found, place, tag, kind, number, value)
    return bytes(found)


def _lie_in_big_tiff(data: bytes, rng: random.Random) -> bytes:
    """Change one to three entries of the first directory of a BigTIFF, whose numbers have 64 bits."""
    order = "<" if data[:2] == b"II" else ">"
    found = bytearray(data)
    (start,) = struct.unpack_from(f"{order}Q", found, 8)
    (count,) = struct.unpack_from(f"{order}Q", found, start)
    for _ in range(rng.randint(1, 3)):
        place = start + 8 + 20 * rng.randrange(max(count, 1))
        tag, kind, number, value = struct.unpack_from(f"{order}HHQQ", found, place)
        value = rng.choice((value, *_SIDES, 2**63, 2**64 - 1))
        number = rng.choice((number, 0, 1000, 2**40, 2**64 - 1))
        struct.pack_into(f"{order}HHQQ", found, place, tag, rng.choice((kind, rng.randrange(20))), number, value)
    return bytes(found)


def lie_in_bmp(data: bytes, rng: random.Random) -> bytes:
    """Change the fields of the information header: size, planes, bits, compression, colours."""
    found = bytearray(data.ljust(54, b"\0"))
    for _ in range(rng.randint(1, 3)):
        place, width = rng.choice(((10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 4), (34, 4), (46, 4)))
        value = rng.choice((*_SIDES, 4, 12, 40, 124, rng.randrange(33)))
        found[place : place + width] = (value % 256**width).to_bytes(width, "little")
    return bytes(found)


def lie_in_webp(data: bytes, rng: random.Random) -> bytes:
    """Change sizes in a RIFF chunk or in its canvas, or add an animation or a profile."""
    found = bytearray(data)
    match rng.randrange(4):
        case 0:
            place = rng.choice((4, 16))
            found[place : place + 4] = struct.pack("<I", rng.choice(_SIDES))
        case 1:
            found[20:30] = rng.randbytes(10)
        case 2:
            canvas = struct.pack("<IB3s", rng.randrange(64), 0, b"") + rng.randbytes(2)
            found[12:12] = b"VP8X" + struct.pack("<I", 10) + canvas
        case _:
            found += rng.choice((b"EXIF", b"ICCP", b"ANMF", b"XMP ")) + struct.pack("<I", 300) + rng.randbytes(300)
    return bytes(found)


LIES: Final[dict[str, Callable[[bytes, random.Random], bytes]]] = {
    "jpeg": lie_in_jpeg,
    "png": lie_in_png,
    "tiff": lie_in_tiff,
    "bmp": lie_in_bmp,
    "webp": lie_in_webp,
}
