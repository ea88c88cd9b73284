"""Multipart bodies, however they are cut."""

import io
from collections.abc import Iterator

import pytest
from werkzeug.exceptions import BadRequest

from shared.errors import UploadRefused
from shared.settings import Settings
from web.uploads.multipart import READ_BYTES, FilePart, TextPart, read_parts

CONTENT_TYPE = "multipart/form-data; boundary=edge"


class Trickle(io.BytesIO):
    """A stream that never gives more than so many bytes at once."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self.most = most
        self.given = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(min(self.most, size if size is not None and size >= 0 else self.most))
        self.given += len(data)
        return data


def body(*parts: tuple[str, bytes], end: bytes = b"--edge--\r\n") -> bytes:
    lines = [
        f"--edge\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts
    ]
    return b"".join(lines) + end


def read(data: bytes, settings: Settings, most: int = 65536, length: int | None = None) -> list[tuple[str, str, bytes]]:
    found = []
    for part in read_parts(Trickle(data, most), CONTENT_TYPE, length, settings):
        if isinstance(part, TextPart):
            found.append((part.name, "", part.value.encode()))
        else:
            found.append((part.name, part.file_name, b"".join(part.chunks)))
    return found


IMAGE = b"\x00\r\n--edg\r\n-- edge\r\n--\r\r\n\r\n" * 50
PARTS = (
    ('name="name"', b"ward 3"),
    ('name="files"; filename="a/b.jpg"', IMAGE),
    ('name="files"; filename="c.png"', b""),
)


@pytest.mark.parametrize("most", [1, 2, 7, 64, 65536])
def test_parts_come_in_order_and_whole_however_the_body_is_cut(settings: Settings, most: int) -> None:
    assert read(body(*PARTS), settings, most) == [
        ("name", "", b"ward 3"),
        ("files", "a/b.jpg", IMAGE),
        ("files", "c.png", b""),
    ]


def _stop_early(chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield from chunks


def test_a_file_that_is_not_read_to_its_end_is_skipped(settings: Settings) -> None:
    data = body(('name="files"; filename="a"', b"x" * 500_000), ('name="files"; filename="b"', b"second"))
    parts = read_parts(Trickle(data, 1000), CONTENT_TYPE, None, settings)
    first = next(parts)
    assert isinstance(first, FilePart)
    reader = _stop_early(first.chunks)
    next(reader)
    reader.close()  # closes what it reads from, where that can be closed
    second = next(parts)
    assert isinstance(second, FilePart)
    assert (second.file_name, b"".join(second.chunks)) == ("b", b"second")


def test_no_more_is_read_than_is_asked_for(settings: Settings) -> None:
    stream = Trickle(body(('name="files"; filename="a"', b"x" * 1_000_000)), 65536)
    first = next(read_parts(stream, CONTENT_TYPE, None, settings))
    assert isinstance(first, FilePart)
    assert len(next(first.chunks)) <= READ_BYTES
    assert stream.given <= 2 * READ_BYTES


def test_no_more_is_read_than_was_declared(settings: Settings) -> None:
    data = body(*PARTS)
    stream = Trickle(data + b"the next request", 65536)
    list(read_parts(stream, CONTENT_TYPE, len(data), settings))
    assert stream.given == len(data)


@pytest.mark.parametrize(
    "head",
    [
        'name="files"; filename="Müller.jpg"',
        "name=\"files\"; filename*=UTF-8''M%C3%BCller.jpg",
        'name="files"; filename*=utf-8\'de\'M%C3%BCller.jpg; filename="M_ller.jpg"',
        'name="files"; filename="M_ller.jpg"; filename*=UTF-8\'\'M%C3%BCller.jpg',
        'name="files"; filename="=?utf-8?B?TcO8bGxlci5qcGc=?="; FileName*="UTF-8\'\'M%C3%BCller.jpg"',
        'name="files"; filename="M%C3%BCller.jpg"; filename*=ISO-8859-1\'\'M%FCller.jpg',
    ],
)
def test_names_that_are_not_ascii_are_read(settings: Settings, head: str) -> None:
    assert read(body((head, b"x")), settings) == [("files", "Müller.jpg", b"x")]


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b'filename="M\xfcller.jpg"', "M\N{REPLACEMENT CHARACTER}ller.jpg"),
        (b'filename="\x83J\x83\x8b\x83e.png"', "\N{REPLACEMENT CHARACTER}J" + "\N{REPLACEMENT CHARACTER}" * 2),
        (b"filename=\"a\"; filename*=UTF-8''M%FCller.jpg", "M\N{REPLACEMENT CHARACTER}ller.jpg"),
        (b"filename=\"a\"; filename*=KOI8-R''%ed", "a"),
        (b"filename=\"a; filename*=UTF-8''b\"", "a; filename*=UTF-8''b"),
    ],
    ids=["Latin-1", "Shift JIS", "Latin-1 in an extended name", "another extended set", "within quotes"],
)
def test_a_name_in_another_character_set_costs_no_image(settings: Settings, head: bytes, name: str) -> None:
    part = b'--edge\r\nContent-Disposition: form-data; name="files"; ' + head + b"\r\n\r\nimage\r\n"
    found = read(part + body(*PARTS), settings)
    assert [(field, data) for field, _, data in found] == [
        ("files", b"image"),
        ("name", b"ward 3"),
        *[("files", data) for data in (IMAGE, b"")],
    ]
    assert found[0][1].startswith(name)


def test_a_sender_that_goes_away_is_no_error_of_ours(settings: Settings) -> None:
    class Broken(Trickle):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.given:
                raise ConnectionResetError
            return super().read(size)

    parts = read_parts(Broken(body(*PARTS), 200), CONTENT_TYPE, None, settings)
    with pytest.raises(BadRequest, match="broke off"):
        for part in parts:
            list(part.chunks) if isinstance(part, FilePart) else None


def test_a_declared_length_over_the_limit_is_refused_before_a_byte_is_read(settings: Settings) -> None:
    stream = Trickle(body(*PARTS), 65536)
    with pytest.raises(UploadRefused, match="at most 2,048 MiB"):
        next(read_parts(stream, CONTENT_TYPE, settings.max_upload_bytes + 1, settings))
    assert stream.given == 0


def test_an_undeclared_length_is_counted(settings: Settings) -> None:
    small = settings.model_copy(update={"max_upload_bytes": 1000})
    with pytest.raises(UploadRefused, match="at most 1,000 bytes"):
        read(body(('name="files"; filename="a"', b"x" * 2000)), small, most=100)


def test_too_many_files_are_refused(settings: Settings) -> None:
    few = settings.model_copy(update={"max_images_per_upload": 2})
    images = [('name="files"; filename="a"', b"x")] * 3
    with pytest.raises(UploadRefused, match="at most 2 files"):
        read(body(*images), few)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(body(*PARTS, end=b""), "ends too soon", id="cut short"),
        pytest.param(b"", "ends too soon", id="empty"),
        pytest.param(b"no boundary at all", "ends too soon", id="no boundary"),
        pytest.param(b"--edge\r\nContent-Type: x\r\n\r\nx\r\n--edge--\r\n", "damaged", id="no disposition"),
        pytest.param(body(('name="files"; filename="a"', b"\r\n--edge almost")), "damaged", id="a boundary within"),
        pytest.param(b"--edge\r\nX: " + b"y" * 400_000, "do not end", id="endless header"),
        pytest.param(body(('name="name"', b"x" * 70_000)), "more than 65536 bytes", id="long text"),
        pytest.param(body(*[('name="name"', b"x")] * 40), "more than 32 text fields", id="many texts"),
    ],
)
def test_damaged_bodies_are_refused(settings: Settings, data: bytes, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(data, settings)
    assert words in str(caught.value.description)


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/form-data", "multipart/mixed; boundary=edge"])
def test_other_content_types_are_refused(settings: Settings, content_type: str) -> None:
    with pytest.raises(BadRequest):
        next(read_parts(io.BytesIO(body(*PARTS)), content_type, None, settings))
