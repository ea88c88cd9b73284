"""An image's samples at full bit depth, for the viewer's windowing: raw numbers, compressed, limited in size."""

import gzip
import json
import uuid
from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, abort, g, request
from flask.typing import ResponseReturnValue

from shared.audit.record import Action, record
from shared.errors import ImageRejected
from shared.tables import Scope
from web.base.concurrency import Turns
from web.base.prefetch import PURPOSE, is_fetched_ahead
from web.base.services import services
from web.frame.words import explain
from web.guard.access import requires
from web.images.pictures import caching, decoding, read_file, seen_image
from web.languages.text import N_

if TYPE_CHECKING:
    from shared.images.full_depth import FullDepth

blueprint = Blueprint("pixels", __name__, url_prefix="/screenings")

SIDES: Final = (2048, 4096, 8192)
"""Longest sides that may be requested: the texture sizes of browsers. WebGL 2 has at least the first."""
MOST_PIXELS: Final = 24 * 1024 * 1024
"""Of one answer, 48 MiB at 16 bits; chest detectors have 9 to 20 million. Larger images are averaged down to this."""
DESCRIPTION: Final = "X-Image"

_FORM: Final = 1
"""Part of the ETag; incremented whenever the same image is answered with other bytes or another description."""
_GZIP_LEVEL: Final = 1
_ZSTD_LEVEL: Final = 1
"""15 MB take 23 ms, where gzip takes 240 for the same size."""
# An answer is held in memory until its client has received it.
_sending = Turns(4, 10.0, N_("Many X-rays are being sent."))


@blueprint.get("/<uuid:screening_id>/pixels")
@requires(scope=Scope.READ)
def show(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Answer with an image's samples, row by row, and describe them in the header X-Image."""
    side, coding = _wanted_side(), _wanted_coding()
    screening = seen_image(screening_id)
    tag = f"{screening.sha256}-pixels{_FORM}-{side}-{coding}"
    if request.if_none_match.contains(tag):
        response = Response(status=304)
    else:
        response = _sending.stream(lambda: _answer(screening.sha256 or "", side, coding))
    response.set_etag(tag)
    response.headers["Cache-Control"] = caching()
    response.headers["Vary"] = "Accept-Encoding"
    detail = PURPOSE if is_fetched_ahead() else None
    with services().database.write() as db:
        record(
            db,
            Action.IMAGE_VIEWED,
            user_id=g.user.id,
            subject=screening_id,
            address=request.remote_addr,
            detail=detail,
        )
    return response


def _wanted_side() -> int:
    given = request.args.get("side", str(SIDES[1]))
    if given not in map(str, SIDES):
        abort(422, f"Give side={', '.join(map(str, SIDES))}. Received: '{given[:40]}'.")  # requested only by scripts
    return int(given)


def _wanted_coding() -> str:
    return request.accept_encodings.best_match(("zstd", "gzip"), "identity")


def _answer(sha256: str, side: int, coding: str) -> Response:
    data = read_file(sha256)
    with decoding.turn():
        description, samples = _decode(data, side)
    response = Response(_compress(samples, coding), mimetype="application/octet-stream")
    response.headers[DESCRIPTION] = description
    response.headers["Content-Disposition"] = "attachment"  # samples may form any bytes, even a script
    if coding != "identity":
        response.headers["Content-Encoding"] = coding
    return response


def _decode(data: bytes, side: int) -> tuple[str, bytes]:
    from shared.images.preprocess import decode_at_full_depth  # noqa: PLC0415  # loads with the first image shown

    try:
        whole = decode_at_full_depth(data)
    except ImageRejected as rejection:
        abort(404, explain(rejection.code, rejection.details).text)
    sent = whole.within(side, MOST_PIXELS)
    body = sent.samples.astype(sent.samples.dtype.newbyteorder("<"), copy=False).tobytes()
    return _describe(sent, whole.size), body


def _describe(sent: "FullDepth", size: tuple[int, int]) -> str:
    spacing = sent.spacing
    return json.dumps(
        {
            "width": sent.size[0],
            "height": sent.size[1],
            "bytes": sent.samples.dtype.itemsize,
            "bits": sent.bits,
            "photometric": "MONOCHROME1" if sent.is_inverse else "MONOCHROME2",
            "black": sent.black,
            "white": sent.white,
            "voi_lut_function": "LINEAR" if sent.is_linear else "LINEAR_EXACT",
            "nothing": sent.nothing,
            "slope": sent.slope,
            "intercept": sent.intercept,
            "spacing": spacing
            and {
                "down": spacing.down,
                "across": spacing.across,
                "source": spacing.source,
                "corrected": spacing.is_corrected,
            },
            "full_width": size[0],
            "full_height": size[1],
        }
    )


def _compress(body: bytes, coding: str) -> bytes:
    if coding == "zstd":
        import imagecodecs  # noqa: PLC0415  # as above

        return bytes(imagecodecs.zstd_encode(body, level=_ZSTD_LEVEL))
    return gzip.compress(body, _GZIP_LEVEL, mtime=0) if coding == "gzip" else body
