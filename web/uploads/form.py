"""Receive an upload form: its texts, images and CSRF token, under admission control."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Final

from flask import g, request

from shared.errors import JobClosed, TryLater, UploadRefused
from shared.intake import archive
from shared.intake.accept import Received
from shared.submission.admission import Admission
from shared.submission.request_digest import RequestDigest
from shared.tables import Priority
from web.base.problems import InvalidRequest
from web.base.services import services
from web.guard.security import CSRF_FIELD, CSRF_HEADER, check_csrf_token
from web.languages.text import _, count
from web.uploads.multipart import FilePart, TextPart, read_parts

FILES_PART: Final = "files"
_DRAIN_SECONDS: Final = 30.0
_READ_BYTES: Final = 64 * 1024

PriorityOf = Callable[[Mapping[str, str], int], Priority]


def receive_form(
    admission: Admission | None,
    priority_of: PriorityOf,
    digest: RequestDigest | None = None,
    on_chunk: Callable[[], None] = lambda: None,
) -> tuple[dict[str, str], list[Received]]:
    """Read this request's form: its texts, and the result of each file.

    `priority_of` returns the priority of the texts and so many images, `digest` includes every file, and `on_chunk` is
    called as chunks of files are received. Without `admission` files are only read and not stored: a repeated request
    under a known key adds nothing. Raises TryLater where too many images wait or the disk is low.
    """
    texts: dict[str, str] = {}
    received: list[Received] = []
    needs_token = _check_token_of_script()
    if admission is not None:
        _ask_first(admission, priority_of)
    for part in _read_request():
        if isinstance(part, TextPart):
            texts[part.name] = part.value
            continue
        if needs_token:
            check_csrf_token(texts.get(CSRF_FIELD))
            needs_token = False
        noted_part = replace(part, chunks=_note(part.chunks, on_chunk))
        with closing(_take(noted_part, digest, keeps=admission is not None)) as images:
            for image in images:
                received.append(image)
                _refuse_too_many(len(received) + left_out().total())
                if admission is not None:
                    admission.check(priority_of(texts, len(received)), len(received))
    if needs_token:
        check_csrf_token(texts.get(CSRF_FIELD))
    return texts, received


def _note(chunks: Iterable[bytes], on_chunk: Callable[[], None]) -> Iterator[bytes]:
    for chunk in chunks:
        on_chunk()
        yield chunk


def _check_token_of_script() -> bool:
    """Check a CSRF token in a header; tell whether the form must contain one."""
    token = request.headers.get(CSRF_HEADER)
    if g.by_token or not token:
        return not g.by_token
    check_csrf_token(token)
    return False


def _ask_first(admission: Admission, priority_of: PriorityOf) -> None:
    """Check admission before reading the body: the reserve is not for bodies larger than a few images."""
    settings, length = services().settings, request.content_length or 0
    is_small = length <= settings.interactive_images * settings.max_image_bytes
    admission.check(priority_of({}, 1 if is_small else settings.interactive_images + 1), coming_bytes=length)


def _refuse_too_many(images: int) -> None:
    """Limit the number of images in one request, as every file may be a ZIP."""
    most = services().settings.max_zip_entries + services().settings.max_images_per_upload
    if images > most:
        said = _(
            "One request takes at most %(most)s X-rays, including those inside ZIPs. Send several requests.",
            most=count(most),
        )
        raise UploadRefused(said)


def _read_request() -> Iterator[TextPart | FilePart]:
    # Flask would limit the body to the size of a small form; read_parts counts instead.
    request.max_content_length = sys.maxsize
    length = request.content_length
    # Flask's wrapper around a body of known length only counts, and copies it twice.
    stream = request.stream if length is None else request.environ["wsgi.input"]
    return read_parts(stream, request.content_type or "", length, services().settings)


def left_out() -> Counter[str]:
    """Return how many entries of this request's ZIPs were skipped as no images, by reason."""
    counts: Counter[str] = g.setdefault("left_out", Counter())
    return counts


def _take(part: FilePart, digest: RequestDigest | None, *, keeps: bool) -> Generator[Received]:
    if part.name != FILES_PART:
        name = "part" if services().settings.pseudonymise_names else part.name or "part"
        raise InvalidRequest(name, _("Send X-rays in parts named '%(name)s'.", name=FILES_PART))
    if part.file_name == "":  # browsers send this for an empty file field
        return
    chunks = iter(part.chunks) if digest is None else digest.watch(part.file_name, part.chunks)
    if keeps:
        yield from archive.receive(part.file_name, chunks, services().store, services().settings, left_out())
    if digest is not None:
        for _rest in chunks:  # the rest of a file refused early is part of the request, too
            pass


@contextmanager
def drain_body() -> Iterator[None]:
    """Drain the body for a while before answering that the job is closed or to retry later; keep nothing of it.

    gunicorn closes a connection with more than 64 KiB unread, and a client still sending then sees a broken connection
    instead of the answer.
    """
    try:
        yield
    except (TryLater, JobClosed):
        until = time.monotonic() + _DRAIN_SECONDS
        with suppress(OSError):  # the client has gone
            while time.monotonic() < until and request.environ["wsgi.input"].read(_READ_BYTES):
                pass
        raise
