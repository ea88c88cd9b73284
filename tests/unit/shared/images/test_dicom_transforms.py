"""Radiographs: from stored samples to grey, one kind of header at a time. `test_pixel_oracle` combines them."""

import io

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from shared.errors import ImageRejected
from shared.images.preprocess import decode
from shared.intake.archive import receive
from shared.refusals import Rejection
from shared.settings import Settings
from shared.store.store import FolderStore
from tests.drawn_files import lut, picture, radiograph

TWELVE = np.rint(picture() * 4095).astype(np.uint16)
BITS = {"BitsStored": 12, "HighBit": 11}
EIGHT = np.rint(picture() * 255).astype(np.uint8)


def grey(data: bytes) -> np.ndarray:
    return np.asarray(decode(data, 64)).astype(int)


def stretched(values: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    low = values.min() if low is None else low
    high = values.max() if high is None else high
    return ((np.asarray(values, float) - low) / (high - low) * 255).clip(0, 255)


def differs(data: bytes, expected: np.ndarray) -> float:
    return float(np.abs(grey(data) - expected).max())


PLAIN = stretched(TWELVE)


# ---------------------------------------------------------------- modality


def test_eight_bits_go_through_their_rescale() -> None:
    assert differs(radiograph(EIGHT, RescaleSlope="-1", RescaleIntercept="255"), 255 - EIGHT) == 0


def test_eight_bits_go_through_their_modality_table() -> None:
    table = lut(np.arange(255, -1, -1), 0, 8)
    assert differs(radiograph(EIGHT, ModalityLUTSequence=[table]), 255 - EIGHT) == 0


@pytest.mark.parametrize(("bits", "most"), [(6, 63), (7, 127), (1, 1)])
def test_few_bits_are_scaled_by_the_most_that_they_can_hold(bits: int, most: int) -> None:
    samples = np.rint(picture() * most).astype(np.uint8)
    assert differs(radiograph(samples, BitsStored=bits, HighBit=bits - 1), samples * (255 / most)) <= 0.5


@pytest.mark.parametrize("tags", [{"RescaleSlope": ""}, {"RescaleSlope": "0"}, {"RescaleSlope": "nan"}])
def test_a_slope_that_cannot_be_used_is_left_out(tags: dict[str, str]) -> None:
    assert differs(radiograph(TWELVE, **BITS, **tags, RescaleIntercept=""), PLAIN) <= 0.5


def test_a_table_comes_before_a_rescale_and_an_unusable_one_does_not() -> None:
    empty = lut(np.arange(10), 0, 12)
    turned = {"RescaleSlope": "-1", "RescaleIntercept": "0"}
    assert (
        differs(
            radiograph(TWELVE, **BITS, **turned, ModalityLUTSequence=[empty]),
            grey(radiograph(TWELVE, **BITS, ModalityLUTSequence=[empty])),
        )
        == 0
    )
    del empty.LUTData
    assert differs(radiograph(TWELVE, **BITS, **turned, ModalityLUTSequence=[empty]), 255 - PLAIN) <= 0.5


# ---------------------------------------------------------------- where bits lie


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
@pytest.mark.parametrize("high", [11, 12, 15])
def test_samples_are_taken_from_below_their_high_bit(syntax: str, high: int) -> None:
    junk = np.random.default_rng(0).integers(0, 1 << high - 11, TWELVE.shape, dtype=np.uint16)
    data = radiograph(TWELVE << (high - 11) | junk, syntax, BitsStored=12, HighBit=high)
    assert differs(data, PLAIN) <= 0.5


@pytest.mark.parametrize("is_extended", [True, False], ids=["sign extended", "zeros above"])
def test_signed_samples_of_twelve_bits(is_extended: bool) -> None:
    signed = TWELVE.astype(np.int16) - 2048
    assert differs(radiograph(signed if is_extended else signed & 0xFFF, **BITS), PLAIN) <= 0.5


def test_overlays_in_unused_bits_are_not_drawn() -> None:
    covered = TWELVE | (np.indices(TWELVE.shape).sum(0) % 3 == 0).astype(np.uint16) << 15
    data = radiograph(covered, **BITS)
    from pydicom import dcmread

    dataset = dcmread(io.BytesIO(data))
    dataset.add_new((0x6000, 0x0100), "US", 16)
    dataset.add_new((0x6000, 0x0102), "US", 15)
    out = io.BytesIO()
    dataset.save_as(out)
    assert differs(out.getvalue(), PLAIN) <= 0.5


def test_a_header_that_names_too_few_bits_is_refused_and_one_hot_pixel_is_not() -> None:
    with pytest.raises(ImageRejected, match="stored_bits") as refused:
        decode(radiograph(TWELVE, BitsStored=10, HighBit=9), 64)
    assert refused.value.code is Rejection.UNSUPPORTED_FORM
    hot = TWELVE.copy()
    hot[3, 4] = 65_535
    assert differs(radiograph(hot, **BITS), np.where(hot == 65_535, 255, PLAIN)) <= 0.5


# ---------------------------------------------------------------- the range


@pytest.mark.parametrize(
    "places",
    [
        pytest.param((slice(5, 6), slice(6, 7)), id="pixel"),
        pytest.param((slice(None), slice(50, 51)), id="column"),
    ],
)
@pytest.mark.parametrize("value", [0, 65_535], ids=["dead", "hot"])
def test_few_samples_far_from_the_others_do_not_set_the_range(places: tuple[slice, slice], value: int) -> None:
    side = (200, 240)
    usual = np.rint(20_000 + picture(side) * 4095).astype(np.uint16)
    marred = usual.copy()
    marred[places] = value
    is_usual = marred == usual
    expected = np.where(is_usual, stretched(usual, usual[is_usual].min(), usual[is_usual].max()), value / 65_535 * 255)
    assert differs(radiograph(marred), expected) <= 0.5


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    "tags",
    [
        pytest.param({"PixelPaddingValue": 0}, id="value"),
        pytest.param({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 40}, id="range"),
        pytest.param({"PixelPaddingValue": 40, "PixelPaddingRangeLimit": 0}, id="range turned round"),
    ],
)
def test_padding_is_black_and_out_of_the_range(tags: dict[str, int], kind: str) -> None:
    is_padding = np.indices(TWELVE.shape)[1] < 30
    samples = np.where(is_padding, tags.get("PixelPaddingRangeLimit", 0), TWELVE).astype(np.uint16)
    inner = stretched(TWELVE, TWELVE[~is_padding].min(), TWELVE[~is_padding].max())
    expected = np.where(is_padding, 0, 255 - inner if kind == "MONOCHROME1" else inner)
    assert differs(radiograph(samples, **BITS, **tags, PhotometricInterpretation=kind), expected) <= 0.5


def test_padding_that_the_stored_bits_cannot_hold_is_padding() -> None:
    is_padding = np.indices(TWELVE.shape)[1] < 30
    samples = np.where(is_padding, 65_535, TWELVE).astype(np.uint16)
    inner = stretched(TWELVE, TWELVE[~is_padding].min(), TWELVE[~is_padding].max())
    data = radiograph(samples, **BITS, PixelPaddingValue=65_535)
    assert differs(data, np.where(is_padding, 0, inner)) <= 0.5


def test_padding_that_would_be_all_is_none() -> None:
    data = radiograph(TWELVE, **BITS, PixelPaddingValue=0, PixelPaddingRangeLimit=4095)
    assert differs(data, PLAIN) <= 0.5


# ---------------------------------------------------------------- VOI

WINDOW = {"WindowCenter": "2000", "WindowWidth": "1000"}
WINDOWED = stretched(((TWELVE - 1999.5) / 999 + 0.5).clip(0, 1))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        pytest.param({}, WINDOWED, id="none"),
        pytest.param({"VOILUTFunction": "LINEAR"}, WINDOWED, id="linear"),
        pytest.param({"VOILUTFunction": "LOG"}, WINDOWED, id="unknown"),
        pytest.param(
            {"VOILUTFunction": "LINEAR_EXACT"}, stretched(((TWELVE - 2000.0) / 1000 + 0.5).clip(0, 1)), id="exact"
        ),
        pytest.param(
            {"VOILUTFunction": "SIGMOID"}, stretched(1 / (1 + np.exp(-4 * (TWELVE - 2000.0) / 1000))), id="sigmoid"
        ),
    ],
)
def test_a_window_is_applied_by_its_function(tags: dict[str, str], expected: np.ndarray) -> None:
    assert differs(radiograph(TWELVE, **BITS, **WINDOW, **tags), expected) <= 0.5


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param({"WindowCenter": "10", "WindowWidth": "20"}, id="below"),
        pytest.param({"WindowCenter": "60000", "WindowWidth": "100"}, id="above"),
        pytest.param({"WindowCenter": "60000", "WindowWidth": "100", "VOILUTFunction": "SIGMOID"}, id="sigmoid above"),
        pytest.param({"WindowCenter": "2000", "WindowWidth": "0"}, id="no width"),
        pytest.param({"WindowCenter": "2000", "WindowWidth": "-1000"}, id="negative"),
        pytest.param({"WindowCenter": "2000"}, id="no width at all"),
        pytest.param({"WindowCenter": "", "WindowWidth": ""}, id="empty"),
        pytest.param({"WindowCenter": "x", "WindowWidth": "1000"}, id="text"),
        pytest.param({"WindowCenter": "2,0", "WindowWidth": "1,0"}, id="thousands by comma"),
        pytest.param({"WindowCenter": "nan", "WindowWidth": "inf"}, id="no numbers"),
    ],
)
def test_a_window_that_shows_nothing_gives_way_to_the_range(tags: dict[str, str]) -> None:
    assert differs(radiograph(TWELVE, **BITS, **tags), PLAIN) <= 0.5


def test_a_decimal_comma_is_a_decimal_point() -> None:
    assert differs(radiograph(TWELVE, **BITS, WindowCenter="2000,0", WindowWidth="1000,0"), WINDOWED) <= 0.5


def test_of_several_windows_the_first_that_shows_something_counts() -> None:
    data = radiograph(TWELVE, **BITS, WindowCenter="9999\\2000\\50", WindowWidth="10\\1000\\900")
    assert differs(data, WINDOWED) <= 0.5


CURVE = np.rint(np.sqrt(np.arange(4096)) * 63).astype(np.uint16)


@pytest.mark.parametrize("bits", [8, 9, 12, 16, 0])
def test_a_voi_table_is_applied_whatever_depth_it_claims(bits: int) -> None:
    data = radiograph(TWELVE, **BITS, **WINDOW, VOILUTSequence=[lut(CURVE, 0, bits)])
    assert differs(data, stretched(CURVE[TWELVE])) <= 0.5


def test_a_voi_table_without_data_gives_way_to_the_window() -> None:
    item = lut(CURVE, 0, 12)
    del item.LUTData
    for items in ([item], [], [lut(CURVE[:900], 0, 12), item]):
        if len(items) == 2:
            items[0].LUTDescriptor = [4096, 0, 12]
        assert differs(radiograph(TWELVE, **BITS, **WINDOW, VOILUTSequence=items), WINDOWED) <= 0.5


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_voi_table_may_begin_below_nought(syntax: str) -> None:
    item = lut(CURVE, -2048, 12)
    data = radiograph(TWELVE, syntax, **BITS, RescaleIntercept="-2048", RescaleSlope="1", VOILUTSequence=[item])
    assert differs(data, stretched(CURVE[TWELVE])) <= 0.5


# ---------------------------------------------------------------- polarity and shape


def test_inverse_presentation_does_not_turn_an_image_twice_or_against_its_photometric_interpretation() -> None:
    turned = {"PresentationLUTShape": "INVERSE"}
    assert differs(radiograph(TWELVE, **BITS, **turned, PhotometricInterpretation="MONOCHROME1"), 255 - PLAIN) <= 0.5
    assert differs(radiograph(TWELVE, **BITS, **turned), PLAIN) <= 0.5


@pytest.mark.parametrize(
    ("tags", "size"),
    [
        ({"PixelAspectRatio": ["2", "1"]}, (112, 192)),
        ({"PixelAspectRatio": ["2", "3"]}, (168, 96)),
        ({"PixelSpacing": ["0.2", "0.1"]}, (112, 192)),
        ({"ImagerPixelSpacing": ["0.1", "0.2"]}, (224, 96)),
        ({"PixelSpacing": ["0.1", "0.1"], "PixelAspectRatio": ["2", "1"]}, (112, 96)),
        ({"PixelAspectRatio": ["0", "1"]}, (112, 96)),
        ({"PixelAspectRatio": ["-2", "1"]}, (112, 96)),
        ({"PixelAspectRatio": ["1000", "1"]}, (112, 96)),
        ({"PixelSpacing": ["0.168", "0.1681"]}, (112, 96)),
    ],
)
def test_pixels_that_are_not_square_are_stretched(
    tags: dict[str, object], size: tuple[int, int], store: FolderStore, settings: Settings
) -> None:
    data = radiograph(TWELVE, **BITS, **tags)
    assert decode(data, 64).size == size
    (item,) = receive("image.dcm", iter([data]), store, settings)
    assert (item.image.width, item.image.height) == size
