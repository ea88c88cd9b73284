"""Serve static files: read and compressed once, with a content fingerprint in the URL so that browsers cache them.

The fingerprint covers the whole folder and precedes a file's path, `/static/<fingerprint>/js/job.js`: modules that
import each other by relative paths share one fingerprint, and versions are never mixed.
"""

import gzip
import hashlib
import mimetypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, abort, request
from flask.typing import ResponseReturnValue

ENDPOINT: Final = "static"

_DIGITS: Final = 16
_FOREVER: Final = "public, max-age=31536000, immutable"  # a year, RFC 8246
_ASKED_AGAIN: Final = "no-cache"
_TYPES: Final = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".speculationrules": "application/speculationrules+json",  # HTML Standard, speculative loading
}


@dataclass(frozen=True)
class Made:
    """A file generated on first request."""

    source: Path
    """Its sources; their bytes are part of the fingerprint."""
    make: Callable[[], bytes]


@dataclass(frozen=True)
class _File:
    media_type: str
    codings: dict[str, bytes]
    """Its bytes by content coding."""


def install(app: Flask, folder: Path, made: Mapping[str, Made] | None = None) -> None:
    """Serve a folder publicly at /static, and make `url_for` put its fingerprint into URLs.

    `made` are further, generated files by their paths in the folder.
    """
    beside = made or {}
    files = {path.relative_to(folder).as_posix(): _read(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    fingerprint = _fingerprint(files, beside)

    def find(name: str) -> _File | None:
        if name in beside and name not in files:
            files[name] = _compress(name, beside[name].make())
        return files.get(name)

    def serve(filename: str) -> ResponseReturnValue:
        """Send a file, cacheable for ever where its URL has the current fingerprint."""
        name = filename.removeprefix(f"{fingerprint}/")
        found = find(name) or find(_without_fingerprint(name))
        if found is None:
            abort(404)
        return _answer(found, is_current=name != filename, fingerprint=fingerprint)

    def add_fingerprint(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == ENDPOINT:
            values["filename"] = f"{fingerprint}/{values['filename']}"

    app.add_url_rule("/static/<path:filename>", endpoint=ENDPOINT, view_func=serve)
    app.url_defaults(add_fingerprint)


def _read(path: Path) -> _File:
    return _compress(path.name, path.read_bytes())


def _compress(name: str, data: bytes) -> _File:
    media_type = _TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return _File(media_type, {"gzip": gzip.compress(data, mtime=0), "identity": data})


def _fingerprint(files: dict[str, _File], made: Mapping[str, Made]) -> str:
    digest = hashlib.sha256()
    sources = {name: file.codings["identity"] for name, file in files.items()}
    sources.update({name: file.source.read_bytes() for name, file in made.items()})
    for name, data in sources.items():
        digest.update(f"{name}\n{hashlib.sha256(data).hexdigest()}\n".encode())
    return digest.hexdigest()[:_DIGITS]


def _without_fingerprint(name: str) -> str:
    """Return the path after another version's fingerprint, as requested by pages from before an update."""
    first, _, rest = name.partition("/")
    return rest if len(first) == _DIGITS and set(first) <= set("0123456789abcdef") else name


def _answer(file: _File, *, is_current: bool, fingerprint: str) -> Response:
    coding = request.accept_encodings.best_match(("gzip",), "identity")
    response = Response(file.codings[coding], mimetype=file.media_type)
    if coding != "identity":
        response.headers["Content-Encoding"] = coding
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = _FOREVER if is_current else _ASKED_AGAIN
    response.set_etag(f"{fingerprint}-{coding}")
    response.make_conditional(request)
    return response
