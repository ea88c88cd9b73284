"""The web application on a real database and a real store, and the people who use it."""

import io
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from shared.accounts import links, tokens, users
from shared.db import Database
from shared.errors import BrokerAway
from shared.images.exposure import Exposure
from shared.languages.catalogs import TRANSLATIONS
from shared.models.folder import SPEC_FILE
from shared.models.spec import ModelSpec
from shared.queue import leases
from shared.settings import REPOSITORY, Settings
from shared.store.key_record import KEYS_FILE
from shared.store.store import open_store
from shared.tables import AuditEvent, Role, Scope, Screening, User
from tests.conftest import make_spec
from web.app import create_app

PASSWORD = "correct horse battery"
hash_password = cache(PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash)  # slow on purpose
File = tuple[str, bytes]


@dataclass
class SentTickets:
    """Keep the tickets that were sent, or fail as where Redis is away."""

    images: list[int] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    is_away: bool = False

    def send(self, model: str, images: int) -> None:
        if self.is_away:
            raise BrokerAway("Redis did not answer.")
        self.images.append(images)
        self.models.append(model)


class Site:
    """One application and its people."""

    def __init__(
        self, settings: Settings, database: Database, *, translations: Path = TRANSLATIONS, **changes: Any
    ) -> None:
        """Build it on a folder, or on whatever store the changes of the settings name."""
        # Never the project's own model folder: install_model writes where the settings point.
        apart = {"models_dir": settings.data_dir / "models", "model": make_spec().name}
        self.settings = settings.model_copy(update={**apart, **changes})
        self.database = database
        self.store = open_store(self.settings)
        self.sent_tickets = SentTickets()
        self.app = create_app(
            self.settings,
            database=database,
            store=self.store,
            ticket_sender=self.sent_tickets,
            translations=translations,
        )
        self.capacity = self.app.extensions["pneumoscreen"].capacity
        status = self.app.extensions["pneumoscreen_watch"].status
        for measured in (self.capacity.backlog, self.capacity.free_bytes, self.capacity.workers, status):
            measured.seconds = 0.0  # tests change things and look at once

    def add_user(self, name: str, role: Role = Role.TECHNICIAN, password: str | None = None) -> User:
        with self.database.write() as session:
            user = users.add_user(session, name, role)
            user.password_hash = hash_password(password) if password else None
            return user

    def token_client(self, user: User, *scopes: Scope) -> FlaskClient:
        """A program with a token, of every scope where none is named."""
        with self.database.write() as session:
            secret = tokens.make_token(session, user, "test", scopes=scopes or Scope)
        client = self.app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
        return client

    def browser(self, user: User | None = None) -> FlaskClient:
        """A browser; signed in where an account is given."""
        client = self.app.test_client()
        client.environ_base["HTTP_ACCEPT"] = "text/html"
        if user is not None:
            with self.database.write() as session:
                address = f"/sign-in/link/{links.make_link(session, user)}"
            assert press(client, address).status_code == 303
        return client

    def install_model(self, spec: ModelSpec) -> None:
        """Put a model folder without weights where the settings look for one."""
        folder = self.settings.model_dir
        assert not folder.is_relative_to(REPOSITORY), folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SPEC_FILE).write_text(spec.model_dump_json())

    def work(
        self,
        spec: ModelSpec,
        answers: dict[str, float],
        images: int = 1000,
        heat_map: bytes | None = None,
        exposure: Exposure | None = None,
    ) -> None:
        """Screen what waits: `answers` gives p(pneumonia) by sha256, 0.1 where it is silent; all get one heat map."""
        import numpy as np

        with self.database.write() as session:
            model_id = leases.register_model(session, spec)
        with self.database.write() as session:
            claim = leases.claim(
                session, model_id=model_id, model_name=self.settings.model, limit=images, worker="w1", lease_seconds=60
            )
        assert claim is not None
        p = np.array([answers.get(image.sha256, 0.1) for image in claim.screenings])
        predictions = spec.judge(np.stack([1 - p, 0.75 * p, 0.25 * p], axis=1))
        outcomes = [
            leases.Outcome(image, prediction, heat_map=heat_map, exposure=exposure)
            for image, prediction in zip(claim.screenings, predictions, strict=True)
        ]
        with self.database.write() as session:
            leases.finish(session, claim, outcomes, model_id=model_id, threshold=spec.threshold, worker="w1")

    def actions(self) -> list[str]:
        """The audit trail, oldest first."""
        with self.database.read() as session:
            return list(session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)))

    def count(self, table: type) -> int:
        with self.database.read() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0

    def screenings(self) -> list[Screening]:
        with self.database.read() as session:
            return list(session.scalars(select(Screening).order_by(Screening.job_id, Screening.position)))

    def stored(self) -> list[Path]:
        """Every file in the store but its record, half-written ones too."""
        return [path for path in self.settings.store.rglob("*") if path.is_file() and path.name != KEYS_FILE]


def form(files: Iterable[File], **texts: str) -> dict[str, Any]:
    """The arguments of a multipart request; texts go first."""
    parts = [_part(f'name="{name}"', value.encode()) for name, value in texts.items()]
    parts += [_part(f'name="files"; filename="{name}"', data) for name, data in files]
    return {"data": b"".join([*parts, b"--edge--\r\n"]), "content_type": "multipart/form-data; boundary=edge"}


def _part(head: str, data: bytes) -> bytes:
    return f"--edge\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"


def post_images(client: FlaskClient, *files: File, to: str = "/api/v1/jobs", **options: Any) -> TestResponse:
    """Send images; options in `headers`, all else is text of the form."""
    headers = options.pop("headers", {})
    return client.post(to, headers=headers, **form(files, **options))


def token_of(page: TestResponse) -> str:
    """The CSRF token that a page carries."""
    found = re.search(r'name="(?:csrf-token|csrf_token)"[^>]*(?:content|value)="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def press(client: FlaskClient, address: str, page: str | None = None, **fields: str) -> TestResponse:
    """Load a page, fill in its form and send it."""
    token = token_of(client.get(page or address))
    return client.post(address, data={"csrf_token": token, **fields})


def make_zip(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Pack files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return out.getvalue()
