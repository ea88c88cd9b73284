"""From the bytes of a film to what the network sees: the one way, in training, evaluation and serving."""

import io
import math
import warnings
from typing import Final

import numpy as np
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from shared import dicom, framing
from shared.errors import FilmRejected, Rejection
from shared.modelspec import ModelSpec
from shared.scans import refuse_scan_bomb

FORMATS: Final = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
_JPEG: Final = b"\xff\xd8"

# 16-bit grey modes of Pillow; `I` holds 16-bit PNG and TIFF samples in 32 bits.
_DEEP_MODES: Final = {"I;16", "I;16L", "I;16B", "I;16N", "I", "F"}

STRIP_ROWS: Final = 128
THUMBNAIL_SIDE: Final = 144
"""Lists show 44 pixels, on a fine screen 88 or 132."""
SMALL_SIDE: Final = 256
SMALL_BYTES: Final = 32 * 1024
"""A film this small has its thumbnail drawn when somebody looks, in under a millisecond: drawing and keeping it took a
seventh of a worker's time for a film of 224 pixels."""

# Intake holds uploads to its own, lower pixel limit before this module sees them; here Pillow's own guard stays on.
warnings.simplefilter("error", Image.DecompressionBombWarning)


def decode(data: bytes, at_least: int) -> Image.Image:
    """Decode a film to upright 8-bit grey, at least `at_least` pixels on its shorter side if it has them.

    Raises FilmRejected where the bytes are no image of a known format, are cut short or are damaged.
    """
    if not data:
        raise FilmRejected(Rejection.EMPTY_FILE, "The file is empty. Copy it again from its source.")
    try:
        if dicom.is_dicom(data[: dicom.MAGIC_OFFSET + len(dicom.MAGIC)]):
            return dicom.decode(io.BytesIO(data))
        return _decode_image(data, at_least)
    except FilmRejected:
        raise
    except UnidentifiedImageError as error:
        raise FilmRejected(
            Rejection.UNKNOWN_FORMAT,
            "This is not a JPEG, PNG, TIFF, BMP, WebP or DICOM image. Export the film as one of these.",
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise FilmRejected(
            Rejection.TOO_MANY_PIXELS, "The image has too many pixels to be a film. Export it at its original size."
        ) from error
    except MemoryError:
        raise
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error and more on damaged files.
        if "truncated" in str(error):
            raise FilmRejected(
                Rejection.TRUNCATED_IMAGE, "The file ends before the image does. Copy it again from its source."
            ) from error
        raise FilmRejected(
            Rejection.UNREADABLE_IMAGE, "The image is damaged and cannot be decoded. Export it again from its source."
        ) from error


def _decode_image(data: bytes, at_least: int) -> Image.Image:
    if data.startswith(_JPEG):
        refuse_scan_bomb(data)
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.format == "JPEG":
            # JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the cost (DCT scaling). On the 300 originals of the
            # data set the smallest scale that suffices gives the same labels as the next larger one.
            image.draft("L", (at_least, at_least))
        image.load()
        return _grey(ImageOps.exif_transpose(image))


def _grey(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_MODES:
        return _scale_deep(image)
    if "transparency" in image.info or image.mode == "PA":
        image = image.convert("RGBA")
    if image.mode in {"RGBA", "LA"}:
        # Transparent areas become black, as the unexposed border of a film is; band by band, to hold fewer copies.
        return ImageChops.multiply(image.convert("L"), image.getchannel("A"))
    return image if image.mode == "L" else image.convert("L")


def _scale_deep(image: Image.Image) -> Image.Image:
    """Map a 16-bit film to 8 bits by its own range: detectors use 10 to 16 of the bits and rarely say which."""
    samples = np.asarray(image)
    # As float32, because that is what each strip is scaled from.
    low, high = float(np.float32(np.nanmin(samples))), float(np.float32(np.nanmax(samples)))
    if not np.isfinite(high - low):
        raise ValueError("samples are not finite")
    grey = np.zeros(samples.shape, dtype=np.uint8)
    # In strips: as floats, a whole film of 15 megapixels takes 180 MB.
    for top in range(0, samples.shape[0], STRIP_ROWS) if high > low else ():
        strip = samples[top : top + STRIP_ROWS].astype(np.float32)
        grey[top : top + STRIP_ROWS] = np.rint((strip - low) * (255.0 / (high - low)))
    return Image.fromarray(grey)


def window(image: Image.Image, spec: ModelSpec) -> framing.Box:
    """Return the part of a decoded film that the network sees: the lungs and a margin, or the whole film.

    Raises FilmRejected where the network needs the lungs framed and there are none to be found.
    """
    return framing.WHOLE if spec.framing is None else framing.window(image, spec.framing)


def fit(image: Image.Image, spec: ModelSpec, seen: framing.Box | None = None) -> np.ndarray:
    """Resize a decoded film to the network's square: uint8 (input_size, input_size, 1).

    `seen` is what `window` said of it, for a caller that asked already. Raises FilmRejected as `window` does.
    """
    if spec.framing is not None:
        return framing.cut(image, seen or window(image, spec), spec.input_size)[..., np.newaxis]
    size = (spec.input_size, spec.input_size)
    if image.size != size:
        # reducing_gap shrinks by whole factors first: indistinguishable from the full filter at 2.0 and much faster.
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(image, dtype=np.uint8)[..., np.newaxis]


def prepare(data: bytes, spec: ModelSpec) -> np.ndarray:
    """Turn a film's bytes into the network's input: uint8 (input_size, input_size, 1), 0 black to 255 white.

    Raises FilmRejected where the film cannot be decoded, or needs framing and shows no lungs.
    """
    return fit(decode(data, at_least=spec.decoded_side), spec)


def is_small(data: bytes, image: Image.Image) -> bool:
    """Tell from a film's bytes and what `decode` made of them whether its thumbnail can wait until somebody looks."""
    return len(data) <= SMALL_BYTES and max(image.size) <= SMALL_SIDE


def thumbnail(image: Image.Image) -> bytes:
    """Encode a decoded film as a JPEG of at most THUMBNAIL_SIDE pixels on its longer side, at least half of that.

    Shrunk by a whole factor: 16 µs for a film of 224 pixels, where any other size takes 150.
    """
    small = image.reduce(math.ceil(max(image.size) / THUMBNAIL_SIDE))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=80, comment=b"")  # Pillow would carry over what the film says of itself
    return out.getvalue()
