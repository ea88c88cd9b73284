"""Pictures of the images for the browser: thumbnail, preview and heat map."""

import hashlib
import io
import logging
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from flask import Blueprint, Response, abort, g, request
from flask.typing import ResponseReturnValue

from shared.audit.record import Action, record
from shared.errors import ImageRejected, StoreAway, StoreFull
from shared.refusals import OF_THE_GATE
from shared.states import State
from shared.store.store import PREVIEW, THUMBNAIL
from shared.tables import Scope
from web.base.concurrency import Once, Turns
from web.base.prefetch import PURPOSE, is_fetched_ahead
from web.base.services import services
from web.frame.words import explain
from web.guard.access import requires
from web.images.heatmaps import draw
from web.images.missing import refuse_missing
from web.languages.text import N_, _
from web.lists.listing import ScreeningDetail, get_screening

log = logging.getLogger(__name__)

blueprint = Blueprint("images", __name__, url_prefix="/screenings")

IMAGE_SIDE: Final = 1600
_QUALITY: Final = 90
# Revalidated at each view: workstations are shared, and every view is recorded. The ETag makes it cheap.
CACHING: Final = "private, no-cache"
KEPT_SECONDS: Final = 120
_KEPT: Final = f"private, max-age={KEPT_SECONDS}, immutable"

_MOST_SECONDS: Final = 10.0
# One image at a time is decoded in full: the largest takes 64 MB for each byte of a pixel. Reading and writing happen
# outside its turn, so that a slow store delays no other image.
decoding = Turns(1, _MOST_SECONDS, N_("Large X-rays are being drawn."))
_drawing = Once(_MOST_SECONDS, "This X-ray is being drawn.")


def kept_key() -> str:
    """Return the value of `kept` in pictures' addresses on the pages of this session; empty for a token.

    With it a browser may cache a picture for a moment, so that a prefetched one is shown without asking the server.
    Another session on the same workstation has other addresses and finds none of these pictures. Each view is recorded
    by its page.
    """
    return hashlib.sha256(f"kept {g.session.id}".encode()).hexdigest()[:16] if g.session is not None else ""


def caching() -> str:
    """Return how long a browser may cache the requested picture."""
    given = request.args.get("kept")
    return _KEPT if given and given == kept_key() else CACHING


@blueprint.get("/<uuid:screening_id>/thumbnail")
@requires(scope=Scope.READ)
def thumbnail(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Send the image's thumbnail; 404 until it has been screened."""
    screening = seen_image(screening_id)
    can_be_drawn = screening.state is State.DONE or screening.error_code in OF_THE_GATE
    return _picture(screening, THUMBNAIL, _thumbnail if can_be_drawn else _stored_thumbnail)


@blueprint.get("/<uuid:screening_id>/image")
@requires(scope=Scope.READ)
def image(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Send the image, upright and grey, at most IMAGE_SIDE pixels on its longer side."""
    screening = seen_image(screening_id)
    response = _picture(screening, PREVIEW, preview)
    with services().database.write() as db:
        detail, address = PURPOSE if is_fetched_ahead() else None, request.remote_addr
        record(db, Action.IMAGE_VIEWED, user_id=g.user.id, subject=screening_id, address=address, detail=detail)
    return response


@blueprint.get("/<uuid:screening_id>/heat-map")
@requires(scope=Scope.READ)
def heat_map(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Send the heat map of the model's evidence, as an overlay for the image; 404 where there is none."""
    screening = seen_image(screening_id)
    if screening.heat_map is None:
        abort(404, _("There is no heat map of this X-ray."))
    response = Response(draw(screening.heat_map, screening), mimetype="image/png")
    response.headers["Content-Disposition"] = "inline"
    response.headers["Cache-Control"] = CACHING
    response.add_etag()
    return response.make_conditional(request)


def seen_image(screening_id: uuid.UUID) -> ScreeningDetail:
    """Return an image that the viewer may see and that was stored; answer 404 where there is none."""
    with services().database.read() as db:
        screening = get_screening(db, g.user, screening_id)
        if screening is None:
            refuse_missing(db, screening_id)
    if screening.sha256 is None:
        abort(404, _("There is no X-ray %(id)s.", id=screening_id))
    return screening


def _picture(screening: ScreeningDetail, kind: str, make: Callable[[str], bytes]) -> Response:
    """Answer with a JPEG that never changes: a sha256 always names the same content."""
    sha256 = screening.sha256 or ""
    if request.if_none_match.contains(f"{sha256}-{kind}"):
        response = Response(status=304)
    else:
        response = Response(make(sha256), mimetype="image/jpeg")
        response.headers["Content-Disposition"] = "inline"
    response.set_etag(f"{sha256}-{kind}")
    response.headers["Cache-Control"] = caching()
    return response


def _stored_thumbnail(sha256: str) -> bytes:
    try:
        return services().store.get_derived(sha256, THUMBNAIL)
    except FileNotFoundError:
        abort(404, _("There is no such picture yet."))


def _thumbnail(sha256: str) -> bytes:
    """Return a screened image's thumbnail, which for small images is only made at the first view."""
    return _kept(sha256, THUMBNAIL, _draw_thumbnail)


def preview(sha256: str) -> bytes:
    """Return an image as a JPEG of at most IMAGE_SIDE; answer 404 where its file is gone or damaged."""
    return _kept(sha256, PREVIEW, _draw_preview)


def _kept(sha256: str, kind: str, draw: Callable[[bytes], bytes]) -> bytes:
    """Return a picture of an image, which is drawn and stored at the first view."""
    with suppress(FileNotFoundError):
        return services().store.get_derived(sha256, kind)
    return _drawing.make((sha256, kind), lambda: _make(sha256, kind, draw))


def _make(sha256: str, kind: str, draw: Callable[[bytes], bytes]) -> bytes:
    file = read_file(sha256)
    with decoding.turn():
        data = _draw(draw, file)
    try:
        services().store.put_derived(sha256, kind, data)
    except (StoreFull, StoreAway) as error:
        log.warning("%s The picture is shown but not kept.", error)
    return data


def read_file(sha256: str) -> bytes:
    """Return an image's bytes; answer 404 where they are gone or damaged."""
    try:
        return services().store.get(sha256)
    except FileNotFoundError:
        abort(404, _("The X-ray is no longer in the image store. Send it again."))
    except ImageRejected as rejection:
        abort(404, explain(rejection.code, rejection.details).text)


def _draw(draw: Callable[[bytes], bytes], file: bytes) -> bytes:
    try:
        return draw(file)
    except ImageRejected as rejection:
        abort(404, explain(rejection.code, rejection.details).text)


def _draw_thumbnail(data: bytes) -> bytes:
    from shared.images.preprocess import THUMBNAIL_SIDE, decode, thumbnail  # noqa: PLC0415  # loads with the first image shown

    return thumbnail(decode(data, at_least=THUMBNAIL_SIDE))


def _draw_preview(data: bytes) -> bytes:
    from shared.images.preprocess import decode  # noqa: PLC0415  # as above

    picture = decode(data, at_least=IMAGE_SIDE)
    picture.thumbnail((IMAGE_SIDE, IMAGE_SIDE), reducing_gap=2.0)
    out = io.BytesIO()
    # Pillow copies a JPEG's comment, and a comment can hold anything: a name, or a page with a script.
    picture.save(out, "JPEG", quality=_QUALITY, comment=b"")
    return out.getvalue()
