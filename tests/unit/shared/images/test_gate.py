"""What an image is before it is read: chest radiographs pass however they come, and each other kind has its code."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from pydicom import Dataset

from shared.errors import ImageRejected, ModelUnavailable
from shared.images import gate, samples
from shared.images.dicom_use import refuse_unless_intended
from shared.images.preprocess import decode, refuse_unreadable
from shared.models.folder import list_models
from shared.models.spec import ModelSpec
from shared.refusals import OF_THE_GATE, Rejection, explain
from tests.conftest import ROOT, encode
from tests.unit.shared.images.test_dicom import make

DATA = ROOT.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the images in ../shared/data")
AGES = (1, 5)


@pytest.fixture
def gated(spec: ModelSpec) -> ModelSpec:
    return spec.model_copy(update={"gate": gate.default(AGES)})


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The synthetic samples that ship."""
    return samples.write_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def chests(drawn: list[Path]) -> list[Image.Image]:
    """Some of the synthetic samples, and real originals where they are at hand."""
    paths = drawn[::5] + sorted((DATA / "originals").rglob("*.jp*g"))[::60]
    return [Image.open(path).convert("L").resize((504, 420)) for path in paths]


def outcome(data: bytes, spec: ModelSpec, ignored: frozenset[Rejection] = frozenset()) -> str:
    """Return the code that a file is refused under, or `read`."""
    image = decode(data, spec.decoded_side)
    try:
        refuse_unreadable(data, image, spec, ignored)
    except ImageRejected as refusal:
        return refusal.code.value
    return "read"


def as_jpeg(image: Image.Image) -> bytes:
    return encode(image, "JPEG", quality=90)


def as_dicom(image: Image.Image) -> bytes:
    return make(np.asarray(image), PatientAge="003Y", BodyPartExamined="CHEST", ViewPosition="AP")


def as_it_lay_in_the_camera(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    return encode(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=exif)


def with_border(image: Image.Image) -> bytes:
    return as_jpeg(ImageOps.expand(image, 40, 0))


def small(image: Image.Image) -> bytes:
    return as_jpeg(image.resize((224, 224), Image.Resampling.BILINEAR, reducing_gap=2.0))


WAYS = [as_jpeg, as_dicom, as_it_lay_in_the_camera, with_border, small]


def turned(how: Image.Transpose) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.transpose(how)


def screenshot(image: Image.Image) -> Image.Image:
    page = Image.new("L", (800, 600), 235)
    pen = ImageDraw.Draw(page)
    pen.rectangle((0, 0, 800, 60), fill=60)
    for line in range(30):
        pen.rectangle((20, 90 + 16 * line, 60 + (line * 37) % 180, 97 + 16 * line), fill=30)
    page.paste(image.resize((400, 380)), (320, 130))
    return page


CHANGES: dict[str, tuple[Callable[[Image.Image], Image.Image], str, str]] = {
    "as it is": (lambda image: image, "read", ""),
    "mirrored": (ImageOps.mirror, "read", ""),
    "clockwise": (turned(Image.Transpose.ROTATE_270), "rotated", "Turn it 90 degrees anticlockwise"),
    "upside down": (turned(Image.Transpose.ROTATE_180), "rotated", "by 180 degrees"),
    "anticlockwise": (turned(Image.Transpose.ROTATE_90), "rotated", "Turn it 90 degrees clockwise"),
    "inverted": (ImageOps.invert, "inverted", "Invert the image"),
    "too dark": (lambda image: image.point([level // 8 for level in range(256)]), "too_dark", "window"),
    "too bright": (lambda image: image.point([224 + level // 8 for level in range(256)]), "too_bright", "window"),
    "screenshot": (screenshot, "not_chest", ""),
}


@pytest.mark.parametrize("name", ["clockwise", "upside down", "anticlockwise", "inverted"])
def test_what_the_gate_refuses_for_its_pose_can_be_put_right(
    chests: list[Image.Image], gated: ModelSpec, name: str
) -> None:
    changed = CHANGES[name][0](chests[0])
    with pytest.raises(ImageRejected) as refused:
        refuse_unreadable(b"", changed, gated)
    assert np.array_equal(gate.put_right(changed, refused.value), chests[0])


def test_every_sample_passes(drawn: list[Path], gated: ModelSpec) -> None:
    assert {outcome(path.read_bytes(), gated) for path in drawn} == {"read"}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_chest_image_passes_in_whatever_form_it_comes(
    chests: list[Image.Image], gated: ModelSpec, way: Callable[[Image.Image], bytes]
) -> None:
    assert {outcome(way(image), gated) for image in chests} == {"read"}


@pytest.mark.parametrize("name", CHANGES)
def test_each_kind_has_its_code_and_says_what_to_do(chests: list[Image.Image], gated: ModelSpec, name: str) -> None:
    change, code, words = CHANGES[name]
    found = [outcome(as_jpeg(change(image)), gated) for image in chests]
    assert found.count(code) >= len(chests) - 1, found
    if code == "read":
        return
    with pytest.raises(ImageRejected) as refused:
        gate.refuse_unless_chest(change(chests[0]), gate.default(AGES))
    assert words in explain(refused.value.code, refused.value.details).text


@pytest.mark.parametrize("name", ["as it is", "upside down", "inverted"])
def test_one_image_has_one_outcome_in_whatever_form_it_comes(
    chests: list[Image.Image], gated: ModelSpec, name: str
) -> None:
    change, code, _ = CHANGES[name]
    found = [[outcome(way(change(image)), gated) for way in WAYS] for image in chests]
    assert sum(codes == [code] * len(WAYS) for codes in found) >= len(found) - 1, found


@needs_data
@pytest.mark.parametrize("kind", ["hand", "photo"])
def test_what_is_no_chest_is_refused(gated: ModelSpec, kind: str) -> None:
    found = {path.name: outcome(path.read_bytes(), gated) for path in (DATA / "not_chest").glob(f"{kind}*")}
    assert found
    assert [name for name, code in found.items() if code == "read"] == []


def test_a_site_can_let_a_code_pass(chests: list[Image.Image], gated: ModelSpec) -> None:
    upside_down = as_jpeg(chests[0].transpose(Image.Transpose.ROTATE_180))
    assert outcome(upside_down, gated) == "rotated"
    assert outcome(upside_down, gated, frozenset({Rejection.INVERTED})) == "rotated"
    assert outcome(upside_down, gated, frozenset({Rejection.ROTATED})) == "read"
    assert outcome(make(PatientAge="062Y"), gated, OF_THE_GATE) == "read"


def test_a_model_without_a_gate_reads_everything(chests: list[Image.Image], spec: ModelSpec) -> None:
    assert outcome(as_jpeg(ImageOps.invert(chests[0])), spec) == "read"


def test_another_gate_than_the_spec_names_is_not_used(chests: list[Image.Image]) -> None:
    other = gate.default(AGES).model_copy(update={"sha256": "0" * 64})
    with pytest.raises(ModelUnavailable, match=rf"Restore {gate.VERSION}\.npz"):
        gate.look(chests[0], other)
    with pytest.raises(ModelUnavailable, match=f"There is: kinds-1, {gate.VERSION}"):
        gate.load("kinds-99")


def test_a_model_made_before_lateral_views_were_learnt_keeps_its_gate(chests: list[Image.Image]) -> None:
    former = gate.default(AGES).model_copy(update={"version": "kinds-1", "sha256": gate.fingerprint("kinds-1")})
    upside_down = chests[0].transpose(Image.Transpose.ROTATE_180)
    assert gate.look(chests[0], former).refused is None
    assert gate.look(upside_down, former).refused is Rejection.ROTATED


def test_the_committed_models_have_the_gate_that_ships() -> None:
    specs = list_models(ROOT / "models")
    assert specs
    assert [spec.name for spec in specs if spec.gate != gate.default(AGES)] == []


# ---------------------------------------------------------------- what the header of a DICOM file says


def view_code(code: str) -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SCT", "lateral"
    return [item]


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"PatientAge": "003Y"}, "read"),
        ({"PatientAge": "018M"}, "read"),
        ({"PatientAge": "071M"}, "read"),
        ({"PatientAge": "072M"}, "outside_intended_use"),
        ({"PatientAge": "005Y"}, "read"),
        ({"PatientAge": "006Y"}, "outside_intended_use"),
        ({"PatientAge": "062Y"}, "outside_intended_use"),
        ({"PatientAge": "62"}, "outside_intended_use"),
        ({"PatientAge": "020D"}, "outside_intended_use"),
        ({"PatientAge": "011M"}, "outside_intended_use"),
        ({"PatientAge": "999Y"}, "read"),
        ({"PatientAge": "adult"}, "read"),
        ({"PatientBirthDate": "20200615", "StudyDate": "20250614"}, "read"),
        ({"PatientBirthDate": "20190614", "StudyDate": "20250614"}, "outside_intended_use"),
        ({"PatientBirthDate": "20190615", "StudyDate": "20250614"}, "read"),
        ({"PatientBirthDate": "19500101", "AcquisitionDate": "20250614"}, "outside_intended_use"),
        ({"PatientBirthDate": "19000101", "StudyDate": "20250614"}, "read"),
        ({"PatientBirthDate": "20260101", "StudyDate": "20250614"}, "read"),
        ({"PatientBirthDate": "1950.01.01", "StudyDate": "2025.06.14"}, "outside_intended_use"),
        ({"PatientBirthDate": "19500101"}, "read"),
        ({"BodyPartExamined": "CHEST"}, "read"),
        ({"BodyPartExamined": "THORAX AP"}, "read"),
        ({"BodyPartExamined": "HAND"}, "outside_intended_use"),
        ({"BodyPartExamined": "hands"}, "outside_intended_use"),
        ({"ViewPosition": "AP"}, "read"),
        ({"ViewPosition": "PA"}, "read"),
        ({"ViewPosition": "LL"}, "not_frontal"),
        ({"ViewPosition": "RLD"}, "not_frontal"),
        ({"ViewPosition": "Lateral"}, "not_frontal"),
        ({"PatientOrientation": ["L", "F"]}, "read"),
        ({"PatientOrientation": ["A", "F"]}, "not_frontal"),
        ({"ViewCodeSequence": view_code("399348003")}, "read"),
        ({"ViewCodeSequence": view_code("399173006")}, "not_frontal"),
        ({"ViewPosition": "LL", "PatientAge": "062Y"}, "not_frontal"),
    ],
    ids=str,
)
def test_the_header_decides_by_age_part_and_view(
    chests: list[Image.Image], gated: ModelSpec, tags: dict[str, object], code: str
) -> None:
    assert outcome(make(np.asarray(chests[0]), **tags), gated) == code


def test_a_refusal_does_not_tell_the_age() -> None:
    with pytest.raises(ImageRejected) as refused:
        refuse_unless_intended(make(PatientAge="062Y"), gate.default(AGES))
    said = explain(refused.value.code, refused.value.details).text
    assert "62" not in said
    assert "older than 5 years" in said


def test_a_header_of_many_values_does_no_harm(gated: ModelSpec, chests: list[Image.Image]) -> None:
    data = make(np.asarray(chests[0]), BodyPartExamined=["CHEST", "ABDOMEN"], ViewPosition=["PA", "LL"])
    assert outcome(data, gated) == "read"


@pytest.mark.parametrize(
    ("tags", "before", "after"),
    [
        ({"PatientAge": "062Y"}, b"\x10\x00\x10\x10AS", b"\x10\x00\x10\x10FD"),
        ({"PatientAge": "062Y"}, b"\x10\x00\x10\x10AS", b"\x10\x00\x10\x10US"),
        ({"ViewPosition": "LL"}, b"\x18\x00\x01\x51CS", b"\x18\x00\x01\x51FD"),
        ({"PatientBirthDate": "19500101", "StudyDate": "2025"}, b"19500101", b"1950\xff\x001\n"),
    ],
)
def test_a_damaged_element_says_nothing(
    chests: list[Image.Image], gated: ModelSpec, tags: dict[str, object], before: bytes, after: bytes
) -> None:
    whole = make(np.asarray(chests[0]), **tags)
    assert whole.count(before) == 1
    assert outcome(whole.replace(before, after), gated) == "read"


@needs_data
def test_a_real_radiograph_of_an_adult_is_refused_by_its_header(gated: ModelSpec) -> None:
    seen = {}
    for path in sorted(Path(DATA / "dicom").glob("*.dcm")):
        assert outcome(path.read_bytes(), gated) == "outside_intended_use"
        seen[path.stem] = gate.look(decode(path.read_bytes(), 224), gate.default(AGES)).refused
    assert seen == {"cr_chest_pa": None, "cr_chest_pa_monochrome1": Rejection.INVERTED}, "the latter is marked wrongly"
