"""Parse multipart bodies (RFC 7578), one part open at a time; no file is ever held in memory."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias
from urllib.parse import unquote

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from werkzeug.exceptions import BadRequest
from werkzeug.http import parse_options_header

from shared.errors import UploadRefused
from shared.settings import MIB, Settings
from web.http.pacing import ClientTooSlow
from web.languages.text import _, count

READ_BYTES: Final = 128 * 1024
_MOST_TEXT_BYTES: Final = 64 * 1024
_MOST_TEXTS: Final = 32
_ONE_BYTE: Final = "latin-1"
"""Decodes any header bytes without loss; `_decode` then determines their real encoding."""
_OPTION: Final = re.compile(r';\s*([^\s;="]+)\s*=\s*("(?:\\.|[^\\"])*"|[^;"]*)')
_EXTENDED: Final = re.compile(r"(utf-8|us-ascii|iso-8859-1)'[^']*'(.*)", re.IGNORECASE | re.ASCII)

Event: TypeAlias = MultipartSegment | bytes | bytearray | None
"""The parser's events: start of a part, data, end of a part."""


class Stream(Protocol):
    """A request's body."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""


@dataclass(frozen=True)
class TextPart:
    """A field of the form."""

    name: str
    value: str


@dataclass(frozen=True)
class FilePart:
    """A file of the form; its chunks are unavailable once the next part is requested."""

    name: str
    file_name: str
    chunks: Iterator[bytes]


class _Chunks:
    """The data of one part.

    It is no generator: a reader may stop early and close its source, and the rest must still be skipped.
    """

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        event = None if self._ended else next(self._events)
        assert not isinstance(event, MultipartSegment)  # noqa: S101  # the parser ends a part before the next
        if event is None:
            self._ended = True
            raise StopIteration
        return bytes(event)


def read_parts(
    stream: Stream, content_type: str, length: int | None, settings: Settings
) -> Iterator[TextPart | FilePart]:
    """Yield the parts of a request's body in order; at most `length` bytes are read, if known.

    Raises UploadRefused where the request exceeds a limit, BadRequest where it is malformed.
    """
    if length is not None and length > settings.max_upload_bytes:
        raise _too_many_bytes(settings)
    files = texts = 0
    parser = PushMultipartParser(_boundary(content_type), header_charset=_ONE_BYTE)
    events = _read_events(stream, parser, length, settings)
    for event in events:
        assert isinstance(event, MultipartSegment)  # noqa: S101  # the last part was read to its end
        chunks, name, file_name = _Chunks(events), _decode(event.name or ""), _file_name(event)
        if file_name is None:
            texts += 1
            if texts > _MOST_TEXTS:
                raise BadRequest(_("The form has more than %(most)s text fields.", most=_MOST_TEXTS))
            yield TextPart(name, _read_text(chunks))
        else:
            files += 1
            if files > settings.max_images_per_upload:
                most = count(settings.max_images_per_upload)
                raise UploadRefused(_("One request takes at most %(most)s files. Send the rest in another.", most=most))
            yield FilePart(name, file_name, chunks)
            for _rest in chunks:
                pass


def _boundary(content_type: str) -> bytes:
    media_type, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if media_type != "multipart/form-data" or not boundary:
        said = _("Send X-rays as multipart/form-data with a boundary. Received: '%(type)s'.", type=content_type)
        raise BadRequest(said)
    return boundary.encode()


def _file_name(part: MultipartSegment) -> str | None:
    """Return a part's file name; None for a text.

    Programs send names in three ways. As UTF-8 in `filename`, as browsers do and RFC 7578, section 4.2, requires. In
    some older encoding that is invalid UTF-8: invalid bytes are replaced, and the image is accepted. And
    percent-encoded in `filename*` beside an encoded or stripped `filename`: RFC 7578 forbids it, RFC 6266, section 4.3,
    prefers it over `filename` at any position.
    """
    header = part["Content-Disposition"]
    if "filename*" in header.lower():
        options = {name.lower(): value.strip(' "') for name, value in _OPTION.findall(header)}
        extended = _EXTENDED.fullmatch(options.get("filename*", ""))
        if extended is not None:
            return unquote(extended[2], extended[1], "replace")
    return None if part.filename is None else _decode(part.filename)


def _decode(text: str) -> str:
    """Decode as UTF-8 a text decoded by `_ONE_BYTE`."""
    return text.encode(_ONE_BYTE).decode(errors="replace")


def _read_events(
    stream: Stream, parser: PushMultipartParser, length: int | None, settings: Settings
) -> Iterator[Event]:
    try:
        for data in _read_stream(stream, length, settings):
            yield from parser.parse(data)
            if parser.closed:
                return
        parser.close()
    except ParserLimitReached as error:
        raise BadRequest(_("The form is damaged: the headers of a part do not end.")) from error
    except MultipartError as error:
        raise BadRequest(_("The form is damaged or ends too soon. Send it again.")) from error


def _read_stream(stream: Stream, length: int | None, settings: Settings) -> Iterator[bytes]:
    received = 0
    while data := _read(stream, READ_BYTES if length is None else min(READ_BYTES, length - received)):
        received += len(data)
        if received > settings.max_upload_bytes:
            raise _too_many_bytes(settings)
        yield data


def _read(stream: Stream, size: int) -> bytes:
    try:
        return stream.read(size)
    except ClientTooSlow:
        raise
    except OSError as error:  # the sender has gone
        raise BadRequest(_("The connection broke off before the form ended. Send it again.")) from error


def _too_many_bytes(settings: Settings) -> UploadRefused:
    most = settings.max_upload_bytes
    if most >= MIB:
        size = count(most // MIB)
        return UploadRefused(_("One request takes at most %(size)s MiB. Send the X-rays in several.", size=size))
    return UploadRefused(_("One request takes at most %(size)s bytes. Send the X-rays in several.", size=count(most)))


def _read_text(chunks: Iterator[bytes]) -> str:
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > _MOST_TEXT_BYTES:
            raise BadRequest(_("A text field has more than %(most)s bytes.", most=_MOST_TEXT_BYTES))
    return data.decode(errors="replace")
