"""The audit trail on both databases: whatever is done to a row shows, and triggers refuse to do it."""

import hashlib
import json
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, insert, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from migrations import schema
from shared.accounts import users
from shared.audit import chain
from shared.audit.chain import Head
from shared.audit.record import Action, record
from shared.audit.trail import FORMATS, TrailFilters, iterate_events, row_values, write_trail
from shared.audit.verify import Fault, verify
from shared.db import Database, new_id, now
from shared.tables import AuditEvent, AuditHead, Role, User
from tests.conftest import _create_database as create_database
from tests.conftest import _with_database as with_database

ROWS = 12
Change = Callable[[Any], Any]


def open_database(kind: str, folder: Path, request: pytest.FixtureRequest) -> Database:
    """Make a migrated database, so with triggers."""
    if kind == "sqlite":
        database = Database(f"sqlite:///{folder / 'trail.db'}")
        schema.upgrade(database)
        return database
    url, name = request.getfixturevalue("postgres_url"), f"t{uuid.uuid4().hex}"
    create_database(url, name, "template_migrated")
    return Database(with_database(url, name))


@pytest.fixture(params=["sqlite", "postgresql"])
def trail(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A trail of ROWS rows, to write to."""
    database = open_database(request.param, tmp_path, request)
    write_rows(database)
    yield database
    database.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def fixed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A trail of ROWS rows that no test changes."""
    database = open_database(request.param, tmp_path_factory.mktemp("fixed"), request)
    write_rows(database)
    yield database
    database.close()


def write_rows(database: Database, count: int = ROWS) -> None:
    with database.write() as session:
        user = users.find_user(session, "rita") or users.add_user(session, "rita", Role.READER)
    for n in range(count):
        with database.write() as session:
            detail = {"format": "csv"} if n % 3 == 0 else None
            record(session, Action.IMAGE_VIEWED, user_id=user.id, subject=new_id(), address="10.0.0.7", detail=detail)


def read_rows(database: Database) -> list[dict[str, Any]]:
    with database.read() as session:
        found = session.scalars(select(AuditEvent).order_by(AuditEvent.sequence))
        return [{column.key: getattr(event, column.key) for column in AuditEvent.__table__.columns} for event in found]


def head_of(database: Database) -> Head:
    with database.read() as session:
        head = chain.read_head(session)
    assert head is not None
    return head


TRIGGERS = {
    "sqlite": ("audit_events_update", "audit_events_delete", "audit_events_replace", "audit_heads_update"),
    "postgresql": ("audit_events_change ON audit_events", "audit_heads_update ON audit_heads"),
}


def tamper(database: Database) -> None:
    """Become whoever may drop triggers."""
    with database.write() as session:
        for name in TRIGGERS[session.get_bind().dialect.name]:
            session.execute(text(f"DROP TRIGGER {name}"))


def rewrite(database: Database, rows: list[dict[str, Any]]) -> None:
    """Put other rows in place of those that are there; the head stays."""
    with database.write() as session:
        session.execute(text("DELETE FROM audit_events"))
        if rows:
            session.execute(insert(AuditEvent), rows)


# ---------------------------------------------------------------- appending


def test_rows_are_numbered_chained_and_named(fixed: Database) -> None:
    rows = read_rows(fixed)
    assert [row["sequence"] for row in rows] == list(range(1, ROWS + 1))
    assert [row["previous_hash"] for row in rows] == ["0" * 64, *[row["hash"] for row in rows[:-1]]]
    assert {row["actor"] for row in rows} == {"rita"}
    assert head_of(fixed) == Head(ROWS, rows[-1]["hash"])
    assert verify(fixed).place == head_of(fixed)


def test_an_act_that_fails_leaves_no_row(trail: Database) -> None:
    with pytest.raises(RuntimeError, match="in the act"), trail.write() as session:
        record(session, Action.SIGN_OUT, user_id=None)
        raise RuntimeError("in the act")
    assert head_of(trail).sequence == ROWS


def test_a_session_that_goes_on_after_a_rollback_does_not_write_what_was_undone(trail: Database) -> None:
    with trail.write() as session:
        record(session, Action.SIGN_OUT, user_id=None, actor="undone")
        session.rollback()
    with trail.write() as session, session.begin_nested():
        record(session, Action.SIGN_OUT, user_id=None, actor="kept")
    assert [row["actor"] for row in read_rows(trail)[ROWS:]] == ["kept"]
    assert verify(trail).broken is None


def test_writers_at_once_leave_no_gap(trail: Database) -> None:
    with trail.read() as session:
        user = session.scalars(select(User)).one()
    failures: list[Exception] = []

    def act(count: int) -> None:
        try:
            for n in range(count):
                with trail.write() as session:
                    # Some lock the account as the last-admin check does, others lock it by the foreign key alone.
                    if n % 2:
                        session.execute(select(User.id).with_for_update())
                    record(session, Action.IMAGE_VIEWED, user_id=user.id)
                    record(session, Action.IMAGE_VIEWED, user_id=None, actor="os:root")
        except Exception as error:  # noqa: BLE001  # told below, in the thread of the test
            failures.append(error)

    threads = [threading.Thread(target=act, args=(15,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert [row["sequence"] for row in read_rows(trail)] == list(range(1, ROWS + 4 * 15 * 2 + 1))
    assert verify(trail).broken is None


def test_a_trail_without_its_head_takes_nothing(trail: Database) -> None:
    with trail.write() as session:
        names = {"sqlite": "audit_heads_delete", "postgresql": "audit_heads_remove ON audit_heads"}
        session.execute(text(f"DROP TRIGGER {names[session.get_bind().dialect.name]}"))
        session.execute(text("DELETE FROM audit_heads"))
    with pytest.raises(chain.HeadMissing), trail.write() as session:
        record(session, Action.SIGN_OUT, user_id=None)
    broken = verify(trail).broken
    assert broken is not None
    assert (broken.sequence, broken.fault) == (0, Fault.MISSING)


@pytest.fixture
def empty_trail(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A trail without a row on PostgreSQL, where transactions that write run beside each other."""
    database = open_database("postgresql", tmp_path, request)
    yield database
    database.close()


def write_during_the_look_for_rows(database: Database) -> None:
    """Have another transaction write the first row after the head was looked for and before the rows are."""
    waiting = [True]

    @event.listens_for(database.engine, "before_cursor_execute")
    def write(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if waiting and "EXISTS" in statement and "audit_events" in statement:
            waiting.clear()
            with database.write() as session:
                record(session, Action.SIGN_OUT, user_id=None, actor="os:other")


def test_two_first_rows_at_the_same_time_are_both_written(empty_trail: Database) -> None:
    write_during_the_look_for_rows(empty_trail)
    with empty_trail.write() as session:
        record(session, Action.SIGN_OUT, user_id=None, actor="os:root")
    assert [row["actor"] for row in read_rows(empty_trail)] == ["os:other", "os:root"]
    assert verify(empty_trail).broken is None


def test_the_first_row_written_during_a_look_at_the_head_is_not_taken_for_a_lost_head(empty_trail: Database) -> None:
    write_during_the_look_for_rows(empty_trail)
    with empty_trail.read() as session:
        assert chain.read_head(session) == head_of(empty_trail)
    assert head_of(empty_trail).sequence == 1


# ---------------------------------------------------------------- triggers


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET actor = 'tom'",
        "UPDATE audit_events SET hash = '' WHERE sequence = 12",
        "DELETE FROM audit_events WHERE sequence = 3",
        "DELETE FROM audit_events",
        "DELETE FROM audit_heads",
        "UPDATE audit_heads SET sequence = 11",
        "UPDATE audit_heads SET hash = ''",
    ],
)
def test_the_database_refuses_to_change_what_is_written(fixed: Database, statement: str) -> None:
    with pytest.raises(DBAPIError, match="The audit trail takes new rows only"), fixed.write() as session:
        session.execute(text(statement))
    assert verify(fixed).broken is None


@pytest.mark.parametrize("table", ["audit_events", "audit_heads"])
def test_the_database_refuses_its_own_shortcuts(fixed: Database, table: str) -> None:
    with fixed.write() as session:
        is_sqlite = session.get_bind().dialect.name == "sqlite"
        replace = f"REPLACE INTO {table} SELECT * FROM {table}"  # noqa: S608  # one of the two names above
        statement = replace if is_sqlite else f"TRUNCATE {table} CASCADE"
    with pytest.raises(DBAPIError, match="The audit trail takes new rows only"), fixed.write() as session:
        session.execute(text(statement))
    assert verify(fixed).broken is None


# ---------------------------------------------------------------- what shows

SOMEBODY = uuid.UUID(int=99)
EDITS: dict[str, Change] = {
    "created_at": lambda value: value + timedelta(microseconds=1),
    "user_id": lambda _: SOMEBODY,
    "actor": lambda value: f"{value}x",
    "action": lambda _: "sign_out",
    "subject": lambda value: f"{value}0",
    "address": lambda _: None,
    "detail": lambda value: None if value else {"a": "b"},
    "previous_hash": lambda value: f"x{value[1:]}",
    "hash": lambda value: f"x{value[1:]}",
    "id": lambda _: uuid.uuid4(),
}


@pytest.fixture(scope="module")
def chained() -> list[dict[str, Any]]:
    """A chain of rows in memory, to be tampered with."""
    rows: list[dict[str, Any]] = []
    head = chain.START
    for n in range(1, ROWS + 1):
        row = {
            "id": uuid.UUID(int=n), "sequence": n, "user_id": None, "actor": f"person {n}", "action": "image_viewed",
            "subject": f"image {n}", "address": "10.0.0.7", "detail": {"n": str(n)} if n % 2 else None,
            "created_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n), "previous_hash": head.hash,
        }  # fmt: skip
        row["hash"] = chain.digest(row)
        head = Head(n, row["hash"])
        rows.append(row)
    return rows


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database whose triggers somebody has dropped."""
    database = open_database(request.param, tmp_path_factory.mktemp("opened"), request)
    tamper(database)
    with database.write() as session:
        session.add(User(id=SOMEBODY, name="somebody", role=Role.READER))
        session.execute(insert(AuditHead), {"id": 1, "sequence": 0, "hash": ""})
    yield database
    database.close()


@pytest.fixture
def bare(opened: Database, chained: list[dict[str, Any]]) -> Database:
    """A database without triggers whose head is that of the chain in memory."""
    with opened.write() as session:
        session.execute(update(AuditHead).values(sequence=ROWS, hash=chained[-1]["hash"]))
    return opened


MANY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(
    number=st.integers(0, ROWS - 1),
    column=st.sampled_from(sorted(EDITS)),
    is_hashed_anew=st.booleans(),
)
@MANY
def test_any_edit_is_found(
    bare: Database, chained: list[dict[str, Any]], number: int, column: str, is_hashed_anew: bool
) -> None:
    rows = [dict(row) for row in chained]
    rows[number][column] = EDITS[column](rows[number][column])
    if is_hashed_anew and column != "hash":
        rows[number]["hash"] = chain.digest(rows[number])
    rewrite(bare, rows)
    broken = verify(bare).broken
    assert broken is not None
    assert broken.fault is Fault.EDITED
    # Of two neighbours that do not join, either may be the one that was hashed anew.
    assert broken.sequence in {number + 1, max(number, 1) if is_hashed_anew else number + 1}


@given(gone=st.sets(st.integers(0, ROWS - 1), min_size=1))
@MANY
def test_any_removal_is_found(bare: Database, chained: list[dict[str, Any]], gone: set[int]) -> None:
    rewrite(bare, [row for n, row in enumerate(chained) if n not in gone])
    broken = verify(bare).broken
    assert broken is not None
    assert (broken.sequence, broken.fault) == (min(gone) + 1, Fault.MISSING)


@given(pair=st.sets(st.integers(0, ROWS - 1), min_size=2, max_size=2))
@MANY
def test_any_swap_is_found(bare: Database, chained: list[dict[str, Any]], pair: set[int]) -> None:
    first, second = sorted(pair)
    rows = [dict(row) for row in chained]
    rows[first]["sequence"], rows[second]["sequence"] = second + 1, first + 1
    rewrite(bare, rows)
    broken = verify(bare).broken
    assert broken is not None
    assert (broken.sequence, broken.fault) == (first + 1, Fault.REORDERED)


@given(order=st.permutations(range(ROWS)).filter(lambda order: order != sorted(order)))
@MANY
def test_any_other_order_is_found(bare: Database, chained: list[dict[str, Any]], order: list[int]) -> None:
    rewrite(bare, [{**chained[place], "sequence": n + 1} for n, place in enumerate(order)])
    broken = verify(bare).broken
    assert broken is not None
    assert broken.sequence == next(n for n, place in enumerate(order) if n != place) + 1


@given(after=st.integers(0, ROWS), is_chained=st.booleans())
@MANY
def test_any_insertion_is_found(bare: Database, chained: list[dict[str, Any]], after: int, is_chained: bool) -> None:
    before = chained[after - 1] if after else None
    new = {**chained[0], "id": uuid.uuid4(), "sequence": after + 1, "actor": "nobody"}
    new["previous_hash"] = before["hash"] if before and is_chained else "0" * 64
    new["hash"] = chain.digest(new)
    rewrite(bare, [*chained[:after], new, *[{**row, "sequence": row["sequence"] + 1} for row in chained[after:]]])
    broken = verify(bare).broken
    assert broken is not None
    assert broken.fault in {Fault.INSERTED, Fault.REORDERED, Fault.EDITED}
    assert broken.sequence <= after + 2
    if is_chained and after < ROWS:
        assert broken.fault in {Fault.INSERTED, Fault.EDITED}
        assert broken.sequence == after + 1


@pytest.mark.parametrize("sequence", [0, -3, ROWS + 1, ROWS + 1000])
def test_a_row_outside_the_chain_is_found(bare: Database, chained: list[dict[str, Any]], sequence: int) -> None:
    rewrite(bare, [*chained, {**chained[0], "id": uuid.uuid4(), "sequence": sequence}])
    broken = verify(bare).broken
    assert broken is not None
    assert (broken.sequence, broken.fault) == (sequence, Fault.INSERTED)


def test_a_trail_rewritten_to_its_head_shows_by_a_head_that_was_kept(
    bare: Database, chained: list[dict[str, Any]]
) -> None:
    kept = Head(ROWS, chained[-1]["hash"])
    forged, last = [], chain.START.hash
    for row in chained:
        row = {**row, "actor": "nobody", "previous_hash": last}
        last = row["hash"] = chain.digest(row)
        forged.append(row)
    rewrite(bare, forged)
    with bare.write() as session:
        session.execute(update(AuditHead).values(hash=last))
    assert verify(bare).broken is None
    broken = verify(bare, kept=kept).broken
    assert broken is not None
    assert (broken.sequence, broken.fault) == (ROWS, Fault.EDITED)


def test_a_trail_cut_with_its_head_shows_by_a_head_that_was_kept(bare: Database, chained: list[dict[str, Any]]) -> None:
    rewrite(bare, chained[:7])
    with bare.write() as session:
        session.execute(update(AuditHead).values(sequence=7, hash=chained[6]["hash"]))
    assert verify(bare).broken is None
    for kept in (Head(ROWS, chained[-1]["hash"]), Head(8, chained[7]["hash"])):
        broken = verify(bare, kept=kept).broken
        assert broken is not None
        assert (broken.sequence, broken.fault) == (8, Fault.MISSING)
    assert verify(bare, kept=Head(3, chained[2]["hash"])).broken is None


@pytest.mark.parametrize(
    "change",
    [
        "id = 'no uuid'", "id = 7", "created_at = 'yesterday'", "created_at = 7", "detail = '{'", "detail = 7.5",
        "action = x'ff'", "hash = 7", "previous_hash = x'00ff'", "actor = CAST(x'ff' AS TEXT)",
        "sequence = 'five'", "sequence = 4.5", "sequence = x'ff'", "sequence = 9e999",
        f"detail = '{'[' * 100_000}{']' * 100_000}'", f"detail = '{'9' * 5000}'", "detail = 'NaN'", "detail = x'ff'",
        "created_at = '9999-99-99 00:00:00'", "previous_hash = CAST(x'ff' AS TEXT)",
    ],
)  # fmt: skip
def test_what_sqlite_takes_and_no_program_wrote_is_found(
    sqlite_database: Database, chained: list[dict[str, Any]], change: str
) -> None:
    tamper(sqlite_database)
    with sqlite_database.write() as session:
        session.execute(insert(AuditHead), {"id": 1, "sequence": ROWS, "hash": chained[-1]["hash"]})
        session.execute(insert(AuditEvent), chained)
        session.execute(text(f"UPDATE audit_events SET {change} WHERE sequence = 5"))  # noqa: S608  # one of the above
    broken = verify(sqlite_database).broken
    assert broken is not None
    assert broken.sequence in {5, 4.5}
    for form in FORMATS:  # what is sound is exported all the same
        exported = "".join(write_trail(iterate_events(sqlite_database, TrailFilters()), form))
        assert all(f"person {n}" in exported for n in range(1, ROWS + 1) if n != 5)


@pytest.mark.parametrize(
    "change",
    ["sequence = 'x'", "sequence = 11.5", "sequence = -5", "sequence = 9e999", "hash = x'ff'", "hash = ''",
     "hash = CAST(x'ff' AS TEXT)"],
)  # fmt: skip
def test_a_head_that_no_program_wrote_is_found_and_nothing_is_added_to_it(
    sqlite_database: Database, chained: list[dict[str, Any]], change: str
) -> None:
    tamper(sqlite_database)
    with sqlite_database.write() as session:
        session.execute(insert(AuditHead), {"id": 1, "sequence": ROWS, "hash": chained[-1]["hash"]})
        session.execute(insert(AuditEvent), chained)
        session.execute(text(f"UPDATE audit_heads SET {change}"))  # noqa: S608  # one of the above
    broken = verify(sqlite_database).broken
    assert broken is not None
    assert (broken.sequence, broken.fault) == (0, Fault.EDITED)
    with pytest.raises(chain.HeadMalformed, match="audit verify"), sqlite_database.write() as session:
        record(session, Action.SIGN_OUT, user_id=None)


def test_a_row_with_a_name_that_steers_terminals_is_shown_as_text(
    sqlite_database: Database, chained: list[dict[str, Any]]
) -> None:
    tamper(sqlite_database)
    with sqlite_database.write() as session:
        session.execute(insert(AuditHead), {"id": 1, "sequence": ROWS, "hash": chained[-1]["hash"]})
        session.execute(insert(AuditEvent), [*chained, {**chained[0], "id": uuid.uuid4(), "sequence": 0}])
        session.execute(text("UPDATE audit_events SET sequence = '\x1b[31mX' WHERE sequence = 0"))
    broken = verify(sqlite_database).broken
    assert broken is not None
    assert broken.fault is Fault.INSERTED
    assert broken.message.isprintable()


def test_a_disk_that_fails_is_not_taken_for_an_edit(sqlite_database: Database, chained: list[dict[str, Any]]) -> None:
    tamper(sqlite_database)
    with sqlite_database.write() as session:
        session.execute(insert(AuditHead), {"id": 1, "sequence": ROWS, "hash": chained[-1]["hash"]})
        session.execute(insert(AuditEvent), chained)
        session.execute(text("UPDATE audit_events SET id = 'no uuid' WHERE sequence = 5"))
    failing = event.listens_for(sqlite_database.engine, "before_cursor_execute")

    @failing
    def _fail(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "audit_events.sequence = ?" in statement and 5 in parameters:
            raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises((OperationalError, sqlite3.OperationalError), match="disk I/O error"):
        verify(sqlite_database)


# ---------------------------------------------------------------- reading


def test_verification_goes_on_where_it_stopped(trail: Database) -> None:
    found = verify(trail, seconds=0)
    steps = 1
    write_rows(trail, 3)
    while not found.is_over:
        found = verify(trail, place=found.place, goal=found.goal, seconds=0)
        steps += 1
    assert steps == ROWS
    assert found.broken is None
    assert found.place.sequence == ROWS


def test_an_exported_row_can_be_checked_without_this_program(fixed: Database) -> None:
    last = "0" * 64
    for entry in iterate_events(fixed, TrailFilters()):
        row = json.loads(json.dumps(row_values(entry)))
        told = row.pop("hash")
        assert row["previous_hash"] == last
        last = hashlib.sha256(json.dumps(row, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
        assert last == told


def test_filters_narrow(trail: Database) -> None:
    with trail.write() as session:
        record(session, Action.SIGN_OUT, user_id=None, actor="os:root", subject="a thing")
    today = now().date()
    narrowed = {
        TrailFilters(person="os:root"): 1,
        TrailFilters(person="rita"): ROWS,
        TrailFilters(action="sign_out"): 1,
        TrailFilters(subject="a thing"): 1,
        TrailFilters(since=today - timedelta(days=1), until=today): ROWS + 1,
        TrailFilters(since=today + timedelta(days=1)): 0,
        TrailFilters(until=today - timedelta(days=2)): 0,
    }
    assert {filters: len(list(iterate_events(trail, filters))) for filters in narrowed} == narrowed


# ---------------------------------------------------------------- the migration


def test_rows_of_before_are_chained_and_outlive_the_way_back(trail: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = schema.configuration(trail)
    before = read_rows(trail)
    command.downgrade(configuration, "0002")
    schema.upgrade(trail)
    after = read_rows(trail)
    lost = {"detail": None, "hash": None, "previous_hash": None}
    assert [{**row, **lost} for row in after] == [{**row, **lost} for row in before]
    assert verify(trail).place == head_of(trail)
    assert head_of(trail).sequence == ROWS
    write_rows(trail, 1)
    assert verify(trail).broken is None
