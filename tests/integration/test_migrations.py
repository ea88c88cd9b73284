"""Migrations on both databases: from empty, one head, no drift, down and up again."""

from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from migrations import schema
from shared.accounts import tokens, users
from shared.db import Database, new_id, now
from shared.images.exposure import Exposure
from shared.models.spec import ModelSpec
from shared.settings import Settings
from shared.states import State
from shared.tables import (
    ApiToken,
    Image,
    Message,
    MessageEvent,
    MessageState,
    Prediction,
    Review,
    ReviewOutcome,
    Role,
    Scope,
    Screening,
)
from tests.conftest import draw, encode
from tests.web_site import Site, post_images


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("empty_postgres_url")
    database = Database(url)
    yield database
    database.close()


def test_there_is_one_head() -> None:
    assert len(ScriptDirectory(str(schema.FOLDER)).get_heads()) == 1


def test_an_empty_database_comes_to_the_newest_schema_without_drift(empty_database: Database) -> None:
    assert schema.current(empty_database) is None
    schema.upgrade(empty_database)
    assert schema.current(empty_database) == schema.newest()
    command.check(schema.configuration(empty_database))


def test_every_migration_goes_down_and_up_again(empty_database: Database) -> None:
    configuration = schema.configuration(empty_database)
    schema.upgrade(empty_database)
    for _ in ScriptDirectory(str(schema.FOLDER)).walk_revisions():
        command.downgrade(configuration, "-1")
    assert schema.current(empty_database) is None
    schema.upgrade(empty_database)
    command.check(configuration)


def test_predictions_outlive_the_migration_of_heat_maps(
    empty_database: Database, settings: Settings, spec: ModelSpec
) -> None:
    configuration = schema.configuration(empty_database)
    schema.upgrade(empty_database)
    site = Site(settings, empty_database)
    post_images(site.token_client(site.add_user("tina")), ("image", encode(draw(1))))
    site.work(spec, {}, heat_map=b"a map")
    command.downgrade(configuration, "0001")
    schema.upgrade(empty_database)
    with empty_database.read() as session:
        assert session.scalars(select(Prediction.heat_map)).all() == [None]
    assert site.screenings()[0].prediction_id is not None


def test_predictions_of_before_exposure_was_kept_have_none(
    empty_database: Database, settings: Settings, spec: ModelSpec
) -> None:
    configuration = schema.configuration(empty_database)
    schema.upgrade(empty_database)
    site = Site(settings, empty_database)
    post_images(site.token_client(site.add_user("tina")), ("image", encode(draw(1))))
    site.work(spec, {}, exposure=Exposure(120, 180))
    kept = select(Prediction.brightness, Prediction.contrast, Prediction.p_pneumonia)
    with empty_database.read() as session:
        assert session.execute(kept).all() == [(120, 180, 0.1)]
    command.downgrade(configuration, "0021")
    command.downgrade(configuration, "-1")
    schema.upgrade(empty_database)
    with empty_database.read() as session:
        assert session.execute(kept).all() == [(None, None, 0.1)]
    assert site.screenings()[0].prediction_id is not None


def test_a_token_of_few_scopes_is_revoked_where_there_are_none(empty_database: Database) -> None:
    configuration = schema.configuration(empty_database)
    schema.upgrade(empty_database)
    with empty_database.write() as session:
        user = users.add_user(session, "rita", Role.ADMIN)
        for scopes in ((Scope.READ,), (Scope.READ, Scope.SUBMIT), tuple(Scope)):
            tokens.make_token(session, user, " ".join(scopes), scopes=scopes)
    command.downgrade(configuration, "0003")
    schema.upgrade(empty_database)
    with empty_database.read() as session:
        valid = session.execute(select(ApiToken.name, ApiToken.scope).where(ApiToken.revoked_at.is_(None))).all()
    assert valid == [("read submit admin", "admin read submit")]


def test_gathered_messages_stand_where_their_email_does_once_there_are_no_digests(empty_database: Database) -> None:
    configuration = schema.configuration(empty_database)
    schema.upgrade(empty_database)
    with empty_database.write() as session:
        user = users.add_user(session, "rita", Role.READER)
        for state in (MessageState.WAITING, MessageState.SENT):
            first, second = new_id(), new_id()
            values = {"user_id": user.id, "event": MessageEvent.IMAGE_FLAGGED, "body": {}, "digest_id": first}
            times = {"due_at": now(), "give_up_at": now()}
            session.add(Message(id=first, state=state, **values, **times))
            session.add(Message(id=second, state=MessageState.GATHERED, **values, **times))
    command.downgrade(configuration, "0022")
    schema.upgrade(empty_database)
    with empty_database.read() as session:
        states = session.scalars(select(Message.state).order_by(Message.id)).all()
        assert session.scalars(select(Message.digest_id).distinct()).all() == [None]
    assert states == [MessageState.WAITING] * 2 + [MessageState.SENT] * 2


def test_screenings_of_before_get_their_copies(empty_database: Database, settings: Settings, spec: ModelSpec) -> None:
    configuration = schema.configuration(empty_database)
    schema.upgrade(empty_database)
    site = Site(settings, empty_database)
    tina = site.add_user("tina")
    post_images(site.token_client(tina), *[(f"image-{n}", encode(draw(n))) for n in range(5)])
    site.work(spec, {}, images=3)
    copied = (Screening.id, Screening.created_by_id, Screening.model_id, Screening.label, Screening.p_pneumonia)
    with empty_database.read() as session:
        before = session.execute(select(*copied).order_by(Screening.id)).all()
    assert [row.created_by_id for row in before] == [tina.id] * 5
    assert [row.label is not None for row in before] == [True] * 3 + [False] * 2
    command.downgrade(configuration, "0006")
    schema.upgrade(empty_database)
    with empty_database.read() as session:
        assert session.execute(select(*copied).order_by(Screening.id)).all() == before


def test_screenings_of_before_reviews_know_the_latest_of_each_image(
    empty_database: Database, settings: Settings
) -> None:
    configuration = schema.configuration(empty_database)
    schema.upgrade(empty_database)
    site, other = Site(settings, empty_database), Site(settings, empty_database, model="other-model")
    tina = site.token_client(site.add_user("tina"))
    once, twice = ("once", encode(draw(1))), ("twice", encode(draw(2)))
    post_images(tina, once, twice)
    post_images(tina, twice, twice, ("refused", b"no image"))
    post_images(other.token_client(other.add_user("otto")), once)
    kept = (Screening.id, Screening.is_latest, Screening.review_state)
    with empty_database.read() as session:
        before = session.execute(select(*kept).order_by(Screening.id)).all()
    assert [row.is_latest for row in before] == [True, False, False, True, True, True]
    command.downgrade(configuration, "0009")
    schema.upgrade(empty_database)
    with empty_database.read() as session:
        assert session.execute(select(*kept).order_by(Screening.id)).all() == before


def test_results_that_a_cancelled_or_failed_screening_hid_are_listed_again(
    empty_database: Database, settings: Settings, spec: ModelSpec
) -> None:
    schema.upgrade(empty_database)
    site = Site(settings, empty_database)
    site.install_model(spec)
    tina = site.token_client(site.add_user("tina"))
    for _ in range(2):
        post_images(tina, *[(f"{n}", encode(draw(n))) for n in range(4)])
    command.downgrade(schema.configuration(empty_database), "0024")
    states = [State.DONE, State.REJECTED, State.QUEUED, State.FAILED]
    ended = [State.CANCELLED, State.FAILED, State.CANCELLED, State.FAILED]
    with empty_database.write() as session:
        keys = session.scalars(select(Screening.id).order_by(Screening.id)).all()
        for key, state in zip(keys, states + ended, strict=True):
            hidden = update(Screening).where(Screening.id == key)
            session.execute(hidden.values(state=state, is_latest=key in keys[4:]))
    schema.upgrade(empty_database)
    with empty_database.read() as session:
        flags = session.scalars(select(Screening.is_latest).order_by(Screening.id)).all()
    assert flags == [True, True, True, False, False, False, False, True]


def test_the_database_refuses_to_change_a_review_and_lets_it_go_with_its_image(empty_database: Database) -> None:
    schema.upgrade(empty_database)
    with empty_database.write() as session:
        rita = users.add_user(session, "rita", Role.READER)
        session.add(Image(sha256="a" * 64, size_bytes=1, width=1, height=1, media_type="image/png"))
        session.flush()
        session.add(
            Review(image_sha256="a" * 64, number=1, user_id=rita.id, outcome=ReviewOutcome.AGREE, is_blind=False)
        )
    with pytest.raises(DBAPIError, match="add another one"), empty_database.write() as session:
        session.execute(update(Review).values(outcome=ReviewOutcome.OVERRULE))
    with empty_database.write() as session:
        session.execute(update(Review).values(screening_id=None))
        session.execute(delete(Image))
        assert session.scalars(select(Review)).all() == []
