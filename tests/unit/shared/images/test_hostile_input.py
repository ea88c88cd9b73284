"""What `make fuzz` found, each as the smallest file that showed it."""

import io
import struct
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit

from fuzz.radiographs import draw_radiograph
from shared.errors import ImageRejected
from shared.images.jpeg_scans import MOST_SCANS
from shared.images.preprocess import decode
from shared.intake import archive
from shared.intake.accept import Received
from shared.refusals import Rejection
from shared.settings import Settings
from shared.store.store import FolderStore
from tests.conftest import draw, encode, text_of
from tests.drawn_files import radiograph

IMAGE = encode(draw(1))
WHOLE = 100_000


def tags_that_share_their_bytes(count: int = 5000, size: int = 60_000) -> bytes:
    """A TIFF of 120 kB whose tags come to 300 MB."""
    tags = b"".join(struct.pack("<HHII", 1000 + tag, 7, size, 8) for tag in range(count))
    return b"II*\0" + struct.pack("<IH", 8, count) + tags + bytes(4 + size)


@pytest.mark.parametrize("kind", ["tiff", "exif of a png"])
def test_tags_that_share_their_bytes_take_no_memory(receive, kind: str) -> None:
    data = tags_that_share_their_bytes()
    if kind != "tiff":
        image = encode(draw(7), "PNG")
        place = image.find(b"IDAT") - 4
        data = image[:place] + chunk(b"eXIf", data) + image[place:]
    tracemalloc.start()
    receive(data)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20_000_000


@pytest.fixture
def receive(store: FolderStore, settings: Settings):
    def call(data: bytes) -> list[Received]:
        return list(archive.receive("upload", iter([data]), store, settings))

    return call


def with_scans(count: int) -> bytes:
    """A progressive image whose last scan is said `count` times."""
    image = encode(draw(2, (1500, 1500)), progressive=True, quality=10)
    scan = image[image.rfind(b"\xff\xda") : -2]
    return image[:-2] + scan * (count - image.count(b"\xff\xda")) + image[-2:]


def test_a_jpeg_of_ever_so_many_scans_is_refused_before_they_are_decoded() -> None:
    started = time.process_time()
    with pytest.raises(ImageRejected, match="scans") as refused:
        decode(with_scans(20_000), 192)
    assert refused.value.code is Rejection.UNREADABLE_IMAGE
    assert time.process_time() - started < 2, "the first hundred take 0.5 s, all of them two minutes"


def test_a_progressive_image_is_decoded() -> None:
    assert decode(encode(draw(2, (1500, 1500)), progressive=True, quality=10), WHOLE).size == (1500, 1500)


def in_radiograph(frame: bytes, syntax: str = JPEGBaseline8Bit) -> bytes:
    from pydicom import dcmread
    from pydicom.encaps import encapsulate

    dataset = dcmread(io.BytesIO(draw_radiograph(draw(3, (96, 80)), syntax)))
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()


def with_a_box_of_no_length() -> bytes:
    """A JPEG 2000 file on which pydicom 3.0.2 never ends."""
    frame = encode(draw(3, (96, 80)), "JPEG2000")
    place = frame.find(b"jp2c") - 4
    return frame[:place] + struct.pack(">I4s", 0, b"free") + frame[place:]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(in_radiograph(with_scans(MOST_SCANS + 1)), id="scans"),
        pytest.param(in_radiograph(encode(draw(3, (2000, 2000)))), id="jpeg of another size"),
        pytest.param(
            in_radiograph(encode(draw(3, (300, 300)), "JPEG2000"), JPEG2000Lossless), id="jpeg2000 of another size"
        ),
        pytest.param(in_radiograph(b"\xff\xd8\xff\xd9"), id="no image"),
        pytest.param(in_radiograph(with_a_box_of_no_length(), JPEG2000Lossless), id="box without length"),
    ],
)
def test_a_frame_that_is_not_the_image_of_the_header_is_refused(data: bytes) -> None:
    with pytest.raises(ImageRejected) as refused:
        decode(data, 64)
    assert refused.value.code is Rejection.UNREADABLE_IMAGE


def test_a_window_is_applied_alike_to_every_strip_of_a_tall_radiograph() -> None:
    samples = np.arange(300 * 70, dtype=np.uint16).reshape(300, 70)
    tags = {"WindowCenter": 9000, "WindowWidth": 8000, "RescaleSlope": "1", "RescaleIntercept": "0"}
    grey = np.asarray(decode(draw_radiograph(Image.fromarray(samples), ExplicitVRLittleEndian, **tags), 64), int)
    # PS3.3, C.11.2.1.2.1, with the range that the window leaves
    expected = (((samples - 8999.5) / 7999 + 0.5) * 255).clip(0, 255)
    assert np.abs(grey - expected).max() <= 1


@pytest.mark.parametrize("name", ["TransferSyntaxUID", "Modality"])
def test_other_elements_that_run_into_a_damaged_one_are_not_shown(receive, name: str) -> None:
    data = draw_radiograph(draw(4, (96, 80)), ExplicitVRLittleEndian, PatientName="Vertraulich")
    mark = b"UI\x14\x001.2.840.10008.1.2.1\0" if name == "TransferSyntaxUID" else b"CS\x02\x00DX"
    assert data.count(mark) == 1
    longer = mark[:2] + struct.pack("<H", 300) + mark[4:]
    (item,) = receive(data.replace(mark, longer))
    assert item.rejection is not None
    assert "Vertraulich" not in text_of(item.rejection)
    assert text_of(item.rejection).isprintable()


# ---------------------------------------------------------------- ZIP


def zipped(*images: bytes) -> bytearray:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for place, image in enumerate(images):
            file.writestr(f"{place}.jpg", image)
    return bytearray(out.getvalue())


def codes(received: list[Received]) -> list[str | None]:
    return [item.rejection.code.value if item.rejection else None for item in received]


def test_an_entry_without_a_name_is_an_entry(receive) -> None:
    data = zipped(IMAGE, encode(draw(5)))
    local, listed = data.find(b"0.jpg"), data.rfind(b"0.jpg")
    for place, length in ((listed, listed - 46 + 28), (local, 26)):
        data[length : length + 2] = b"\0\0"
        del data[place : place + 5]
    directory = data.find(b"PK\x01\x02")
    second = data.find(b"PK\x01\x02", directory + 4)
    (offset,) = struct.unpack_from("<I", data, second + 42)
    struct.pack_into("<I", data, second + 42, offset - 5)
    struct.pack_into("<II", data, data.rfind(b"PK\x05\x06") + 12, data.rfind(b"PK\x05\x06") - directory, directory)
    assert codes(receive(bytes(data))) == [None, None]


def test_an_entry_that_lies_before_the_file_costs_only_itself(receive) -> None:
    data = zipped(IMAGE, encode(draw(5)))
    end = data.rfind(b"PK\x05\x06")
    (directory,) = struct.unpack_from("<I", data, end + 16)
    # A directory that claims to begin 50 bytes later than it does moves every entry to the front by as much.
    struct.pack_into("<I", data, end + 16, directory + 50)
    assert codes(receive(bytes(data))) == ["zip_entry_damaged", "zip_entry_damaged"]


def test_entries_that_share_their_bytes_are_unpacked_once(receive) -> None:
    data = zipped(IMAGE)
    start, end = data.find(b"PK\x01\x02"), data.rfind(b"PK\x05\x06")
    entry, count = data[start:end], 1000
    tail = data[end : end + 8] + struct.pack("<HHIIH", count, count, len(entry) * count, start, 0)
    found = codes(receive(bytes(data[:start] + entry * count + tail)))
    assert found.count(None) == 1
    assert found.count("zip_entry_damaged") == count - 1


# ---------------------------------------------------------------- which way up

KINDS = ("JPEG", "PNG", "TIFF", "WEBP")


def turned(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(draw(6, (300, 200)), kind, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_stored_with_the_size_in_which_it_is_shown(receive, kind: str, orientation: int) -> None:
    data = turned(kind, orientation)
    (item,) = receive(data)
    assert (item.image.width, item.image.height) == decode(data, WHOLE).size
    assert item.image.width == (200 if orientation > 4 else 300)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6"/></x:xmpmeta>'
SAYING = {
    "eXIf": chunk(b"eXIf", turned("PNG", 6).split(b"eXIf")[1][:-12].split(b"IDAT")[0][:-8]),
    "iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
}


@pytest.mark.parametrize("says", SAYING)
@pytest.mark.parametrize("behind", [False, True], ids=["before its pixels", "behind them"])
def test_a_png_may_say_anywhere_that_it_lies(receive, says: str, behind: bool) -> None:
    image = encode(draw(6, (300, 200)), "PNG")
    place = image.rfind(b"IEND") - 4 if behind else image.find(b"IDAT") - 4
    data = image[:place] + SAYING[says] + image[place:]
    (item,) = receive(data)
    assert (item.image.width, item.image.height) == (200, 300) == decode(data, WHOLE).size


def test_no_pixel_of_a_png_is_decoded_at_intake(receive, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_image: Image.Image) -> None:
        pytest.fail("decoded")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    (item,) = receive(encode(draw(6, (300, 200)), "PNG"))
    assert item.image is not None


def test_a_good_image_of_every_kind_in_the_data_folder_is_still_taken(receive, data_folder: Path) -> None:
    for path in (*sorted((data_folder / "dicom").glob("*.dcm")), *sorted((data_folder / "adults").glob("*.png"))[:2]):
        data = path.read_bytes()
        (item,) = receive(data)
        assert (item.image.width, item.image.height) == decode(data, WHOLE).size


_ITEM = b"\xfe\xff\x00\xe0\0\0\0\0"
SMALLEST = {
    "elements": b"".join(struct.pack("<HH2sH", 9 + 2 * (n >> 16), n & 0xFFFF, b"LO", 0) for n in range(120_000)),
    "items": b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + _ITEM * 120_000 + b"\xfe\xff\xdd\xe0\0\0\0\0",
    "items of a table": b"\x28\0\x10\x30SQ\0\0" + struct.pack("<I", 800_000) + _ITEM * 100_000,
}
"""What costs a reader most for its size; 60 MiB of it took minutes and GiB."""


@pytest.mark.parametrize("kind", sorted(SMALLEST))
def test_a_header_of_ever_so_many_pieces_is_refused(receive, kind: str) -> None:
    data = radiograph(np.zeros((100, 100), np.uint8))
    place = data.index(b"\xe0\x7f\x10\0") if kind == "items of a table" else data.index(b"\x08\0\x16\0")
    (item,) = receive(data[:place] + SMALLEST[kind] + data[place:])
    assert item.rejection.code is Rejection.UNREADABLE_IMAGE
