"""Multipart bodies (RFC 7578), one part open at a time; no file is ever held in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

from werkzeug.exceptions import BadRequest
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from shared.errors import UploadRefused
from shared.settings import MIB, Settings

READ_BYTES: Final = 64 * 1024
# What the decoder may hold back: the rest of a read, and headers that have not ended. Real headers have a few hundred.
_MOST_HELD_BYTES: Final = 256 * 1024
_HELD_DASHES: Final = 2
_MOST_TEXT_BYTES: Final = 64 * 1024
_MOST_TEXTS: Final = 32


@dataclass(frozen=True)
class TextPart:
    """A field of the form."""

    name: str
    value: str


@dataclass(frozen=True)
class FilePart:
    """A file of the form; its chunks are gone once the next part is asked for."""

    name: str
    file_name: str
    chunks: Iterator[bytes]


class _Chunks:
    """The data of one part.

    No generator: what reads a film may stop early and close what it reads from, and the rest still has to be skipped.
    """

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while not self._ended:
            event = next(self._events)
            assert isinstance(event, Data)  # noqa: S101  # the decoder gives nothing else inside a part
            self._ended = not event.more_data
            if event.data:
                return event.data
        raise StopIteration


def read_parts(
    stream: IO[bytes], content_type: str, length: int | None, settings: Settings
) -> Iterator[TextPart | FilePart]:
    """Yield the parts of a request's body in their order.

    Raises UploadRefused where the request is over a limit, BadRequest where it is not well formed.
    """
    if length is not None and length > settings.max_upload_bytes:
        raise _too_many_bytes(settings)
    files = texts = 0
    events = _read_events(stream, MultipartDecoder(_boundary(content_type)), settings)
    for event in events:
        if isinstance(event, Field):
            texts += 1
            if texts > _MOST_TEXTS:
                raise BadRequest(f"The form has more than {_MOST_TEXTS} text fields.")
            yield TextPart(event.name or "", _read_text(_Chunks(events)))
        elif isinstance(event, File):
            files += 1
            if files > settings.max_films_per_upload:
                raise UploadRefused(
                    f"One request takes at most {settings.max_films_per_upload:,} files. Send the rest in another."
                )
            chunks = _Chunks(events)
            yield FilePart(event.name or "", event.filename, chunks)
            for _ in chunks:
                pass


def _boundary(content_type: str) -> bytes:
    media_type, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if media_type != "multipart/form-data" or not boundary:
        raise BadRequest(f"Send films as multipart/form-data with a boundary. Received: '{content_type}'.")
    return boundary.encode()


def _read_events(stream: IO[bytes], decoder: MultipartDecoder, settings: Settings) -> Iterator[Event]:
    for data in _read_stream(stream, settings):
        try:
            decoder.receive_data(data)
            while not isinstance(event := decoder.next_event(), NeedData):
                yield event
                if isinstance(event, Epilogue):
                    return
        except ValueError as error:
            raise BadRequest("The form is damaged or ends too soon. Send it again.") from error
        if len(decoder.buffer) > _MOST_HELD_BYTES:
            raise BadRequest("The form is damaged: the headers of a part do not end.")


def _read_stream(stream: IO[bytes], settings: Settings) -> Iterator[bytes | None]:
    """Yield the body in pieces, then None.

    Dashes at the end of a piece wait for the next one: where a piece ends between the two dashes of the closing
    boundary, Werkzeug 3.1.9 counts the line break before it to the file.
    """
    received, held = 0, b""
    while data := stream.read(READ_BYTES):
        received += len(data)
        if received > settings.max_upload_bytes:
            raise _too_many_bytes(settings)
        data = held + data
        held = data[len(data.rstrip(b"-")) :][-_HELD_DASHES:]
        yield data[: len(data) - len(held)]
    yield held
    yield None


def _too_many_bytes(settings: Settings) -> UploadRefused:
    most = settings.max_upload_bytes
    limit = f"{most // MIB:,} MiB" if most >= MIB else f"{most:,} bytes"
    return UploadRefused(f"One request takes at most {limit}. Send the films in several.")


def _read_text(chunks: Iterator[bytes]) -> str:
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > _MOST_TEXT_BYTES:
            raise BadRequest(f"A text field has more than {_MOST_TEXT_BYTES} bytes.")
    return data.decode(errors="replace")
