"""What the network and the viewer are shown, against independent readers, over headers drawn by hypothesis.

Each file is drawn from an array. The right grey is worked out here from that array and, where it can be, by another
reader: pydicom's own transforms, dcmtk's dcm2pnm, tifffile. Then comes the stretch that README and docs/decisions.md
state: from the lowest to the highest of the samples that lie no further from the middle 99 % than half their distance.
"""

import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from shared.errors import ImageRejected
from shared.images.full_depth import FullDepth
from shared.images.preprocess import decode, decode_at_full_depth, fit, prepare
from shared.models.spec import ModelSpec
from tests.drawn_files import lut, picture, radiograph, tiff
from web.images.pictures import _draw_preview

HALF = 0.5 + 1e-6
ROUNDED = 0.1
"""Of a grey: what values without steps lose where they are numbered from 0 to 65,535."""
SIDE = (72, 90)
PICTURES = [picture(SIDE, seed) for seed in range(4)]
HOT = (10, 80)
DCM2PNM = shutil.which("dcm2pnm")


def stretch(values: np.ndarray, is_left_out: np.ndarray | None = None) -> np.ndarray:
    """Return the greys of values by the stated stretch, before they are rounded; what is left out is black."""
    is_left_out = np.zeros(values.shape, bool) if is_left_out is None else is_left_out
    ordered = np.sort(values[~is_left_out])
    low, high = ordered[int(np.ceil(0.005 * ordered.size)) - 1], ordered[int(np.ceil(0.995 * ordered.size)) - 1]
    reach = (high - low) / 2
    inner = ordered[(ordered >= low - reach) & (ordered <= high + reach)]
    grey = (values - inner[0]) / (inner[-1] - inner[0]) * 255
    return np.where(is_left_out, 0, grey.clip(0, 255))


def outcome(make: Callable[[], np.ndarray]) -> bytes | str:
    """Return a network's input, or why there is none: some pictures are too weak to be one."""
    try:
        return make().tobytes()
    except ImageRejected as rejection:
        return rejection.code


def shown(deep: FullDepth) -> np.ndarray:
    """Return what a viewer shows of an image at full depth in its own window, before it is rounded."""
    grey = ((deep.samples - deep.black) / max(deep.white - deep.black, 1e-6)).clip(0, 1) * 255
    grey = 255 - grey if deep.is_inverse else grey
    return np.where(deep.samples == deep.nothing, 0, grey) if deep.nothing is not None else grey


def agrees(data: bytes, right: np.ndarray, spec: ModelSpec, *, slack: float = HALF) -> None:
    """Hold what the viewer decodes and what the network gets to the right greys."""
    image = decode(data, at_least=10_000)
    assert np.abs(np.asarray(image) - right).max() <= slack
    assert np.abs(shown(decode_at_full_depth(data)) - right).max() <= slack + ROUNDED
    assert outcome(lambda: prepare(data, spec)) == outcome(lambda: fit(image, spec))
    with Image.open(io.BytesIO(_draw_preview(data))) as preview:
        assert preview.size == image.size
        assert np.abs(np.asarray(preview).astype(float) - right).mean() < 4, "a JPEG of quality 90"


class Radiograph:
    """One drawn header and its array."""

    def __init__(
        self, data: bytes, stored: np.ndarray, is_padding: np.ndarray, *, bits: int, is_inverse: bool, header: str
    ) -> None:
        self.data = data
        self.stored = stored  # samples, as the header means them
        self.is_padding = is_padding
        self.bits = bits
        self.is_inverse = is_inverse
        self.header = header

    def __repr__(self) -> str:
        return self.header


SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless]
RESCALES = [
    {},
    {},
    {"RescaleSlope": "2", "RescaleIntercept": "-1024"},
    {"RescaleSlope": "-1", "RescaleIntercept": "7"},
    {"RescaleSlope": "0.125", "RescaleIntercept": "0.5"},
]


@st.composite
def radiographs(draw: st.DrawFn, *, with_padding: bool = True) -> Radiograph:
    """Draw a radiograph: depth, place of its bits, sign, polarity, syntax, rescale, VOI, padding, a hot pixel."""
    allocated = draw(st.sampled_from([8, 16, 16, 32]))
    bits = draw(st.integers(min(6, allocated), min(allocated, 24)))
    high = draw(st.integers(bits - 1, allocated - 1))
    is_signed, is_inverse = draw(st.booleans()), draw(st.booleans())
    lowest = -(1 << bits - 1) if is_signed else 0
    base = PICTURES[draw(st.integers(0, 3))]
    share = draw(st.floats(0.3, 1.0))
    stored = np.rint(lowest + base * share * ((1 << bits) - 1)).astype(np.int64)
    is_padding = np.zeros(SIDE, bool)
    tags: dict[str, object] = dict(draw(st.sampled_from(RESCALES)))
    if with_padding and bits <= 16 and draw(st.booleans()):
        is_padding[:, : draw(st.integers(1, 45))] = True
        stored[is_padding] = lowest
        stored[~is_padding & (stored == lowest)] += 1
        tags["PixelPaddingValue"] = lowest
    if draw(st.booleans()) and bits > 8:
        stored[HOT] = lowest + (1 << bits) - 1
    unit = 1 if not is_signed else 0
    containers = (stored & ((1 << bits) - 1)) << (high + 1 - bits)
    if is_signed and high == bits - 1:
        containers = stored & ((1 << allocated) - 1)
    tags |= {"BitsStored": bits, "HighBit": high, "PixelRepresentation": 1 - unit}
    tags["PhotometricInterpretation"] = "MONOCHROME1" if is_inverse else "MONOCHROME2"
    is_usual = ~is_padding
    is_usual[HOT] = False
    tags |= draw(_vois(stored[is_usual], tags))
    syntax = draw(st.sampled_from(SYNTAXES if allocated == 8 or (allocated == 16 and bits > 8) else SYNTAXES[:3]))
    data = radiograph(containers.astype(f"u{allocated // 8}"), syntax, **tags)
    header = f"{UID(syntax).name}, {allocated} bits allocated, {share=}, {tags}"
    return Radiograph(data, stored, is_padding, bits=bits, is_inverse=is_inverse, header=header)


@st.composite
def _vois(draw: st.DrawFn, stored: np.ndarray, tags: dict[str, object]) -> dict[str, object]:
    slope, intercept = float(str(tags.get("RescaleSlope", 1))), float(str(tags.get("RescaleIntercept", 0)))
    values = stored * slope + intercept
    kind = draw(st.sampled_from(["none", "window", "window", "table"]))
    if kind == "window":
        span = float(np.ptp(values))
        center = round(float(values.min()) + span * draw(st.floats(0.3, 0.7)), 2)
        width = round(span * draw(st.floats(0.4, 1.5)), 2) + 2
        function = draw(st.sampled_from([None, "LINEAR", "LINEAR_EXACT", "SIGMOID"]))
        return {"WindowCenter": str(center), "WindowWidth": str(width)} | (
            {"VOILUTFunction": function} if function else {}
        )
    if kind == "table" and slope == 1 and values.min() >= 0 and values.max() < 4000:
        entries = np.rint(np.sqrt(np.linspace(0, 1, int(values.max()) + 2)) * 4095).astype(np.uint16)
        return {"VOILUTSequence": [lut(entries, 0, 12)]}
    return {}


def meant(image: Radiograph) -> tuple[np.ndarray, np.ndarray]:
    """Return what pydicom makes of the samples by the modality transform, and then by the VOI."""
    header = dcmread(io.BytesIO(image.data))
    values = apply_modality_lut(image.stored.astype(np.float64), header)
    # With a negative slope pydicom 3.0 turns the window's output round (its y range is taken from the rescaled limits).
    header.pop("RescaleSlope", None)
    header.pop("RescaleIntercept", None)
    if "VOILUTSequence" in header:
        values = values.astype(np.int64)
    return values, apply_voi_lut(values, header)


def right_greys(image: Radiograph) -> np.ndarray:
    values, drawn = meant(image)
    header = dcmread(io.BytesIO(image.data), stop_before_pixels=True)
    has_voi = "WindowCenter" in header or "VOILUTSequence" in header
    if image.bits <= 8 and not has_voi:
        most = float((1 << image.bits) - 1)
        lowest = -(1 << image.bits - 1) if header.PixelRepresentation else 0
        grey = (image.stored - lowest) * (255 / most)
        grey = 255 - grey if float(header.get("RescaleSlope", 1)) < 0 else grey
    else:
        grey = stretch(np.asarray(drawn if has_voi else values, dtype=np.float64), image.is_padding)
    return np.where(image.is_padding, 0, 255 - grey if image.is_inverse else grey)


FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANY = settings(FEW, max_examples=600)


@FEW
@given(image=radiographs())
def test_radiographs_are_drawn_as_pydicom_has_them(image: Radiograph, spec: ModelSpec) -> None:
    agrees(image.data, right_greys(image), spec)


@pytest.mark.long
@MANY
@given(image=radiographs())
def test_many_radiographs_are_drawn_as_pydicom_has_them(image: Radiograph, spec: ModelSpec) -> None:
    agrees(image.data, right_greys(image), spec)


def by_dcm2pnm(image: Radiograph, folder: Path, *options: str) -> np.ndarray:
    (folder / "image.dcm").write_bytes(image.data)
    command = [str(DCM2PNM), "-q", "-O", *options, "+ob", "image.dcm", "image.pgm"]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    return read_pgm((folder / "image.pgm").read_bytes())


def read_pgm(data: bytes) -> np.ndarray:
    """Read a PGM of 8 bits as dcm2pnm writes it."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image).astype(np.float64)


@pytest.mark.skipif(DCM2PNM is None, reason="dcmtk is not installed: apt-get install dcmtk")
@settings(FEW, max_examples=20)
@given(image=radiographs(with_padding=False))
def test_radiographs_are_drawn_as_dcmtk_has_them(image: Radiograph, spec: ModelSpec, tmp_path: Path) -> None:
    assume("LINEAR_EXACT" not in image.header)  # of which dcmtk 3.6.7 knows nothing
    assume("0.125" not in image.header)  # dcmtk 3.6.7 rounds what comes out of the modality transform
    assume(not image.header.startswith("Explicit VR Big Endian, 32"))  # and takes such words for 16-bit ones
    header = dcmread(io.BytesIO(image.data), stop_before_pixels=True)
    if "WindowCenter" in header:
        options = ["+Wi", "1"]
    else:
        options = ["+Wl", "1"] if "VOILUTSequence" in header else ["+Wm"] if image.bits > 8 else []
    theirs = by_dcm2pnm(image, tmp_path, *options)
    ours = np.asarray(decode(image.data, 10_000)).astype(np.float64)
    theirs[HOT], ours[HOT] = theirs[0, 0], ours[0, 0]  # it may set their range, and not ours
    level = np.ptp(ours) / np.ptp(theirs)
    # Each of two greys is rounded here, by half a level at most, and cut off there, by less than one level of theirs.
    assert np.abs(ours - ours.min() - (theirs - theirs.min()) * level).max() <= 1 + level


class DrawnTiff:
    """A TIFF, its samples, and what it is."""

    def __init__(self, data: bytes, samples: np.ndarray, header: str) -> None:
        self.data = data
        self.samples = samples
        self.header = header

    def __repr__(self) -> str:
        return self.header


KINDS = ("i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")


@st.composite
def tiffs(draw: st.DrawFn) -> DrawnTiff:
    """Draw a TIFF: kind of sample, share of its range, polarity, byte order, compression, predictor, layout."""
    kind = np.dtype(draw(st.sampled_from(KINDS)))
    values = PICTURES[draw(st.integers(0, 3))] * draw(st.floats(0.3, 1.0))
    if kind.kind == "f":
        samples = (values * draw(st.sampled_from([1.0, 1000.0])) - draw(st.sampled_from([0.0, 300.0]))).astype(kind)
    else:
        least, most = float(np.iinfo(kind).min), float(np.iinfo(kind).max)
        samples = np.rint(least + values * (most - least)).astype(kind)
    if kind.itemsize > 1 and kind.kind != "f" and draw(st.booleans()):
        samples[HOT] = np.iinfo(kind).max
    compression = draw(st.sampled_from([None, "zlib", "lzw", "packbits", "zstd", "lzma"]))
    options: dict[str, object] = {
        "is_white_zero": draw(st.booleans()),
        "compression": compression,
        "byteorder": draw(st.sampled_from("<>")),
        "bigtiff": draw(st.booleans()),
        "predictor": compression in {"zlib", "lzw"} and draw(st.booleans()),
    } | draw(st.sampled_from([{}, {"rowsperstrip": 5}, {"tile": (32, 16)}]))
    return DrawnTiff(tiff(samples, **options), samples, f"{kind}, {options}")


@FEW
@given(drawn=tiffs())
def test_tiffs_are_drawn_as_tifffile_has_them(drawn: DrawnTiff, spec: ModelSpec) -> None:
    data, samples = drawn.data, drawn.samples
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        read, is_white_zero = page.asarray().astype(np.float64), page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    assert np.array_equal(read, samples.astype(np.float64))
    grey = read + 128 if samples.dtype == "i1" else stretch(read)
    agrees(data, 255 - grey if is_white_zero else grey, spec)


@FEW
@given(
    bits=st.sampled_from([8, 16]),
    channels=st.integers(1, 4),
    seed=st.integers(0, 3),
    share=st.floats(0.6, 1.0),
)
def test_pngs_are_drawn_as_imagecodecs_has_them(
    bits: int, channels: int, seed: int, share: float, spec: ModelSpec
) -> None:
    """Of 1 to 4 channels: grey, grey and alpha, colour, colour and alpha."""
    most = 2**bits - 1
    grey = np.rint(PICTURES[seed] * share * most).astype(f"u{bits // 8}")
    is_clear = np.zeros(SIDE, bool)
    bands = [grey] * (channels if channels % 2 else channels - 1)
    if channels % 2 == 0:
        is_clear[:, :20] = True
        bands.append(np.where(is_clear, 0, most).astype(grey.dtype))
    data = imagecodecs.png_encode(np.squeeze(np.stack(bands, -1)))
    read = imagecodecs.png_decode(data).reshape(*SIDE, channels)[..., 0].astype(np.float64)
    is_deep_grey = bits == 16 and channels == 1
    right = stretch(read) if is_deep_grey else np.where(is_clear, 0, read / (most / 255))
    # Of 16-bit colours and alpha Pillow keeps the upper 8 bits.
    agrees(data, right, spec, slack=HALF if bits == 8 or is_deep_grey else 1 + HALF)
