"""From the bytes of an image to what the network sees: the one way, in training, evaluation and serving."""

import io
import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from PIL import Image, ImageChops, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError

from shared.errors import DecoderAway, ImageRejected
from shared.images import dicom, dicom_use, framing, full_depth, gate, grayscale, jpeg, tiff, unsupported
from shared.images.codestreams import with_height
from shared.images.content import refuse_without_content
from shared.images.decoder_texts import has_sixteen_bit_samples
from shared.images.dicom_file import HEAD_BYTES, is_dicom
from shared.images.joined import refuse_joined_jpegs, refuse_joined_pngs
from shared.images.jpeg_scans import refuse_scan_bomb
from shared.images.pages import choose_page
from shared.images.png_rows import refuse_missing_rows
from shared.models.spec import ModelSpec
from shared.refusals import Rejection

FORMATS: Final = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
_JPEG: Final = b"\xff\xd8"
_TIFFS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two are BigTIFF
_JPEG_MODES: Final = {"L", "RGB"}

_BRIGHT: Final = 128
"""Of 256: colours of 16 bits whose upper 8 stay below this use less than half of their range."""
_COLOUR_MAP: Final = 320  # all reds, then all greens and all blues (TIFF 6.0, page 23)
_PNG_DEPTH: Final = 24  # where its header has the bits of a sample (W3C PNG, 11.2.1)
# BITMAPINFOHEADER and BITMAPCOREHEADER: where the header is, and in it the bits of a pixel.
_BMP_HEADER, _BMP_DEPTH, _OS2_DEPTH, _OS2_HEADER_BYTES = 14, 28, 24, 12
# 16-bit grey modes of Pillow; `I` holds 16-bit PNG and TIFF samples in 32 bits.
_DEEP_MODES: Final = {"I;16", "I;16L", "I;16B", "I;16N", "I", "F"}

_WHOLE: Final = 1 << 16
"""More than the sides of any JPEG: it is decoded at its own size."""
_LEAST_LOOKED_AT: Final = 128
"""Pixels on which content is looked for: on fewer, real images look like noise from one pixel to the next."""
THUMBNAIL_SIDE: Final = 96
"""Lists show 44 pixels, on a fine screen 88. So an original takes 1.5 KB, at a side of 144 and quality 80 2.6 KB."""
_THUMBNAIL_QUALITY: Final = 75
SMALL_SIDE: Final = 256
SMALL_BYTES: Final = 32 * 1024
"""An image this small has its thumbnail drawn when somebody looks, in under a millisecond: drawing and keeping it took
a seventh of a worker's time for an image of 224 pixels."""


def decode(data: bytes, at_least: int) -> Image.Image:
    """Decode an image to upright 8-bit grey, at least `at_least` pixels on its shorter side if it has them.

    Raises ImageRejected where the bytes are no image of a known format, are cut short or are damaged.
    """
    with _refusals(data):
        if is_dicom(data[:HEAD_BYTES]):
            return dicom.decode(io.BytesIO(data))
        return _decode_image(data, at_least)


def decode_at_full_depth(data: bytes) -> full_depth.FullDepth:
    """Decode an image, upright, at the full depth of its samples; colours and samples of 8 bits to 8-bit grey.

    Raises ImageRejected as `decode` does.
    """
    with _refusals(data):
        if is_dicom(data[:HEAD_BYTES]):
            return dicom.at_full_depth(io.BytesIO(data))
        if data.startswith(_TIFFS):
            deep = tiff.read_deep(io.BytesIO(data))
            if deep is not None:
                return tiff.at_full_depth(data, deep)
        image = _decode_jpeg_samples(data, _WHOLE) if data.startswith(_JPEG) else _decode_samples(data)
        if image.mode not in _DEEP_MODES:
            return full_depth.of_grey(_grey(image))
        samples, values = _deep_samples(image)
        return full_depth.code(samples, values, step=1.0, bits=_bits(data, image))


@contextmanager
def _refusals(data: bytes) -> Iterator[None]:
    """Turn what decoders raise into ImageRejected."""
    if not data:
        raise ImageRejected(Rejection.EMPTY_FILE)
    try:
        yield
    except ImageRejected:
        raise
    except UnidentifiedImageError as error:
        refusal = unsupported.explain(io.BytesIO(data), unsupported.kind_of(data))
        raise refusal or ImageRejected(Rejection.UNKNOWN_FORMAT) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRejected(Rejection.TOO_MANY_PIXELS) from error
    except (DecoderAway, MemoryError):
        raise
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error and more on damaged files.
        if unsupported.is_cut_short(io.BytesIO(data), unsupported.kind_of(data)):
            raise ImageRejected(Rejection.TRUNCATED_IMAGE) from error
        raise ImageRejected(Rejection.UNREADABLE_IMAGE, case="pixels") from error


def _decode_image(data: bytes, at_least: int) -> Image.Image:
    if data.startswith(_JPEG):
        return _grey(_decode_jpeg_samples(data, at_least))
    if data.startswith(_TIFFS):
        deep = tiff.read_deep(io.BytesIO(data))
        if deep is not None:
            return tiff.decode(data, deep)
    return _grey(_decode_samples(data))


def _decode_samples(data: bytes) -> Image.Image:
    file = io.BytesIO(data)
    with Image.open(file, formats=FORMATS) as image:
        if image.format == "BMP" and _has_lost_palette(image, data):
            return _decode_samples(_with_blue_in_black(data))
        choose_page(image, file)
        _refuse_too_large(image)
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            jpeg.refuse_damaged_strips(image.tag_v2, data)
        _load(image, data)
        _brighten_palette(image)
        ImageOps.exif_transpose(image, in_place=True)  # else it copies what lies as it is shown
        return image


def _brighten_palette(image: Image.Image) -> None:
    """Take a TIFF's palette of 16 bits for one of 8 where all of its values are so low, as libtiff does (tiff2rgba)."""
    if image.mode != "P" or not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    values = np.array(image.tag_v2[_COLOUR_MAP])
    if values.max() < 256:
        image.putpalette(values.reshape(3, -1).T.astype(np.uint8).tobytes())


def _has_lost_palette(image: Image.Image, data: bytes) -> bool:
    """Tell whether Pillow has dropped the palette of a BMP, as it does with greys in order, and misreads its depth."""
    at = _BMP_DEPTH if data[_BMP_HEADER] > _OS2_HEADER_BYTES else _OS2_DEPTH
    return image.mode in {"1", "L"} and (image.mode, data[at]) not in {("1", 1), ("L", 8)}


def _with_blue_in_black(data: bytes) -> bytes:
    """Write into the black that such a palette begins with a blue of 1: it is no grey then, and drawn as black."""
    palette = _BMP_HEADER + data[_BMP_HEADER]
    return data[:palette] + b"\1" + data[palette + 1 :]


def _decode_jpeg_samples(data: bytes, at_least: int) -> Image.Image:
    refuse_scan_bomb(data)
    file = io.BytesIO(data)
    try:
        image = Image.open(file, formats=("JPEG",))
    except UnidentifiedImageError:
        mended = with_height(data)
        return jpeg.decode_special(data) if mended is None else _decode_jpeg_samples(mended, at_least)
    with image:
        choose_page(image, file)
        _refuse_too_large(image)
        refuse_joined_jpegs(data, image.size)
        if image.mode in _JPEG_MODES:
            # JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the cost (DCT scaling). On the 300 originals of the
            # data set the smallest scale that suffices gives the same labels as the next larger one.
            pixels = jpeg.decode_grey(data, image.size, at_least)
            if pixels is not None:
                return jpeg.upright(Image.fromarray(pixels), image.getexif())
        else:
            jpeg.refuse_damaged_cmyk(data)
        image.draft("L", (at_least, at_least))
        try:
            image.load()
        except (OSError, SyntaxError) as error:
            raise jpeg.refusal(data) from error
        ImageOps.exif_transpose(image, in_place=True)
        return image


def _refuse_too_large(image: Image.Image) -> None:
    """Refuse what Pillow only warns of; intake holds uploads to its own, lower limit before this module sees them."""
    if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise ImageRejected(Rejection.TOO_MANY_PIXELS)


def _load(image: ImageFile.ImageFile, data: bytes) -> None:
    is_truncated = image.mode not in _DEEP_MODES and has_sixteen_bit_samples(image)
    image.load()
    if image.format == "PNG":
        refuse_missing_rows(image, data)
        refuse_joined_pngs(data, image.size)
    if is_truncated:
        _refuse_unless_bright(image)
    elif image.format == "PNG":
        _scale_clear_grey(image, data)


def _refuse_unless_bright(image: Image.Image) -> None:
    """Refuse colours of 16 bits, of which Pillow keeps the upper 8, where they use less than half of these."""
    brightest = np.asarray(image.convert("RGB")).max(axis=2)
    if "A" in image.getbands():
        brightest = brightest[np.asarray(image.getchannel("A")) > 0]
    # Not by its highest sample: a burnt-in letter is white whatever the image uses.
    is_dark = brightest.size > 0 and np.quantile(brightest, 1 - grayscale.TAIL) < _BRIGHT
    if "transparency" in image.info or is_dark:
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="deep_colour")


def _scale_clear_grey(image: Image.Image, data: bytes) -> None:
    """Scale the grey that a PNG of 2 or 4 bits calls transparent (W3C PNG, 11.3.2.1) as Pillow scales its samples."""
    clear, depth = image.info.get("transparency"), data[_PNG_DEPTH]
    if isinstance(clear, int) and image.mode == "L" and depth < 8:
        image.info["transparency"] = clear * 255 // (2**depth - 1)


def _grey(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_MODES:
        return _scale_deep(image)
    if "transparency" in image.info or image.mode == "PA":
        image = _of_eight_bits(image).convert("RGBA")
    if image.mode == "La":  # grey that has been multiplied by its alpha already
        return image.getchannel("L")
    if image.mode in {"RGBA", "LA"} and not _is_alpha_unset(image):
        # Transparent areas become black, as the unexposed border of an image is; band by band, to hold fewer copies.
        return ImageChops.multiply(image.convert("L"), image.getchannel("A"))
    return image if image.mode == "L" else image.convert("L")


def _is_alpha_unset(image: Image.Image) -> bool:
    """Tell whether nothing of a BMP would be seen: programs leave its alpha at zero, and show it without."""
    return image.format == "BMP" and image.getchannel("A").getextrema() == (0, 0)


def _of_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode != "1":
        return image
    grey = image.convert("L")
    grey.info["transparency"] = image.info["transparency"]
    return grey


def _scale_deep(image: Image.Image) -> Image.Image:
    """Map a PNG of 16 bits to 8 by its own range; detectors use 10 to 16 of the bits and rarely say which."""
    samples, values = _deep_samples(image)
    return Image.fromarray(grayscale.draw(samples, values))


def _deep_samples(image: Image.Image) -> tuple[np.ndarray, grayscale.Values]:
    if image.format == "TIFF":
        raise ValueError("a deep TIFF has come past shared.images.tiff")
    clear = image.info.get("transparency")

    def values(samples: np.ndarray) -> np.ndarray:
        return np.where(samples == clear, np.nan, samples) if isinstance(clear, int) else samples.astype(np.float64)

    return np.asarray(image), values


def _bits(data: bytes, image: Image.Image) -> int:
    """Return the depth that a PNG or JPEG says its samples have."""
    return data[_PNG_DEPTH] if image.format == "PNG" else jpeg.read_special(data).precision


def refuse_unreadable(data: bytes, image: Image.Image, spec: ModelSpec, ignored: Collection[Rejection] = ()) -> None:
    """Raise ImageRejected where a model that has a gate is not for this image, under none of the `ignored` codes.

    `image` is what `decode` made of the image's bytes.
    """
    if spec.gate is None:
        return
    if is_dicom(data[:HEAD_BYTES]):
        dicom_use.refuse_unless_intended(data, spec.gate, ignored)
    gate.refuse_unless_chest(image, spec.gate, ignored)


def window(image: Image.Image, spec: ModelSpec) -> framing.Box:
    """Return the part of a decoded image that the network sees: the lungs and a margin, or the whole image.

    Raises ImageRejected where the network needs the lungs framed and there are none to be found.
    """
    return framing.WHOLE if spec.framing is None else framing.window(image, spec.framing)


def fit(image: Image.Image, spec: ModelSpec, seen: framing.Box | None = None) -> np.ndarray:
    """Resize a decoded image to the network's square: uint8 (input_size, input_size, 1).

    `seen` is what `window` said of it, for a caller that asked already. Raises ImageRejected as `window` does, and
    where nothing is on a whole image (`shared.images.content`).
    """
    if spec.framing is not None:
        return framing.cut(image, seen or window(image, spec), spec.input_size)[..., np.newaxis]
    size, whole = (spec.input_size, spec.input_size), image
    if image.size != size:
        # reducing_gap shrinks by whole factors first: indistinguishable from the full filter at 2.0 and much faster.
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    pixels = np.asarray(image, dtype=np.uint8)
    refuse_without_content(pixels if spec.input_size >= _LEAST_LOOKED_AT else _looked_at(whole))
    return pixels[..., np.newaxis]


def _looked_at(image: Image.Image) -> np.ndarray:
    side = (_LEAST_LOOKED_AT, _LEAST_LOOKED_AT)
    return np.asarray(image.resize(side, Image.Resampling.BILINEAR, reducing_gap=2.0), dtype=np.uint8)


def prepare(data: bytes, spec: ModelSpec) -> np.ndarray:
    """Turn an image's bytes into the network's input: uint8 (input_size, input_size, 1), 0 black to 255 white.

    Raises ImageRejected where the image cannot be decoded, shows nothing, or needs framing and shows no lungs.
    """
    return fit(decode(data, at_least=spec.decoded_side), spec)


def prepare_unless_refused(data: bytes, spec: ModelSpec) -> np.ndarray:
    """Prepare an image as a worker does, the gate of the model first: uint8 (input_size, input_size, 1).

    Raises ImageRejected as `prepare` does, and where the model is not for the image.
    """
    image = decode(data, at_least=spec.decoded_side)
    refuse_unreadable(data, image, spec)
    return fit(image, spec)


def is_small(data: bytes, image: Image.Image) -> bool:
    """Tell from an image's bytes and what `decode` made of them whether its thumbnail can wait until somebody looks."""
    return len(data) <= SMALL_BYTES and max(image.size) <= SMALL_SIDE


def thumbnail(image: Image.Image) -> bytes:
    """Encode a decoded image as a JPEG of at most THUMBNAIL_SIDE pixels on its longer side, at least half of that.

    Shrunk by a whole factor: 16 µs for an image of 224 pixels, where any other size takes 150.
    """
    small = image.reduce(math.ceil(max(image.size) / THUMBNAIL_SIDE))
    out = io.BytesIO()
    # Pillow would carry over what the image says of itself.
    small.save(out, "JPEG", quality=_THUMBNAIL_QUALITY, comment=b"")
    return out.getvalue()
