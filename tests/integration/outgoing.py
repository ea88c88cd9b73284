"""Webhook messages and e-mails in tests: those that were noted, and sending them, here or by the sweep."""

import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.db import Database, now
from shared.messages.digests import APART
from shared.models.spec import ModelSpec
from shared.settings import PREFIX, Settings
from shared.tables import Image, Message, Role, Screening, User
from tests.conftest import ROOT, draw, encode
from tests.mail_server import MailServer
from tests.web_site import Site, post_images
from worker.messages.sender import Sender

PATIENT = "Mustermann"
PUBLIC = "https://pneumo.example.org/below"


def to(settings: Settings, server: MailServer, **changes: object) -> Settings:
    """Settings under which e-mails go to a server of the tests."""
    given = {"smtp_host": "127.0.0.1", "smtp_port": server.port, "smtp_tls": "none", "smtp_seconds": 5.0}
    return settings.model_copy(update={**given, "smtp_from": "pneumo@example.org", "public_url": PUBLIC, **changes})


def person(
    database: Database,
    name: str,
    role: Role = Role.READER,
    *,
    finished: bool = False,
    flagged: bool = False,
    **more: object,
) -> User:
    """An account with an address that wants e-mails."""
    given = {"email": f"{name}@example.org", "emails_job_finished": finished, "emails_image_flagged": flagged, **more}
    with database.write() as session:
        user = User(name=name, role=role, **given)
        session.add(user)
        session.flush()
        return user


@contextmanager
def slow_lookups(*hosts: str) -> Iterator[list[str]]:
    """Have the resolver take half a minute for some hosts, or until this ends; collect those it has answered.

    A patch, as the real one asks servers that no test may change.
    """
    look_up, ended, answered = socket.getaddrinfo, threading.Event(), []

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        if host in hosts:
            ended.wait(30)
            answered.append(host)
        return look_up(host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        try:
            yield answered
        finally:
            ended.set()


def change(database: Database, user: User, **values: object) -> None:
    with database.write() as session:
        session.execute(update(User).where(User.id == user.id).values(**values))


def end_pause(database: Database) -> None:
    """Let every account have its next e-mail now."""
    with database.write() as session:
        session.execute(update(User).where(User.emailed_at.is_not(None)).values(emailed_at=now() - APART))


def screen(site: Site, spec: ModelSpec, sender: User, *p_pneumonia: float, start: int = 0, **options: str) -> uuid.UUID:
    """Send a job of so many images and screen it."""
    files = [(f"{PATIENT}-{n}.png", encode(draw(start + n), "PNG")) for n in range(len(p_pneumonia))]
    answer = post_images(site.token_client(sender), *files, name=f"Ward of {PATIENT}", **options)
    assert answer.status_code == 202
    with site.database.read() as session:
        rows = session.execute(select(Image.sha256, Screening.file_name).join(Screening)).all()
    by_name = dict(zip((name for name, _ in files), p_pneumonia, strict=True))
    site.work(spec, {sha256: by_name[name] for sha256, name in rows if name in by_name})
    return uuid.UUID(answer.json["id"])


def told(server: MailServer) -> list[tuple[str, str]]:
    """Who was told what."""
    return sorted((mail.recipients[0].partition("@")[0], mail.parsed["Subject"]) for mail in server.mails)


def messages(database: Database) -> list[Message]:
    """Return every message, oldest first."""
    with database.read() as session:
        return list(session.scalars(select(Message).order_by(Message.created_at, Message.event)))


def make_due(database: Database, **values: object) -> None:
    """Let every message be sent now, and change what else is given."""
    with database.write() as session:
        session.execute(update(Message).values(due_at=now() - timedelta(seconds=1), **values))


def send(database: Database, settings: Settings, **options: Path) -> int:
    """Send once, in a thread as the sweep does; in this one a browser test may have left its event loop running."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(Sender(database, settings, **options).send_due).result()


@contextmanager
def running_sweep(folder: Path, settings: Settings, **changes: str) -> Iterator[Path]:
    """Run the sweep on the SQLite database of `folder`, give its log, and stop it.

    Raises:
        AssertionError: It did not end with 0.
    """
    environment = {
        **os.environ,
        f"{PREFIX}DATA_DIR": str(settings.data_dir),
        f"{PREFIX}DATABASE_URL": f"sqlite:///{folder / 'test.db'}",
        f"{PREFIX}REDIS_URL": f"unix://{folder / 'no.sock'}",
        f"{PREFIX}SWEEP_SECONDS": "0.2",
        **{f"{PREFIX}{name.upper()}": value for name, value in changes.items()},
    }
    log = folder / "sweep.log"
    with log.open("wb") as out:
        sweep = subprocess.Popen(
            [sys.executable, "-m", "worker.sweep"], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            yield log
        finally:
            sweep.terminate()
            assert sweep.wait(30) == 0
