"""Where the lungs are, and that every copy of an image is brought to the same framing."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from shared.errors import ImageRejected, ModelUnavailable
from shared.images import framing, samples
from shared.images.framing import Box, Localiser
from shared.images.preprocess import fit, prepare
from shared.models.heatmap import OVER, lay_over
from shared.models.spec import Framing, ModelSpec
from shared.refusals import Rejection
from tests.conftest import ROOT, draw, encode

DATA = ROOT.parent / "shared" / "data"
FRAMING = Framing(version=framing.VERSION, margin=0.05, sha256=framing.fingerprint(framing.VERSION))


@pytest.fixture(scope="module")
def localiser() -> Localiser:
    return framing.load(framing.VERSION)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Image.Image]:
    """A few synthetic chest images, small."""
    paths = samples.write_samples(tmp_path_factory.mktemp("samples"))[:6]
    return [Image.open(path).convert("L").resize((448, 384)) for path in paths]


@pytest.fixture
def framed(spec: ModelSpec) -> ModelSpec:
    return spec.model_copy(update={"framing": FRAMING})


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over the union of two boxes."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((box.right - box.left) * (box.bottom - box.top) for box in (one, other))
    return shared / (areas - shared)


@pytest.mark.parametrize(("kind", "least"), [("train/NORMAL", 0.85), ("train/PNEUMONIA", 0.82), ("elsewhere", 0.75)])
def test_the_box_is_where_a_person_put_it_on_images_it_never_learned(
    localiser: Localiser, data_folder: Path, kind: str, least: float
) -> None:
    with (ROOT / "training" / "lungs.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "held" and kind in row["file"]]
    assert len(rows) >= 12
    overlaps = []
    for row in rows:
        with Image.open(data_folder / row["file"]) as image:
            found = localiser.find(image.convert("L"))
        overlaps.append(overlap(found.box, Box(*(float(row[edge]) for edge in Box._fields))))
    assert np.mean(overlaps) >= least


def shifted(image: Image.Image) -> tuple[Image.Image, Box]:
    """Show the image with a black border on the left and on top; return it and where the whole image lies."""
    wide = ImageOps.expand(image, (60, 40, 0, 0), fill=0)
    return wide, Box(60 / wide.width, 40 / wide.height, 1.0, 1.0)


def stretched(image: Image.Image) -> tuple[Image.Image, Box]:
    return image.resize((round(image.width * 1.4), image.height)), framing.WHOLE


def larger(image: Image.Image) -> tuple[Image.Image, Box]:
    return image.resize((image.width * 3, image.height * 3)), framing.WHOLE


@pytest.mark.parametrize("change", [shifted, stretched, larger])
def test_the_box_moves_with_the_lungs(
    localiser: Localiser, drawn: list[Image.Image], change: Callable[[Image.Image], tuple[Image.Image, Box]]
) -> None:
    overlaps = []
    for image in drawn:
        before = localiser.find(image)
        changed, place = change(image)
        after = localiser.find(changed)
        width, height = place.right - place.left, place.bottom - place.top
        expected = Box(
            place.left + before.box.left * width,
            place.top + before.box.top * height,
            place.left + before.box.right * width,
            place.top + before.box.bottom * height,
        )
        overlaps.append(overlap(after.box, expected))
        assert after.confidence > framing.CONFIDENT
    assert min(overlaps) > 0.8
    assert np.mean(overlaps) > 0.9


def test_one_image_at_any_size_with_a_border_or_stretched_is_prepared_alike(
    drawn: list[Image.Image], framed: ModelSpec
) -> None:
    for image in drawn:
        once = fit(image, framed).astype(float)
        for change in (larger, stretched, shifted):
            apart = np.abs(fit(change(image)[0], framed) - once).mean() / once.std()
            assert apart < 0.35, change.__name__


@pytest.mark.parametrize(
    "picture",
    [pytest.param(lambda: draw(3), id="no chest"), pytest.param(lambda: draw(3, (300, 500)), id="tall")],
)
def test_a_picture_without_lungs_is_refused_in_words(
    picture: Callable[[], Image.Image], framed: ModelSpec, spec: ModelSpec
) -> None:
    data = encode(picture(), "PNG")
    with pytest.raises(ImageRejected, match="no_lungs confidence=") as refused:
        prepare(data, framed)
    assert refused.value.code is Rejection.NO_LUNGS
    assert prepare(data, spec).shape == (spec.input_size, spec.input_size, 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (700, 2), (3, 3), (64, 64), (2000, 31)])
def test_a_picture_of_any_shape_is_prepared_or_refused(
    size: tuple[int, int], framed: ModelSpec, localiser: Localiser
) -> None:
    noise = Image.fromarray(np.random.default_rng(4).integers(0, 256, size[::-1], dtype=np.uint8))
    for picture in (noise, Image.new("L", size, 0), Image.new("L", size, 255)):
        found = localiser.find(picture)
        assert np.isfinite(found.box).all()
        assert 0.0 <= found.confidence <= 1.0
        with pytest.raises(ImageRejected):
            fit(picture, framed)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_an_image_that_lies_or_stands_on_its_head_is_refused(
    drawn: list[Image.Image], framed: ModelSpec, turn: int
) -> None:
    for image in drawn:
        with pytest.raises(ImageRejected, match="no_lungs"):
            fit(image.rotate(turn, expand=True), framed)


def test_a_window_is_cut_as_it_lies_and_its_edge_goes_on_beyond_the_image() -> None:
    ramp = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (100, 1)))
    inside = framing.cut(ramp, Box(0.25, 0.0, 0.75, 1.0), 100)
    assert np.array_equal(inside[50], np.arange(50, 150))
    beyond = framing.cut(ramp, Box(-0.5, -0.5, 1.5, 1.5), 100)
    assert set(beyond[50, :25]) == {beyond[50, 25]}
    assert set(beyond[50, 75:]) == {beyond[50, 74]}
    assert np.array_equal(beyond[0], beyond[99])
    assert abs(int(beyond[50, 50]) - 100) <= 3


def test_another_localiser_than_the_spec_names_is_not_used(framed: ModelSpec) -> None:
    other = framed.model_copy(update={"framing": FRAMING.model_copy(update={"sha256": "0" * 64})})
    with pytest.raises(ModelUnavailable, match=r"Restore lungs-1\.npz"):
        fit(draw(), other)
    with pytest.raises(ModelUnavailable, match="There is: lungs-1"):
        framing.load("lungs-99")


def test_the_map_of_a_window_lies_where_the_window_was() -> None:
    whole = lay_over(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), (0.25, 0.5, 0.75, 1.0))
    assert whole.shape == (OVER, OVER)
    assert not whole[: OVER // 2].any()
    assert not whole[:, : OVER // 4].any()
    assert whole[OVER // 2, OVER // 4] == 1.0
    assert whole[-1, OVER * 3 // 4 - 1] == 4.0
    assert not lay_over(np.ones((4, 4), np.float32), (-0.5, 0.0, 0.5, 1.0))[:, OVER // 2 :].any()
