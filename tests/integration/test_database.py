"""Transactions that only read: on both databases a write in one raises, and nothing is lost without a word."""

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from shared.audit import Action, record
from shared.db import Database, WriteInRead, insert_new
from shared.tables import Image, Role, Tombstone, User

STATEMENTS = {
    "insert": lambda session: session.execute(insert(User).values(name="tom", role=Role.READER, is_active=True)),
    "insert new": lambda session: insert_new(session, Image, [{"sha256": "0" * 64, "size_bytes": 1}]),
    "update": lambda session: session.execute(update(User).values(name="tom")),
    "delete": lambda session: session.execute(delete(Tombstone)),
    "flush": lambda session: (session.add(User(name="tom", role=Role.READER)), session.flush()),
    "commit": lambda session: (session.add(User(name="tom", role=Role.READER)), session.commit()),
    "create": lambda session: session.execute(text("CREATE TABLE t (a INTEGER)")),
}


def rename(session: Session) -> None:
    session.scalars(select(User)).one().name = "tom"


FORGOTTEN = {
    "added": lambda session: session.add(User(name="tom", role=Role.READER)),
    "changed": rename,
    "deleted": lambda session: session.delete(session.scalars(select(User)).one()),
}


def names(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(User.name)))


@pytest.mark.usefixtures("technician")
@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_write_in_a_transaction_that_reads_is_refused_by_the_database(database: Database, kind: str) -> None:
    with pytest.raises(DBAPIError, match=r"readonly database|read-only transaction"), database.read() as session:
        STATEMENTS[kind](session)
    assert names(database) == ["tina"]


@pytest.mark.usefixtures("technician")
@pytest.mark.parametrize("kind", FORGOTTEN)
def test_a_row_that_was_never_sent_is_said(database: Database, kind: str) -> None:
    with pytest.raises(WriteInRead, match=r"Database.write\(\).*User"), database.read() as session:
        FORGOTTEN[kind](session)
    assert names(database) == ["tina"]


def test_an_audit_record_in_a_transaction_that_reads_is_refused(database: Database) -> None:
    with pytest.raises(WriteInRead, match="sign_out"), database.read() as session:
        record(session, Action.SIGN_OUT, user_id=None)


@pytest.mark.usefixtures("technician")
def test_a_transaction_that_reads_keeps_its_own_error_and_takes_what_was_only_looked_at(database: Database) -> None:
    with pytest.raises(ValueError, match="of the reader"), database.read() as session:
        session.add(User(name="tom", role=Role.READER))
        raise ValueError("of the reader")
    with database.read() as session:
        user = session.scalars(select(User)).one()
        user.name = "tina"  # the same again


@pytest.mark.usefixtures("technician")
def test_a_connection_that_only_read_writes_again(database: Database) -> None:
    for number in range(3):
        assert names(database) == [f"n{number - 1}" if number else "tina"]
        with database.write() as session:
            session.execute(update(User).values(name=f"n{number}"))
    assert names(database) == ["n2"]
    with database.engine.begin() as connection:  # as migrations do
        connection.execute(delete(User))
    assert names(database) == []


def test_a_reader_waits_for_no_writer(sqlite_database: Database) -> None:
    with sqlite_database.write() as writing:
        writing.add(User(name="tom", role=Role.READER))
        writing.flush()
        assert names(sqlite_database) == []
    assert names(sqlite_database) == ["tom"]
