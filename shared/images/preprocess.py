"""Preprocess images from bytes to network input, identically in training, evaluation and serving."""

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
_TIFFS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_JPEG_MODES: Final = {"L", "RGB"}

_BRIGHT: Final = 128
"""Of 256: 16-bit colours whose upper 8 bits stay below this use less than half of their range."""
_COLOUR_MAP: Final = 320  # all reds, then all greens and all blues (TIFF 6.0, page 23)
_PNG_DEPTH: Final = 24  # offset of the bits per sample in its header (W3C PNG, 11.2.1)
# BITMAPINFOHEADER and BITMAPCOREHEADER: offset of the header, and in it of the bits per pixel.
_BMP_HEADER, _BMP_DEPTH, _OS2_DEPTH, _OS2_HEADER_BYTES = 14, 28, 24, 12
# 16-bit grey modes of Pillow; `I` holds 16-bit PNG and TIFF samples in 32 bits.
_DEEP_MODES: Final = {"I;16", "I;16L", "I;16B", "I;16N", "I", "F"}

_WHOLE: Final = 1 << 16
"""Larger than the sides of any JPEG, so that it is decoded at full size."""
_LEAST_LOOKED_AT: Final = 128
"""Side in pixels on which content is checked: with fewer, neighbouring pixels of real images look like noise."""
THUMBNAIL_SIDE: Final = 96
"""Lists show 44 pixels, 88 on a high-DPI screen. An original then takes 1.5 KB, with side 144 and quality 80 2.6 KB."""
_THUMBNAIL_QUALITY: Final = 75
SMALL_SIDE: Final = 256
SMALL_BYTES: Final = 32 * 1024
"""Thumbnails of images this small are made on demand, in under a millisecond: making and storing them took a seventh of
a worker's time for an image of 224 pixels."""


def decode(data: bytes, at_least: int) -> Image.Image:
    """Decode an image to upright 8-bit grey, at least `at_least` pixels on its shorter side if it has them.

    Raises ImageRejected where the bytes are no image of a known format, are truncated or are damaged.
    """
    with _refusals(data):
        if is_dicom(data[:HEAD_BYTES]):
            return dicom.decode(io.BytesIO(data))
        return _decode_image(data, at_least)


def decode_at_full_depth(data: bytes) -> full_depth.FullDepth:
    """Decode an image, upright, at the full depth of its samples; colours and 8-bit samples to 8-bit grey.

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
    """Convert decoders' exceptions to ImageRejected."""
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
        ImageOps.exif_transpose(image, in_place=True)  # else it copies images that are upright already
        return image


def _brighten_palette(image: Image.Image) -> None:
    """Treat a TIFF's 16-bit palette as 8-bit where all of its values are that low, as libtiff does (tiff2rgba)."""
    if image.mode != "P" or not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    values = np.array(image.tag_v2[_COLOUR_MAP])
    if values.max() < 256:
        image.putpalette(values.reshape(3, -1).T.astype(np.uint8).tobytes())


def _has_lost_palette(image: Image.Image, data: bytes) -> bool:
    """Tell whether Pillow dropped a BMP's palette, as it does with greys in order, and so misreads its depth."""
    at = _BMP_DEPTH if data[_BMP_HEADER] > _OS2_HEADER_BYTES else _OS2_DEPTH
    return image.mode in {"1", "L"} and (image.mode, data[at]) not in {("1", 1), ("L", 8)}


def _with_blue_in_black(data: bytes) -> bytes:
    """Set blue to 1 in the black that starts such a palette, which is then no grey but still drawn as black."""
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
            # JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the cost (DCT scaling). On the data set's 300 originals
            # the smallest sufficient scale gives the same labels as the next larger one.
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
    """Refuse sizes that Pillow only warns of; intake applies its own, lower limit to uploads before."""
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
    """Refuse 16-bit colours, of which Pillow keeps the upper 8 bits, where they use less than half of that range."""
    brightest = np.asarray(image.convert("RGB")).max(axis=2)
    if "A" in image.getbands():
        brightest = brightest[np.asarray(image.getchannel("A")) > 0]
    # Not by its highest sample: a burnt-in letter is white whatever range the image uses.
    is_dark = brightest.size > 0 and np.quantile(brightest, 1 - grayscale.TAIL) < _BRIGHT
    if "transparency" in image.info or is_dark:
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="deep_colour")


def _scale_clear_grey(image: Image.Image, data: bytes) -> None:
    """Scale the transparent grey of a 2- or 4-bit PNG (W3C PNG, 11.3.2.1) as Pillow scales its samples."""
    clear, depth = image.info.get("transparency"), data[_PNG_DEPTH]
    if isinstance(clear, int) and image.mode == "L" and depth < 8:
        image.info["transparency"] = clear * 255 // (2**depth - 1)


def _grey(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_MODES:
        return _scale_deep(image)
    if "transparency" in image.info or image.mode == "PA":
        image = _of_eight_bits(image).convert("RGBA")
    if image.mode == "La":  # grey with premultiplied alpha
        return image.getchannel("L")
    if image.mode in {"RGBA", "LA"} and not _is_alpha_unset(image):
        # Transparent areas become black, like an image's unexposed border; band by band, to hold fewer copies.
        return ImageChops.multiply(image.convert("L"), image.getchannel("A"))
    return image if image.mode == "L" else image.convert("L")


def _is_alpha_unset(image: Image.Image) -> bool:
    """Tell whether a BMP is fully transparent: programs leave its alpha at zero, and ignore it on display."""
    return image.format == "BMP" and image.getchannel("A").getextrema() == (0, 0)


def _of_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode != "1":
        return image
    grey = image.convert("L")
    grey.info["transparency"] = image.info["transparency"]
    return grey


def _scale_deep(image: Image.Image) -> Image.Image:
    """Map a 16-bit PNG to 8 bits by its own range; detectors use 10 to 16 of the bits and rarely declare which."""
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
    """Return the sample depth that a PNG or JPEG declares."""
    return data[_PNG_DEPTH] if image.format == "PNG" else jpeg.read_special(data).precision


def refuse_unreadable(data: bytes, image: Image.Image, spec: ModelSpec, ignored: Collection[Rejection] = ()) -> None:
    """Raise ImageRejected where a model's gate refuses this image under a code not in `ignored`.

    `image` is the result of `decode` for `data`.
    """
    if spec.gate is None:
        return
    if is_dicom(data[:HEAD_BYTES]):
        dicom_use.refuse_unless_intended(data, spec.gate, ignored)
    gate.refuse_unless_chest(image, spec.gate, ignored)


def window(image: Image.Image, spec: ModelSpec) -> framing.Box:
    """Return the part of a decoded image that the network sees: the lungs and a margin, or the whole image.

    Raises ImageRejected where the network needs the lungs framed and none are found.
    """
    return framing.WHOLE if spec.framing is None else framing.window(image, spec.framing)


def fit(image: Image.Image, spec: ModelSpec, seen: framing.Box | None = None) -> np.ndarray:
    """Resize a decoded image to the network's square: uint8 (input_size, input_size, 1).

    `seen` is its `window`, if the caller has it already. Raises ImageRejected as `window` does, and where a whole image
    has no content (`shared.images.content`).
    """
    if spec.framing is not None:
        return framing.cut(image, seen or window(image, spec), spec.input_size)[..., np.newaxis]
    size, whole = (spec.input_size, spec.input_size), image
    if image.size != size:
        # reducing_gap first shrinks by integer factors: at 2.0 indistinguishable from the full filter and much faster.
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    pixels = np.asarray(image, dtype=np.uint8)
    refuse_without_content(pixels if spec.input_size >= _LEAST_LOOKED_AT else _looked_at(whole))
    return pixels[..., np.newaxis]


def _looked_at(image: Image.Image) -> np.ndarray:
    side = (_LEAST_LOOKED_AT, _LEAST_LOOKED_AT)
    return np.asarray(image.resize(side, Image.Resampling.BILINEAR, reducing_gap=2.0), dtype=np.uint8)


def prepare(data: bytes, spec: ModelSpec) -> np.ndarray:
    """Preprocess an image's bytes to the network's input: uint8 (input_size, input_size, 1), 0 black to 255 white.

    Raises ImageRejected where the image cannot be decoded, has no content, or needs framing and shows no lungs.
    """
    return fit(decode(data, at_least=spec.decoded_side), spec)


def prepare_unless_refused(data: bytes, spec: ModelSpec) -> np.ndarray:
    """Preprocess an image as a worker does, after the model's gate: uint8 (input_size, input_size, 1).

    Raises ImageRejected as `prepare` does, and where the gate refuses the image.
    """
    image = decode(data, at_least=spec.decoded_side)
    refuse_unreadable(data, image, spec)
    return fit(image, spec)


def is_small(data: bytes, image: Image.Image) -> bool:
    """Tell from an image's bytes and its `decode` result whether its thumbnail can be made on demand."""
    return len(data) <= SMALL_BYTES and max(image.size) <= SMALL_SIDE


def thumbnail(image: Image.Image) -> bytes:
    """Encode a decoded image as a JPEG whose longer side has THUMBNAIL_SIDE pixels at most, half of that at least.

    It is shrunk by an integer factor: 16 µs for an image of 224 pixels, where any other size takes 150.
    """
    small = image.reduce(math.ceil(max(image.size) / THUMBNAIL_SIDE))
    out = io.BytesIO()
    # Pillow would copy the image's metadata.
    small.save(out, "JPEG", quality=_THUMBNAIL_QUALITY, comment=b"")
    return out.getvalue()
