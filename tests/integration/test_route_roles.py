"""Who may call which route: every route, every role, the owner and others, by session and by token, by real requests.

A route without a row in MATRIX fails the tests. A new one is decided about here first.
"""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, Final

import numpy as np
import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import select
from werkzeug.test import TestResponse

from shared.accounts import sessions
from shared.accounts.tokens import make_token
from shared.db import Base, Database, now
from shared.messages.events import note_test
from shared.models import heatmap
from shared.models.spec import ModelSpec
from shared.settings import Settings
from shared.store.store import THUMBNAIL
from shared.tables import (
    ApiToken,
    BrowserSession,
    Image,
    Job,
    Message,
    Priority,
    Role,
    SavedView,
    Scope,
    Screening,
    Source,
    User,
    Webhook,
)
from tests.conftest import draw, encode, make_spec
from tests.web_site import Site, form, post_images, token_of

# A person is nobody, or has a role, and what the address names (a job, an image, a session, a token) is another's or,
# with a star, the person's own. 401 stands for the way to the sign-in page too. The last column is the scope that a
# token needs: `-` where no token will do, `any` where nobody is asked.
MATRIX: Final = """
                                                       session                           token
                                              none technician reader  admin     none technician reader  admin
                                                         *          *       *              *          *       *
GET  /static/<path:filename>                  200  200 200  200 200  200 200    200  200 200  200 200  200 200  any
GET  /healthz                                 200  200 200  200 200  200 200    200  200 200  200 200  200 200  any
GET  /readyz                                  200  200 200  200 200  200 200    200  200 200  200 200  200 200  any
GET  /metrics                                 200  200 200  200 200  200 200    200  200 200  200 200  200 200  any
GET  /sign-in                                 200  200 200  200 200  200 200    200  200 200  200 200  200 200  any
POST /sign-in                                 422  422 422  422 422  422 422    422  422 422  422 422  422 422  any
GET  /sign-in/link/<secret>                   200  200 200  200 200  200 200    200  200 200  200 200  200 200  any
POST /sign-in/link/<secret>                   410  410 410  410 410  410 410    200  200 200  200 200  200 200  any
POST /sign-out                                303  303 303  303 303  303 303    303  303 303  303 303  303 303  any
GET  /                                        401  200 200  303 303  200 200    401  403 403  403 403  403 403  -
GET  /help                                    401  200 200  200 200  200 200    401  403 403  403 403  403 403  -
GET  /account                                 401  200 200  200 200  200 200    401  403 403  403 403  403 403  -
GET  /account/password                        401  200 200  200 200  200 200    401  403 403  403 403  403 403  -
POST /account/password                        401  422 422  422 422  422 422    401  403 403  403 403  403 403  -
POST /account/sessions/<uuid:session_id>/end  401  404 303  404 303  404 303    401  403 403  403 403  403 403  -
POST /account/settings                        401  303 303  303 303  303 303    401  403 403  403 403  403 403  -
POST /account/emails                          401  303 303  303 303  303 303    401  403 403  403 403  403 403  -
POST /account/emails/test                     401  409 409  409 409  409 409    401  403 403  403 403  403 403  -
GET  /account/emails/stop                     401  200 200  200 200  200 200    401  403 403  403 403  403 403  -
POST /account/emails/stop                     401  303 303  303 303  303 303    401  403 403  403 403  403 403  -
POST /account/sessions/end                    401  303 303  303 303  303 303    401  403 403  403 403  403 403  -
GET  /account/tokens                          401  200 200  200 200  200 200    401  403 403  403 403  403 403  -
POST /account/tokens                          401  422 422  422 422  422 422    401  403 403  403 403  403 403  -
POST /account/tokens/revoke                   401  303 303  303 303  303 303    401  403 403  403 403  403 403  -
POST /account/tokens/<uuid:token_id>/revoke   401  404 303  404 303  404 303    401  403 403  403 403  403 403  -
GET  /jobs                                    401  200 200  200 200  200 200    401  403 403  403 403  403 403  -
POST /jobs                                    401  303 303  403 403  303 303    401  403 403  403 403  403 403  -
GET  /jobs/<uuid:job_id>                      401  404 200  200 200  200 200    401  403 403  403 403  403 403  -
GET  /jobs/<uuid:job_id>/fragment             401  404 200  200 200  200 200    401  403 403  403 403  403 403  -
POST /jobs/<uuid:job_id>/cancel               401  404 303  403 403  303 303    401  403 403  403 403  403 403  -
POST /jobs/<uuid:job_id>/retry                401  404 303  403 403  303 303    401  403 403  403 403  403 403  -
GET  /jobs/<uuid:job_id>/delete               401  404 200  403 403  200 200    401  403 403  403 403  403 403  -
POST /jobs/<uuid:job_id>/delete               401  404 303  403 403  303 303    401  403 403  403 403  403 403  -
GET  /history                                 401  200 200  200 200  200 200    401  403 403  403 403  403 403  -
GET  /worklist                                401  403 403  200 200  200 200    401  403 403  403 403  403 403  -
POST /worklist/views                          401  403 403  422 422  422 422    401  403 403  403 403  403 403  -
POST /worklist/views/<uuid:view_id>/delete    401  403 403  404 303  404 303    401  403 403  403 403  403 403  -
GET  /history/export                          401  200 200  200 200  200 200    401  403 403  403 403  403 403  -
GET  /quality                                 401  403 403  200 200  200 200    401  403 403  403 403  403 403  -
GET  /quality/<name>.csv                      401  403 403  200 200  200 200    401  403 403  403 403  403 403  -
GET  /models                                  401  403 403  200 200  200 200    401  403 403  403 403  403 403  -
GET  /models/<name>                           401  403 403  200 200  200 200    401  403 403  403 403  403 403  -
GET  /models/<name>/threshold                 401  403 403  403 403  200 200    401  403 403  403 403  403 403  -
POST /models/<name>/threshold                 401  403 403  403 403  422 422    401  403 403  403 403  403 403  -
GET  /models/<name>/default                   401  403 403  403 403  409 409    401  403 403  403 403  403 403  -
POST /models/<name>/default                   401  403 403  403 403  409 409    401  403 403  403 403  403 403  -
GET  /models/<name>/shadow                    401  403 403  403 403  409 409    401  403 403  403 403  403 403  -
POST /models/<name>/shadow                    401  403 403  403 403  409 409    401  403 403  403 403  403 403  -
POST /models/<name>/shadow/end                401  403 403  403 403  303 303    401  403 403  403 403  403 403  -
GET  /models/<name>/comparison                401  403 403  403 403  200 200    401  403 403  403 403  403 403  -
GET  /models/<name>/plots/<plot>.png          401  403 403  404 404  404 404    401  403 403  403 403  403 403  -
GET  /status                                  401  200 200  200 200  200 200    401  403 403  403 403  403 403  -
GET  /status/fragment                         401  200 200  200 200  200 200    401  403 403  403 403  403 403  -
GET  /audit                                   401  403 403  403 403  200 200    401  403 403  403 403  403 403  -
GET  /audit/export                            401  403 403  403 403  200 200    401  403 403  403 403  403 403  -
POST /audit/verify                            401  403 403  403 403  303 303    401  403 403  403 403  403 403  -
GET  /audit/verify                            401  403 403  403 403  303 303    401  403 403  403 403  403 403  -
GET  /users                                   401  403 403  403 403  200 200    401  403 403  403 403  403 403  -
POST /users                                   401  403 403  403 403  422 422    401  403 403  403 403  403 403  -
GET  /users/<uuid:user_id>                    401  403 403  403 403  200 200    401  403 403  403 403  403 403  -
POST /users/<uuid:user_id>/describe           401  403 403  403 403  303 303    401  403 403  403 403  403 403  -
POST /users/<uuid:user_id>/role               401  403 403  403 403  422 422    401  403 403  403 403  403 403  -
POST /users/<uuid:user_id>/link               401  403 403  403 403  200 200    401  403 403  403 403  403 403  -
POST /users/<uuid:user_id>/tokens/revoke      401  403 403  403 403  303 303    401  403 403  403 403  403 403  -
POST /users/<uuid:user_id>/sessions/end       401  403 403  403 403  303 303    401  403 403  403 403  403 403  -
POST /users/<uuid:user_id>/identity           401  403 403  403 403  422 422    401  403 403  403 403  403 403  -
POST /users/<uuid:user_id>/identity/unlink    401  403 403  403 403  303 303    401  403 403  403 403  403 403  -
POST /users/<uuid:user_id>/disable            401  403 403  403 403  303 303    401  403 403  403 403  403 403  -
POST /users/<uuid:user_id>/enable             401  403 403  403 403  303 303    401  403 403  403 403  403 403  -
GET  /emails                                  401  200 200  200 200  200 200    401  403 403  403 403  403 403  -
POST /emails/<uuid:email_id>/send             401  403 403  403 403  303 303    401  403 403  403 403  403 403  -
GET  /webhooks                                401  403 403  403 403  200 200    401  403 403  403 403  403 403  -
POST /webhooks                                401  403 403  403 403  422 422    401  403 403  403 403  403 403  -
GET  /webhooks/<uuid:webhook_id>              401  403 403  403 403  200 200    401  403 403  403 403  403 403  -
POST /webhooks/<uuid:webhook_id>/test         401  403 403  403 403  303 303    401  403 403  403 403  403 403  -
POST /webhooks/<uuid:webhook_id>/stop         401  403 403  403 403  303 303    401  403 403  403 403  403 403  -
POST /webhooks/<uuid:webhook_id>/start        401  403 403  403 403  303 303    401  403 403  403 403  403 403  -
POST /webhooks/<uuid:webhook_id>/secret       401  403 403  403 403  303 303    401  403 403  403 403  403 403  -
POST /webhooks/<uuid:webhook_id>/delete       401  403 403  403 403  303 303    401  403 403  403 403  403 403  -
POST /webhooks/<uuid:webhook_id>/messages/<uuid:message_id>/send 401 403 403 403 403 303 303 401 403 403 403 403 403 403 -
GET  /sign-in/single                          503  503 503  503 503  503 503    503  503 503  503 503  503 503  any
GET  /sign-in/single/return                   403  403 403  403 403  403 403    403  403 403  403 403  403 403  any
GET  /sign-out/single                         200  200 200  200 200  200 200    200  200 200  200 200  200 200  any
GET  /account/single                          401  200 200  200 200  200 200    401  403 403  403 403  403 403  -
POST /account/single                          401  503 503  503 503  503 503    401  403 403  403 403  403 403  -
POST /account/single/unlink                   401  422 422  422 422  422 422    401  403 403  403 403  403 403  -
POST /samples                                 401  303 303  403 403  303 303    401  403 403  403 403  403 403  -
GET  /screenings/<uuid:screening_id>          401  404 200  200 200  200 200    401  403 403  403 403  403 403  -
POST /screenings/<uuid:screening_id>/reviews  401  403 403  303 303  303 303    401  403 403  403 403  403 403  -
POST /screenings/<uuid:screening_id>/reviews/withdraw 401 403 403 303 303 303 303 401 403 403  403 403  403 403  -
POST /screenings/<uuid:screening_id>/claim    401  403 403  200 200  200 200    401  403 403  403 403  403 403  -
POST /screenings/<uuid:screening_id>/release  401  403 403  204 204  204 204    401  403 403  403 403  403 403  -
POST /screenings/<uuid:screening_id>/score    401  404 409  409 409  409 409    401  403 403  403 403  403 403  -
GET  /screenings/<uuid:screening_id>/thumbnail 401  404 200  200 200  200 200   401  404 200  200 200  200 200  read
GET  /screenings/<uuid:screening_id>/image 401  404 200  200 200  200 200   401  404 200  200 200  200 200  read
GET  /screenings/<uuid:screening_id>/heat-map 401  404 200  200 200  200 200   401  404 200  200 200  200 200  read
GET  /screenings/<uuid:screening_id>/pixels 401  404 200  200 200  200 200   401  404 200  200 200  200 200  read
GET  /screenings/<uuid:screening_id>/report.pdf 401  404 200  200 200  200 200   401  404 200  200 200  200 200  read
GET  /jobs/<uuid:job_id>/report.pdf           401  404 200  200 200  200 200    401  404 200  200 200  200 200  read
GET  /api/v1/openapi.json                     200  200 200  200 200  200 200    200  200 200  200 200  200 200  any
GET  /api/v1/docs                             200  200 200  200 200  200 200    200  200 200  200 200  200 200  any
GET  /api/v1/me                               401  200 200  200 200  200 200    401  200 200  200 200  200 200  read
GET  /api/v1/jobs                             401  200 200  200 200  200 200    401  200 200  200 200  200 200  read
POST /api/v1/jobs                             401  201 201  403 403  201 201    401  201 201  403 403  201 201  submit
GET  /api/v1/jobs/<uuid:job_id>               401  404 200  200 200  200 200    401  404 200  200 200  200 200  read
GET  /api/v1/jobs/<uuid:job_id>/screenings    401  404 200  200 200  200 200    401  404 200  200 200  200 200  read
POST /api/v1/jobs/<uuid:job_id>/images        401  404 202  403 403  202 202    401  404 202  403 403  202 202  submit
POST /api/v1/jobs/<uuid:job_id>/received      401  404 200  403 403  200 200    401  404 200  403 403  200 200  submit
POST /api/v1/jobs/<uuid:job_id>/close         401  404 200  403 403  200 200    401  404 200  403 403  200 200  submit
POST /api/v1/jobs/<uuid:job_id>/cancel        401  404 200  403 403  200 200    401  404 200  403 403  200 200  submit
POST /api/v1/jobs/<uuid:job_id>/retry         401  404 200  403 403  200 200    401  404 200  403 403  200 200  submit
DELETE /api/v1/jobs/<uuid:job_id>             401  404 204  403 403  204 204    401  404 204  403 403  204 204  submit
GET  /api/v1/screenings/<uuid:screening_id>/same-patient 401 404 200 200 200 200 200 401 404 200 200 200 200 200 read
GET  /api/v1/screenings/<uuid:screening_id>/reviews 401 404 200 200 200 200 200 401 404 200 200 200 200 200 read
POST /api/v1/screenings/<uuid:screening_id>/reviews 401 403 403 201 201 201 201 401 403 403 201 201 201 201 submit
POST /api/v1/screenings/<uuid:screening_id>/reviews/withdraw 401 403 403 409 409 409 409 401 403 403 409 409 409 409 submit
POST /api/v1/screenings/<uuid:screening_id>/score 401  404 409  409 409  409 409  401  404 409  409 409  409 409  submit
GET  /api/v1/screenings/<uuid:screening_id>/score 401  404 404  404 404  404 404  401  404 404  404 404  404 404  read
GET  /api/v1/models                           401  403 403  200 200  200 200    401  403 403  200 200  200 200  read
GET  /api/v1/models/<name>/threshold          401  403 403  409 409  409 409    401  403 403  409 409  409 409  read
PUT  /api/v1/models/<name>/threshold          401  403 403  403 403  415 415    401  403 403  403 403  415 415  admin
PUT  /api/v1/models/shadow                    401  403 403  403 403  415 415    401  403 403  403 403  415 415  admin
PUT  /api/v1/models/default                   401  403 403  403 403  415 415    401  403 403  403 403  415 415  admin
GET  /api/v1/audit                            401  403 403  403 403  200 200    401  403 403  403 403  200 200  admin
GET  /api/v1/predictions                      401  200 200  200 200  200 200    401  200 200  200 200  200 200  read
"""  # noqa: E501  # one row a route
PEOPLE: Final = [(None, False), *((role, is_own) for role in Role for is_own in (False, True))]
"""The columns of one half of MATRIX: a role, and whether what the address names is the person's own."""

SECRET: Final = "Mustermann"
"""In the names of every image and job: nobody may read it who may not see them."""
OPEN_JOB: Final = {"POST /api/v1/jobs/<uuid:job_id>/images", "POST /api/v1/jobs/<uuid:job_id>/close"}
"""These act on a job that still takes images; all others on one that has finished."""
IMAGE: Final = encode(draw(1, (80, 80)), "PNG")
BODIES: Final[dict[str, dict[str, Any]]] = {
    "POST /api/v1/screenings/<uuid:screening_id>/reviews": {"json": {"outcome": "inadequate"}},
    "POST /screenings/<uuid:screening_id>/reviews": {"data": {"says": "inadequate"}},
    "POST /api/v1/jobs": {"json": {}},
    "POST /api/v1/jobs/<uuid:job_id>/received": {"json": {"files": []}},
    "POST /api/v1/jobs/<uuid:job_id>/images": form([("image.png", IMAGE)]),
    "POST /jobs": form([("image.png", IMAGE)]),
}


@dataclass(frozen=True)
class Row:
    """What one route answers to whom."""

    by_session: list[int]
    by_token: list[int]
    scope: str


def read_matrix() -> dict[str, Row]:
    rows = (line.split() for line in MATRIX.splitlines() if line.startswith(("GET", "POST", "PUT", "DELETE")))
    return {
        f"{method} {path}": Row([*map(int, told[:7])], [*map(int, told[7:14])], told[14])
        for method, path, *told in rows
    }


ROWS: Final = read_matrix()


@dataclass
class Stage:
    """A site with a person of every role, and what routes name in their addresses."""

    site: Site
    spec: ModelSpec
    shown: dict[uuid.UUID, dict[str, str]] = field(default_factory=dict)
    browsers: dict[uuid.UUID | None, tuple[FlaskClient, str]] = field(default_factory=dict)

    @cached_property
    def people(self) -> dict[tuple[Role, bool], User]:
        """One person of each role who owns nothing, and one who owns something."""
        return {(role, owns): self.site.add_user(f"{role}-{owns}", role) for role in Role for owns in (False, True)}

    def browser(self, person: User | None) -> tuple[FlaskClient, str]:
        """Return a person's browser and its CSRF token."""
        key = person.id if person else None
        if key not in self.browsers:
            client = self.site.browser(person)
            self.browsers[key] = client, token_of(client.get("/help" if person else "/sign-in"))
        return self.browsers[key]

    @cached_property
    def other(self) -> User:
        return self.site.add_user("other")

    @cached_property
    def image(self) -> Screening:
        """One image that was sent, screened and drawn; copies of its row are in all other jobs."""
        sender = self.site.token_client(self.site.add_user("sender"))
        assert post_images(sender, (f"{SECRET}.png", IMAGE), name=SECRET).status_code == 202
        self.site.work(self.spec, {}, heat_map=heatmap.encode(np.ones((2, 2), np.float32)))
        (image,) = self.site.screenings()
        picture = encode(draw(1, (40, 40)))
        with self.site.database.read() as session:
            self.site.store.put_derived(session.scalars(select(Image.sha256)).one(), THUMBNAIL, picture)
        return image

    def named(self, route: str, owner: User) -> dict[str, str]:
        """Return what the address of a route may name: things of the owner's, new ones where the route changes them."""
        if route.startswith("GET"):
            if owner.id not in self.shown:
                self.shown[owner.id] = self._make(owner, is_open=False)
            return self.shown[owner.id]
        return self._make(owner, is_open=route in OPEN_JOB, is_unread="/reviews" in route)

    def _make(self, owner: User, *, is_open: bool, is_unread: bool = False) -> dict[str, str]:
        copied = {
            name: getattr(self.image, name) for name in ("image_id", "prediction_id", "state", "priority", "turn")
        }
        names = {"name": SECRET, "model_name": "test-model", "next_position": 1}
        with self.site.database.write() as session:
            closed_at = None if is_open else now()
            session.get_one(User, owner.id).is_active = True  # an earlier row may have disabled the account
            # Readers and admins own jobs too: they may have been technicians once. The role of today counts.
            job = Job(created_by_id=owner.id, source=Source.WEB, priority=Priority.BULK, closed_at=closed_at, **names)
            session.add(job)
            session.flush()
            if is_unread:  # an image of its own, that nobody has reviewed
                image = Image(
                    sha256=f"{uuid.uuid4().hex:0>64}", size_bytes=1, width=1, height=1, media_type="image/png"
                )
                session.add(image)
                session.flush()
                copied |= {"image_id": image.id}
            image = Screening(job_id=job.id, position=0, file_name=f"{SECRET}.png", finished_at=now(), **copied)
            session.add(image)
            sessions.begin(session, owner, lasts=timedelta(hours=1), address=None, user_agent="")
            make_token(session, owner, "a token")
            view = SavedView(user_id=owner.id, name=uuid.uuid4().hex, arguments={})
            session.add(view)
            webhook = Webhook(url="https://example.org/", events=[], salt="", created_by_id=owner.id)
            session.add(webhook)
            session.flush()
            note_test(session, webhook)
            message = session.scalars(select(Message.id).where(Message.webhook_id == webhook.id)).one()
            note_test(session, session.get_one(User, owner.id))
            email = session.scalars(select(Message.id).where(Message.user_id == owner.id)).first()
            browsers = select(BrowserSession.id).where(BrowserSession.user_id == owner.id)
            tokens = select(ApiToken.id).where(ApiToken.user_id == owner.id)
            newest = {
                "session_id": max(session.scalars(browsers)),
                "token_id": max(session.scalars(tokens)),
                "job_id": job.id,
                "screening_id": image.id,
                "user_id": self.other.id,
                "view_id": view.id,
                "webhook_id": webhook.id,
                "message_id": message,
                "email_id": email,
            }
        return {name: str(value) for name, value in newest.items()}

    def ask(self, route: str, client: FlaskClient, owner: User, headers: dict[str, str]) -> TestResponse:
        """Send one request to what belongs to `owner`."""
        method, path = route.split()
        path = path.replace("<secret>", "no-such-link").replace("<path:filename>", "mark.svg")
        path = path.replace("/quality/<name>", "/quality/days").replace("/models/<name>", "/models/test-model")
        named = self.named(route, owner) if "<" in path else {}
        path = re.sub(r"<uuid:(\w+)>", lambda found: named[found[1]], path)
        body = {} if method == "GET" else BODIES.get(route, {"data": {}})
        return client.open(path, method=method, **{**body, "headers": headers})


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("roles")
    (folder / "samples").mkdir()
    (folder / "samples" / "sample.png").write_bytes(encode(draw(2, (80, 80)), "PNG"))
    settings = Settings(
        data_dir=folder,
        samples_dir=folder / "samples",
        redis_url=SecretStr(f"unix://{folder / 'no.sock'}"),
        secret_key=SecretStr("a key for tests only"),
        sign_in_limit="1000 per minute",
        oidc_issuer="http://127.0.0.1:1",  # nobody answers there
        oidc_client_id="for the routes only",
    )
    database = Database(f"sqlite:///{folder / 'test.db'}")
    Base.metadata.create_all(database.engine)
    yield Stage(Site(settings, database), make_spec())
    database.close()


def status(answer: TestResponse, route: str) -> int:
    """Return an answer's status; the way to the sign-in page is a 401 to a person."""
    sent_away = answer.status_code == 303 and answer.location.startswith("/sign-in")
    return 401 if sent_away and route != "POST /sign-out" else answer.status_code


def check_secrecy(answer: TestResponse, role: Role | None, is_own: bool) -> None:
    if role is None or (role is Role.TECHNICIAN and not is_own):
        assert SECRET.encode() not in answer.data


def test_every_route_has_a_row_and_every_row_a_route(stage: Stage) -> None:
    rules = stage.site.app.url_map.iter_rules()
    routes = {f"{method} {rule}" for rule in rules for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    assert sorted(routes - set(ROWS)) == [], "add a row to MATRIX for each of these"
    assert sorted(set(ROWS) - routes) == [], "these rows of MATRIX have no route any more"


@pytest.mark.parametrize("route", ROWS)
def test_by_session(stage: Stage, route: str) -> None:
    seen = []
    for role, is_own in PEOPLE:
        person = stage.people[role, is_own] if role else None
        browser, token = stage.browser(person)
        answer = stage.ask(route, browser, person if is_own and person else stage.other, {"X-CSRFToken": token})
        seen.append(status(answer, route))
        check_secrecy(answer, role, is_own)
        answer.close()
    if route == "POST /sign-out":
        stage.browsers.clear()
    assert seen == ROWS[route].by_session


@pytest.mark.parametrize("route", ROWS)
def test_by_token(stage: Stage, route: str) -> None:
    seen = []
    for role, is_own in PEOPLE:
        if role is None:
            client, owner = stage.site.app.test_client(), stage.other
            client.environ_base["HTTP_AUTHORIZATION"] = "Bearer psc_nobody's"
        else:
            client = stage.site.token_client(stage.people[role, is_own])
            owner = stage.people[role, is_own] if is_own else stage.other
        answer = stage.ask(route, client, owner, {})
        seen.append(status(answer, route))
        check_secrecy(answer, role, is_own)
        answer.close()
    assert seen == ROWS[route].by_token


@pytest.mark.parametrize("route", [route for route, row in ROWS.items() if row.scope in list(Scope)])
def test_a_token_without_the_scope_opens_nothing(stage: Stage, route: str) -> None:
    admin = stage.people[Role.ADMIN, True]
    expected, seen = {}, {}
    for scope in Scope:
        client = stage.site.token_client(admin, scope)
        answer = stage.ask(route, client, admin, {})
        seen[scope] = answer.status_code
        expected[scope] = ROWS[route].by_token[-1] if scope == ROWS[route].scope else 403
        answer.close()
    assert seen == expected
