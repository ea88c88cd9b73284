"""Migration 0010: columns, codes and the audit trail take the glossary's words, and give them back."""

from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import text

from migrations import schema
from shared.audit.record import Action, record
from shared.audit.verify import verify
from shared.db import Database
from shared.models.spec import ModelSpec
from shared.settings import Settings
from shared.tables import Role
from tests.web_site import Site, post_images


@pytest.fixture(params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, settings: Settings, spec: ModelSpec, tmp_path) -> Iterator[Database]:
    """Keep a database with a refused image and an audit trail in which an image was viewed."""
    url = f"sqlite:///{tmp_path / 'filled.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("empty_postgres_url")
    database = Database(url)
    schema.upgrade(database)
    site = Site(settings, database)
    tina = site.add_user("tina", Role.TECHNICIAN)
    post_images(site.token_client(tina), ("notes.txt", b"no image"))
    with database.write() as session:
        session.execute(text("UPDATE screenings SET error_code = 'image_damaged'"))
        record(session, Action.IMAGE_VIEWED, user_id=tina.id, subject="1")
    with database.write() as session:
        record(session, Action.JOB_DELETED, user_id=tina.id, subject="2", detail={"name": "x"})
    yield database
    database.close()


def read(database: Database, question: str) -> list[str]:
    with database.read() as session:
        return list(session.scalars(text(question)))


def test_words_change_and_change_back_and_the_trail_holds(filled: Database) -> None:
    configuration = schema.configuration(filled)
    command.downgrade(configuration, "0009")
    assert read(filled, "SELECT error_code FROM screenings") == ["film_damaged"]
    assert "film_viewed" in read(filled, "SELECT action FROM audit_events ORDER BY sequence")
    assert read(filled, "SELECT expected_films FROM jobs") == [None]
    before = read(filled, "SELECT hash FROM audit_events ORDER BY sequence")
    schema.upgrade(filled)
    assert read(filled, "SELECT error_code FROM screenings") == ["image_damaged"]
    assert read(filled, "SELECT expected_images FROM jobs") == [None]
    assert "image_viewed" in read(filled, "SELECT action FROM audit_events ORDER BY sequence")
    assert read(filled, "SELECT hash FROM audit_events ORDER BY sequence") != before
    assert verify(filled).broken is None
    command.downgrade(configuration, "0009")
    assert read(filled, "SELECT hash FROM audit_events ORDER BY sequence") == before
