"""The files to mutate: real images if available, and small synthetic ones in every format, mode and compression."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
import tifffile
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    RLELossless,
)

from fuzz import PATIENT
from fuzz.radiographs import COMPRESSIONS, draw_radiograph

_IMAGES_PER_FOLDER: Final = 12
_LARGEST_BYTES: Final = 2_000_000
_FOLDERS: Final = (
    "chest_xray/train/NORMAL", "chest_xray/train/PNEUMONIA", "originals/NORMAL", "originals/PNEUMONIA", "adults",
    "not_chest", "corrupt", "dicom",
)  # fmt: skip
_KINDS: Final = {
    ".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".bmp": "bmp", ".tif": "tiff", ".tiff": "tiff", ".webp": "webp",
    ".dcm": "dicom",
}  # fmt: skip
_ORIENTATION: Final = 0x0112


@dataclass(frozen=True)
class Seed:
    """A valid file to start from."""

    kind: str
    name: str
    data: bytes


def real_seeds(folder: Path) -> list[Seed]:
    """Read some images of every kind from the project's data folder; none where it is missing."""
    paths = [path for name in _FOLDERS for path in sorted((folder / name).glob("*"))[:_IMAGES_PER_FOLDER]]
    known = [path for path in paths if path.suffix.lower() in _KINDS and path.stat().st_size < _LARGEST_BYTES]
    return [Seed(_KINDS[path.suffix.lower()], f"{path.parent.name}/{path.name}", path.read_bytes()) for path in known]


def drawn_seeds() -> list[Seed]:
    """Draw the same small images every time."""
    return [*_images(), *_radiographs()]


def draw(size: tuple[int, int] = (220, 180), number: int = 0) -> Image.Image:
    """Draw a smooth grey picture, unique to its number."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 6), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _images() -> Iterator[Seed]:
    grey = draw()
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    colour, alpha = grey.convert("RGB"), grey.convert("RGBA")
    turned = Image.Exif()
    turned[_ORIENTATION] = 6
    for name, image, options in (
        ("grey", grey, {}), ("progressive", grey, {"progressive": True}), ("cmyk", colour.convert("CMYK"), {}),
        ("turned", colour, {"exif": turned}), ("icc", grey, {"icc_profile": bytes(3000)}),
        ("restarts", colour, {"restart_marker_rows": 1}),
    ):  # fmt: skip
        yield _encode("jpeg", name, image, **options)
    yield _encode("mpo", "several", grey, save_all=True, append_images=[draw(number=1)])
    yield Seed("jpeg", "drawn/ls.jls", bytes(imagecodecs.jpegls_encode(np.asarray(deep))))
    yield Seed(
        "jpeg", "drawn/12-bit.jpg", bytes(imagecodecs.jpeg_encode(np.asarray(deep) >> 4, level=90, bitspersample=12))
    )
    for name, image in (("grey", grey), ("deep", deep), ("palette", colour.quantize(64)), ("alpha", alpha)):
        yield _encode("png", name, image)
    yield _encode("png", "turned", grey, exif=turned)
    yield _encode("png", "one-bit", grey.convert("1"))
    yield _encode("png", "animated", grey, save_all=True, append_images=[draw(number=1), draw(number=2)])
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma"):
        yield _encode("tiff", compression, colour, compression=compression)
    yield _encode("tiff", "deep", deep, compression="tiff_lzw")
    yield _encode("tiff", "float", grey.convert("F"))
    yield from _deep_tiffs(np.asarray(grey))
    yield _encode("tiff", "fax", grey.convert("1"), compression="group4")
    yield _encode("tiff", "pages", grey, save_all=True, append_images=[draw(number=1)])
    yield _encode("tiff", "big", grey, big_tiff=True)
    yield _encode("tiff", "turned", grey, tiffinfo={_ORIENTATION: 6})
    for name, image in (("grey", grey), ("colour", colour), ("palette", colour.quantize(16)), ("alpha", alpha)):
        yield _encode("bmp", name, image)
    yield _encode("webp", "lossy", colour)
    yield _encode("webp", "lossless", alpha, lossless=True, exif=turned)
    yield _encode("webp", "animated", colour, save_all=True, append_images=[draw(number=1).convert("RGB")])
    yield _encode("gif", "grey", grey)


def _deep_tiffs(grey: np.ndarray) -> Iterator[Seed]:
    """Draw TIFFs of the kinds that `shared.images.tiff` reads, and one that it does not."""
    kinds: tuple[tuple[str, np.ndarray, dict[str, Any]], ...] = (
        ("signed", grey.astype(np.int16) * 100 - 9000, {"compression": "lzw", "predictor": True, "byteorder": ">"}),
        ("bytes", (grey.astype(np.int16) - 128).astype(np.int8), {"compression": "packbits", "rowsperstrip": 7}),
        ("white", grey.astype(np.uint32) * 9_000_000, {"photometric": "miniswhite", "tile": (32, 48)}),
        ("double", grey / 255.0, {"compression": "zlib", "predictor": 3, "bigtiff": True}),
        ("planes", np.stack([grey.astype(np.uint16) * 257] * 3), {"photometric": "rgb", "planarconfig": "separate"}),
    )
    for name, samples, options in kinds:
        out = io.BytesIO()
        tifffile.imwrite(out, samples, **{"photometric": "minisblack", **options})
        yield Seed("tiff", f"drawn/{name}.tiff", out.getvalue())


def _encode(kind: str, name: str, image: Image.Image, **options: object) -> Seed:
    out = io.BytesIO()
    image.save(out, kind.upper(), **options)
    return Seed("jpeg" if kind == "mpo" else kind, f"drawn/{name}.{kind}", out.getvalue())


def _radiographs() -> Iterator[Seed]:
    grey = draw((128, 112))
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 16)
    for syntax in (
        ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, *COMPRESSIONS,
    ):  # fmt: skip
        image = deep if syntax == JPEGExtended12Bit else grey
        yield Seed("dicom", f"drawn/{syntax}.dcm", draw_radiograph(image, syntax, PatientName=PATIENT))
        if syntax in COMPRESSIONS and "4.50" not in syntax:
            yield Seed("dicom", f"drawn/{syntax}-deep.dcm", draw_radiograph(deep, syntax, PatientName=PATIENT))
    windowed = draw_radiograph(
        deep, ExplicitVRLittleEndian, BitsStored=12, HighBit=11, WindowCenter=2000, WindowWidth=900
    )
    yield Seed("dicom", "drawn/windowed.dcm", windowed)
    high = Image.fromarray(np.asarray(deep) << 4)
    padded = draw_radiograph(
        high, ExplicitVRLittleEndian, BitsStored=12, HighBit=15, PixelPaddingValue=0, PixelAspectRatio=["2", "1"]
    )
    yield Seed("dicom", "drawn/padded.dcm", padded)
    yield Seed("dicom", "drawn/big-endian.dcm", draw_radiograph(grey, ExplicitVRBigEndian))


def all_seeds(folder: Path | None) -> Sequence[Seed]:
    """Return every seed in a fixed order; `folder` adds real images where it holds some."""
    return [*drawn_seeds(), *(real_seeds(folder) if folder else [])]
