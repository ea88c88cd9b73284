"""Uploads, good and hostile: each file gets an image or a code, and nothing is written outside the store."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.intake import archive
from shared.intake.accept import Received, display_name
from shared.refusals import Rejection
from shared.settings import Settings
from shared.store.store import FolderStore
from tests.conftest import draw, encode, text_of

IMAGE = encode(draw(1))


def chunks(data: bytes, size: int = 5000) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, data in entries.items():
            file.writestr(zipfile.ZipInfo(name), data, compression)
    return out.getvalue()


@pytest.fixture
def receive(store: FolderStore, settings: Settings) -> Callable[..., list[Received]]:
    def call(name: str, data: bytes, **limits: int) -> list[Received]:
        return list(archive.receive(name, chunks(data), store, settings.model_copy(update=limits)))

    return call


def codes(received: list[Received]) -> dict[str, str | None]:
    return {item.file_name: item.rejection.code.value if item.rejection else None for item in received}


def test_the_entries_of_a_zip_come_in_natural_order(receive) -> None:
    image = encode(draw(0))
    packed = zipped(dict.fromkeys(("b/10.png", "b/2.png", "a.png", "b/1.png"), image))
    found = [item.file_name for item in receive("images.zip", packed)]
    assert found == ["images.zip/a.png", "images.zip/b/1.png", "images.zip/b/2.png", "images.zip/b/10.png"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP"])
def test_each_format_is_taken_whatever_its_name(receive, store: FolderStore, kind: str) -> None:
    data = encode(draw(2), kind)
    (item,) = receive("image.txt", data)
    assert item.rejection is None
    assert (item.image.width, item.image.height) == (256, 224)
    assert item.image.media_type == f"image/{kind.lower()}"
    assert store.get(item.image.sha256) == data


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", Rejection.EMPTY_FILE, id="empty"),
        pytest.param(b"patient list, not an image", Rejection.UNKNOWN_FORMAT, id="text"),
        pytest.param(b"\xff\xd8\xff" + b"\0" * 200, Rejection.UNREADABLE_IMAGE, id="jpeg-header-only"),
        pytest.param(b"RIFF\0\0\0\0WAVE" + b"\0" * 100, Rejection.UNKNOWN_FORMAT, id="riff-that-is-no-webp"),
        pytest.param(b"\0" * 128 + b"DICM" + b"\0" * 100, Rejection.UNREADABLE_IMAGE, id="dicom-header-only"),
        pytest.param(encode(draw(3, (40, 300))), Rejection.TOO_SMALL, id="too-small"),
        pytest.param(b"GIF89a" + b"\0" * 100, Rejection.UNKNOWN_FORMAT, id="gif"),
    ],
)
def test_what_is_no_image_is_refused_with_its_code(receive, store: FolderStore, data: bytes, code: Rejection) -> None:
    (item,) = receive("image.jpg", data)
    assert item.image is None
    assert item.rejection.code is code
    assert text_of(item.rejection).endswith(".")
    assert [path for path in store.root.rglob("*") if path.is_file() and path.name != "keys.json"] == []


def test_an_image_over_the_size_limit_is_refused_while_it_streams(receive) -> None:
    assert codes(receive("a.jpg", IMAGE, max_image_bytes=len(IMAGE) - 1)) == {"a.jpg": "too_large"}


@pytest.mark.parametrize("side", [9_000, 10_000, 40_000])
def test_a_png_that_claims_too_many_pixels_is_refused_by_its_header(receive, side: int) -> None:
    bomb = bytearray(encode(draw(4), "PNG"))
    bomb[16:24] = struct.pack(">II", side, side)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    assert codes(receive("bomb.png", bytes(bomb))) == {"bomb.png": "too_many_pixels"}


def test_pixels_between_our_limit_and_the_decoders_are_refused(receive) -> None:
    assert codes(receive("a.png", encode(draw(4), "PNG"), max_image_pixels=1000)) == {"a.png": "too_many_pixels"}


def test_a_zip_with_folders_gives_each_image_under_the_zips_name_and_its_own(receive) -> None:
    data = zipped({"ward/": b"", "ward/a.jpg": IMAGE, "ward/deep/b.jpg": encode(draw(5)), "c.txt": b"notes"})
    assert codes(receive("up/images.zip", data)) == {
        "up/images.zip/ward/a.jpg": None,
        "up/images.zip/ward/deep/b.jpg": None,
        "up/images.zip/c.txt": "unknown_format",
    }


@pytest.mark.parametrize(
    ("zip_name", "entry", "shown"),
    [
        (" a\nb\\c.zip ", "\x07 d.jpg ", "a\ufffdb/c.zip/\ufffd d.jpg"),
        ("", "d.jpg", "unnamed/d.jpg"),
        ("z" * 600, "e" * 100, "z" * 411 + "/" + "e" * 100),
        ("z.zip", "e" * 600, "e" * 512),
    ],
)
def test_an_entrys_name_is_made_fit_to_be_shown(receive, zip_name: str, entry: str, shown: str) -> None:
    assert codes(receive(zip_name, zipped({entry: IMAGE}))) == {shown: None}


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_a_zip_is_known_wherever_a_request_is_cut(store: FolderStore, settings: Settings, first: int) -> None:
    data = zipped({"a.jpg": IMAGE})
    assert codes(archive.receive("images.zip", iter([data[:first], data[first:]]), store, settings)) == {
        "images.zip/a.jpg": None
    }


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_a_damaged_entry_of_any_compression_costs_only_itself(receive, compression: int) -> None:
    data = bytearray(zipped({"a.jpg": IMAGE, "good.jpg": encode(draw(6))}, compression))
    data[60:200] = bytes(140)
    assert codes(receive("images.zip", bytes(data))) == {
        "images.zip/a.jpg": "zip_entry_damaged",
        "images.zip/good.jpg": None,
    }


@pytest.mark.parametrize("is_wide", [False, True])
def test_a_huge_directory_is_refused_before_it_is_read(receive, is_wide: bool) -> None:
    """ZIP64 has a second record of its length (APPNOTE.TXT 4.3.14), in which a third may seem to stand."""
    noted = struct.pack("<4s6H3I5H2I", b"PK\1\2", 45, 45, 0, 0, 0, 0, 0, 0, 0, 1, 0xFFFF, 0xFFFF, 0, 0, 0, 0)
    directory = (noted + b"a" + bytes(2 * 0xFFFF)) * 20
    lying = int.from_bytes(b"PK\6\6", "little")
    wide = struct.pack("<4sQ2H2I4Q", b"PK\6\6", lying, 45, 45, 0, 0, 20, 20, len(directory), 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(directory), 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 20, 20, 0 if is_wide else len(directory), 0, 0)
    data = b"PK\3\4" + bytes(26) + directory + (wide + locator if is_wide else b"") + end
    assert codes(receive("images.zip", data, max_zip_entries=100)) == {"images.zip": "zip_too_many_entries"}


def test_a_zip_that_says_that_its_directory_is_longer_than_itself_is_damaged(receive) -> None:
    data = bytearray(zipped({"a.jpg": IMAGE}))
    end = data.rfind(b"PK\x05\x06")
    data[end + 12 : end + 16] = struct.pack("<I", 2**31)
    assert codes(receive("images.zip", bytes(data))) == {"images.zip": "zip_unreadable"}


def test_two_joined_zips_give_the_images_of_one_and_say_that_there_were_others(receive) -> None:
    joined = receive("joined.zip", zipped({"a.jpg": IMAGE}) + zipped({"b.jpg": IMAGE}))
    assert codes(joined) == {"joined.zip/b.jpg": None, "joined.zip": "zip_unreadable"}
    assert "does not name" in text_of(joined[1].rejection)


def test_a_zip_joined_to_an_empty_one_is_whole(receive) -> None:
    assert codes(receive("joined.zip", zipped({}) + zipped({"b.jpg": IMAGE}))) == {"joined.zip/b.jpg": None}


def test_droppings_of_file_managers_are_passed_over(receive) -> None:
    data = zipped({"__MACOSX/._a.jpg": b"x", ".DS_Store": b"x", "Thumbs.db": b"x", "a.jpg": IMAGE})
    assert codes(receive("images.zip", data)) == {"images.zip/a.jpg": None}


def encrypted(data: bytes) -> bytes:
    """Set the flag that says so in both headers of the first entry."""
    out = bytearray(data)
    out[6] |= 1
    out[out.index(b"PK\x01\x02") + 8] |= 1
    return bytes(out)


def link(name: str) -> bytes:
    out = io.BytesIO()
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(info, "/etc/passwd")
        file.writestr("good.jpg", IMAGE)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "bad", "code"),
    [
        pytest.param(
            zipped({"../evil.jpg": IMAGE, "good.jpg": IMAGE}), "../evil.jpg", "zip_entry_unsafe_name", id="up"
        ),
        pytest.param(
            zipped({"/etc/evil.jpg": IMAGE, "good.jpg": IMAGE}), "/etc/evil.jpg", "zip_entry_unsafe_name", id="root"
        ),
        pytest.param(
            zipped({"C:\\evil.jpg": IMAGE, "good.jpg": IMAGE}), "C:/evil.jpg", "zip_entry_unsafe_name", id="drive"
        ),
        pytest.param(link("link.jpg"), "link.jpg", "zip_entry_unsafe_name", id="link"),
        pytest.param(
            zipped({"in.zip": zipped({"a": b"1"}), "good.jpg": IMAGE}), "in.zip", "zip_entry_nested", id="nested"
        ),
        pytest.param(
            encrypted(zipped({"e.jpg": IMAGE, "good.jpg": IMAGE})), "e.jpg", "zip_entry_encrypted", id="password"
        ),
        pytest.param(
            zipped({"b.bmp": b"BM" + b"\0" * 5_000_000, "good.jpg": IMAGE}), "b.bmp", "zip_entry_bomb", id="ratio"
        ),
        pytest.param(zipped({"empty.jpg": b"", "good.jpg": IMAGE}), "empty.jpg", "empty_file", id="empty"),
    ],
)
def test_a_hostile_entry_is_refused_and_the_others_go_on(receive, data: bytes, bad: str, code: str) -> None:
    assert codes(receive("images.zip", data)) == {f"images.zip/{bad}": code, "images.zip/good.jpg": None}


def test_a_damaged_entry_is_refused_and_the_others_go_on(receive) -> None:
    data = bytearray(zipped({"a.jpg": IMAGE, "good.jpg": encode(draw(6))}, zipfile.ZIP_STORED))
    data[200] ^= 0xFF
    assert codes(receive("images.zip", bytes(data))) == {
        "images.zip/a.jpg": "zip_entry_damaged",
        "images.zip/good.jpg": None,
    }


@pytest.mark.parametrize(
    ("data", "limits", "code"),
    [
        pytest.param(zipped({"a.jpg": IMAGE})[:-30], {}, "zip_unreadable", id="cut-short"),
        pytest.param(
            zipped({"a.jpg": IMAGE, "b.jpg": IMAGE}), {"max_zip_entries": 1}, "zip_too_many_entries", id="entries"
        ),
        pytest.param(zipped({"a.jpg": IMAGE, "b.jpg": IMAGE}), {"max_zip_bytes": 2000}, "zip_too_large", id="total"),
        pytest.param(zipped({}), {}, "zip_empty", id="empty"),
        pytest.param(zipped({"folder/": b""}), {}, "zip_empty", id="only-folders"),
    ],
)
def test_a_zip_that_is_hostile_as_a_whole_is_refused_once(receive, data: bytes, limits: dict, code: str) -> None:
    assert codes(receive("images.zip", data, **limits)) == {"images.zip": code}


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("a\\b\\c.jpg", "a/b/c.jpg"),
        ("a\x00b\n.jpg", "a\ufffdb\ufffd.jpg"),
        ("", "unnamed"),
        ("x" * 600, "x" * 512),
        ("\u202egpj.exe", "\ufffdgpj.exe"),
        ("می\u200cشود क्\u200dष.jpg", "می\u200cشود क्\u200dष.jpg"),
        ("胸部\u3000正面 3.00\u202fAM\u00a0.png", "胸部\u3000正面 3.00\u202fAM\u00a0.png"),
    ],
)
def test_a_name_is_made_fit_to_be_shown(given_name: str, shown: str) -> None:
    assert display_name(given_name) == shown


@given(data=st.binary(max_size=400), position=st.integers(0, 2000), seed=st.booleans())
@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_get_an_outcome(receive, data: bytes, position: int, seed: bool) -> None:
    base = zipped({"a.jpg": IMAGE, "b.jpg": IMAGE}, zipfile.ZIP_STORED) if seed else IMAGE
    mutated = base[:position] + data + base[position + len(data) :]
    received = receive("upload", mutated)
    assert received
    assert all((item.image is None) != (item.rejection is None) for item in received)
