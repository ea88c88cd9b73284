"""Transactions that only read: on both databases a write in one raises, and nothing is lost without a word."""

import os
import shutil
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from shared.audit.chain import read_head
from shared.audit.record import Action, record
from shared.audit.verify import Fault, verify
from shared.db import Base, Database, WriteInRead, insert_new
from shared.store import durability
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


# ---------------------------------------------------------------- files in trouble


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_a_log_that_was_cut_gives_an_earlier_moment_whole_and_a_kept_head_tells(tmp_path: Path, share: float) -> None:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    Base.metadata.create_all(database.engine)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    for number in range(20):
        with database.write() as session:
            record(session, Action.SIGN_OUT, user_id=None, actor=f"person {number}")
    with database.read() as session:
        kept = read_head(session)
    (tmp_path / "cut").mkdir()
    for name in ("test.db", "test.db-wal"):
        shutil.copy(tmp_path / name, tmp_path / "cut" / name)
    database.close()
    log = tmp_path / "cut" / "test.db-wal"
    os.truncate(log, int(log.stat().st_size * share))
    cut = Database(f"sqlite:///{tmp_path / 'cut' / 'test.db'}")
    with cut.read() as session:
        assert session.scalar(text("PRAGMA quick_check")) == "ok"
        head = read_head(session)
    assert head is not None
    assert head.sequence < 20
    assert verify(cut).broken is None, "what is left is whole"
    broken = verify(cut, kept=kept).broken
    assert broken is not None
    assert (broken.sequence, broken.fault) == (head.sequence + 1, Fault.MISSING)
    cut.close()


def test_a_network_share_is_known_by_its_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number = tmp_path.stat().st_dev
    place = f"{os.major(number)}:{os.minor(number)}"
    for kind, found in (("nfs4", "nfs4"), ("cifs", "cifs"), ("ext4", None), ("tmpfs", None)):
        mounts = tmp_path / "mountinfo"
        mounts.write_text(f"36 35 {place} / /mnt rw,noatime master:1 - {kind} server:/share rw\n")
        monkeypatch.setattr(durability, "_MOUNTS", mounts)
        assert durability.network_file_system(tmp_path) == found
    monkeypatch.setattr(durability, "_MOUNTS", tmp_path / "none")
    assert durability.network_file_system(tmp_path) is None
