"""Backup and restore: every row with its image, from either database into either, also while everything is in use."""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr
from sqlalchemy import select

from cli.keeping import backup as backup_command
from cli.keeping.backup_folder import MANIFEST, digest
from cli.keeping.image_copy import copy_images
from cli.main import main
from migrations import schema
from shared.accounts import links, sessions, users
from shared.db import Base, Database
from shared.messages import webhooks
from shared.messages.events import note_test
from shared.models.spec import ModelSpec
from shared.queue.removed import Removed
from shared.settings import Settings
from shared.store.encryption import new_key, read_keyring
from shared.store.store import THUMBNAIL, FolderStore
from shared.tables import AuditEvent, Image, MessageEvent, Role, User
from tests.conftest import ROOT, make_spec, make_store
from tests.installation import Installation
from tests.integration.conftest import Stack, make_images, start, stop, wait_until
from tests.web_site import Site


@dataclass
class Place:
    """One installation: a data folder and a database."""

    folder: Path
    url: str
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *command: str | Path) -> Result:
        environment = {"PNEUMOSCREEN_DATABASE_URL": self.url, **self.environment}
        return CliRunner().invoke(main, [*map(str, command), "--data-dir", str(self.folder)], env=environment)

    def succeed(self, *command: str | Path) -> str:
        result = self.run(*command)
        assert result.exit_code == 0, result.output
        return result.output

    def rows(self) -> dict[str, list]:
        """Every row of every table."""
        database = Database(self.url)
        try:
            with database.engine.connect() as connection:
                tables = Base.metadata.sorted_tables
                return {t.name: sorted(map(repr, connection.execute(select(t)).all())) for t in tables}
        finally:
            database.close()

    def check_images(self) -> int:
        """See that every image of the database is in the store, whole and with its thumbnail; return how many."""
        database, store = Database(self.url), FolderStore(self.folder / "store")
        with database.read() as session:
            keys = session.scalars(select(Image.sha256)).all()
        database.close()
        for key in keys:
            assert hashlib.sha256(store.get(key)).hexdigest() == key
            assert store.has(key, THUMBNAIL)
        return len(keys)


@pytest.fixture
def make_place(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Place]:
    """Name an installation that is not there yet."""

    def make(kind: str) -> Place:
        folder = tmp_path / f"{kind}-{uuid.uuid4().hex[:6]}"
        if kind == "postgresql":
            return Place(folder, request.getfixturevalue("empty_postgres_url"))
        return Place(folder, f"sqlite:///{folder / 'pneumoscreen.db'}")

    return make


def inhabit(place: Place, spec: ModelSpec) -> Iterator[Installation]:
    place.folder.mkdir(exist_ok=True)
    database = Database(place.url)
    schema.upgrade(database)
    with database.write() as session:
        user = users.add_user(session, "tina", Role.TECHNICIAN, "correct horse battery")
    yield Installation(database, make_store(place.folder / "store"), spec, user)
    database.close()


@pytest.fixture
def source(make_place: Callable[[str], Place]) -> Place:
    return make_place("sqlite")


@pytest.fixture
def installation(source: Place, spec: ModelSpec) -> Iterator[Installation]:
    """An installation on SQLite with two screened images."""
    for installation in inhabit(source, spec):
        installation.submit(b"one", b"two")
        installation.work()
        yield installation


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize(("kind", "other"), [("sqlite", "sqlite"), ("sqlite", "postgresql"), ("postgresql", "sqlite")])
def test_what_is_restored_is_what_was_there(
    kind: str, other: str, make_place: Callable[[str], Place], spec: ModelSpec, tmp_path: Path
) -> None:
    place, target = make_place(kind), make_place(other)
    for installation in inhabit(place, spec):
        installation.submit(b"one", b"two")
        installation.work()
        deleted = installation.submit(b"two", b"deleted")
        installation.work()
        installation.delete(deleted)
        installation.submit(b"three")
        installation.store.put_derived(installation.keep(b"three").image.sha256, THUMBNAIL, b"small")
        with installation.database.write() as session:
            sessions.begin(session, installation.user, lasts=timedelta(hours=1), address=None, user_agent="")
            links.make_link(session, installation.user)
            webhooks.register(session, "https://example.org/", [MessageEvent.JOB_FINISHED], installation.user.id, ())
            note_test(session, session.get_one(User, installation.user.id))
        before = place.rows()
        place.succeed("backup", tmp_path / "kept")
    told = target.succeed("restore", tmp_path / "kept")
    assert "Everyone signs in again" in told
    after = target.rows()
    assert after.pop("sessions") == after.pop("sign_in_links") == []
    assert len(before.pop("sessions")) == len(before.pop("sign_in_links")) == 1
    (stopped,) = after.pop("webhooks")
    (unsent,) = after.pop("messages")
    assert all("'restored'" in row for row in (stopped, unsent))
    assert len(before.pop("webhooks")) == len(before.pop("messages")) == 1
    for trail in ("audit_events", "audit_heads"):  # restoring leaves a row of its own
        assert len(after.pop(trail)) >= len(before.pop(trail))
    assert after == before
    assert target.check_images() == len(before["images"]) > 0
    target.succeed("audit", "verify")


def test_a_second_backup_takes_what_is_new_and_lets_go_what_was_deleted(
    installation: Installation, source: Place, make_place: Callable[[str], Place], tmp_path: Path
) -> None:
    assert "2 images, 2 of them new" in source.succeed("backup", tmp_path / "kept")
    installation.grow_old(*installation_jobs(installation))
    installation.submit(b"three", b"one")
    installation.work()
    assert installation.purge().images == 1
    assert "2 images, 1 of them new" in source.succeed("backup", tmp_path / "kept")
    kept = {image.key for image in FolderStore(tmp_path / "kept" / "store").images()}
    assert kept == installation.named()
    assert len(list((tmp_path / "kept").glob("database-*.db*"))) == 1
    target = make_place("sqlite")
    target.succeed("restore", tmp_path / "kept")
    assert target.check_images() == 2


def test_images_deleted_while_the_backup_runs_are_not_named_by_it(
    installation: Installation,
    source: Place,
    make_place: Callable[[str], Place],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A purge between the copy of the database and the copy of its images."""
    installation.grow_old(*installation_jobs(installation))
    rounds = []

    def copy_late(*stores: object, **options: bool) -> object:
        rounds.append(installation.purge() if not rounds else Removed())
        return copy_images(*stores, **options)

    monkeypatch.setattr(backup_command, "copy_images", copy_late)
    assert "0 images, 0 of them new" in source.succeed("backup", tmp_path / "kept")
    assert [removed.images for removed in rounds] == [2, 0]
    target = make_place("sqlite")
    target.succeed("restore", tmp_path / "kept")
    assert target.check_images() == 0


def test_an_image_that_the_store_has_lost_is_named_and_the_rest_is_kept(
    installation: Installation, source: Place, make_place: Callable[[str], Place], tmp_path: Path
) -> None:
    lost = installation.keep(b"one").image.sha256
    image_file(installation.store, lost).unlink()
    result = source.run("backup", tmp_path / "kept")
    assert result.exit_code == 1
    assert lost in result.output
    target = make_place("sqlite")
    assert "1 images" in target.succeed("restore", tmp_path / "kept")


def test_a_damaged_copy_is_renewed_where_it_is_asked_for(
    installation: Installation, source: Place, tmp_path: Path
) -> None:
    source.succeed("backup", tmp_path / "kept")
    key = installation.keep(b"one").image.sha256
    damaged = image_file(FolderStore(tmp_path / "kept" / "store"), key)
    damaged.write_bytes(b"0ne")
    assert "0 of them new" in source.succeed("backup", tmp_path / "kept")
    assert "1 of them new" in source.succeed("backup", tmp_path / "kept", "--verify")
    assert damaged.read_bytes() == b"one"


def test_a_backup_in_a_folder_that_is_open_is_closed_file_by_file(
    installation: Installation, source: Place, tmp_path: Path
) -> None:
    """As an administrator makes it beforehand, under the usual umask."""
    installation.keep(b"one")
    before = os.umask(0o022)
    try:
        (tmp_path / "kept").mkdir()
        source.succeed("backup", tmp_path / "kept")
    finally:
        os.umask(before)
    assert {path.name for path in (tmp_path / "kept").rglob("*") if path.stat().st_mode & 0o077} == set()


def test_a_backup_is_closed_to_other_people_and_left_in_the_audit_trail(
    installation: Installation, source: Place, tmp_path: Path
) -> None:
    source.succeed("backup", tmp_path / "kept")
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0
    assert [path.stat().st_mode & 0o077 for path in (tmp_path / "kept").glob("database-*.db")] == [0]
    with installation.database.read() as session:
        newest = session.scalars(select(AuditEvent).order_by(AuditEvent.sequence.desc()).limit(1)).one()
    assert (newest.action, newest.detail) == ("backup_made", {"images": "2"})


def test_an_encrypted_store_is_backed_up_encrypted(
    make_place: Callable[[str], Place], spec: ModelSpec, tmp_path: Path
) -> None:
    key = new_key()
    place, target, keyless = (make_place("sqlite") for _ in range(3))
    place.environment = target.environment = {"PNEUMOSCREEN_STORE_KEY": key}
    for installation in inhabit(place, spec):
        shutil.rmtree(installation.store.root)
        installation.store = FolderStore(place.folder / "store", read_keyring(key))
        installation.store.create()
        installation.submit(b"an image of a patient")
        installation.work()
        place.succeed("backup", tmp_path / "kept")
    stored = [path.read_bytes() for path in (tmp_path / "kept" / "store").rglob("*") if path.is_file()]
    assert all(b"an image of a patient" not in data for data in stored)
    target.succeed("restore", tmp_path / "kept")
    opened = FolderStore(target.folder / "store", read_keyring(key))
    assert opened.get(hashlib.sha256(b"an image of a patient").hexdigest()) == b"an image of a patient"
    refused = keyless.run("restore", tmp_path / "kept")
    assert refused.exit_code == 2
    assert "STORE_KEY" in refused.output


# ---------------------------------------------------------------- what is refused


def _change_manifest(folder: Path, **changes: object) -> None:
    told = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**told, **changes}))


def _damage_database(folder: Path) -> None:
    with next(folder.glob("database-*.db")).open("ab") as file:
        file.write(b"0")


def _damage_image(folder: Path) -> None:
    next(path for path in (folder / "store" / "images").rglob("*") if path.is_file()).write_bytes(b"0ne")


def database_of(folder: Path) -> Path:
    return next(folder.glob("database-*.db"))


def _change_database(folder: Path, *statements: str) -> None:
    """Change the copy of the database, and have the manifest agree: whoever writes a backup can write both."""
    file = database_of(folder)
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    _vouch_for(folder)


def _vouch_for(folder: Path) -> None:
    file = database_of(folder)
    _change_manifest(folder, database={"file": file.name, "bytes": file.stat().st_size, "sha256": digest(file)})


def _replace_database(folder: Path, data: bytes) -> None:
    database_of(folder).write_bytes(data)
    _vouch_for(folder)


def _image_file(folder: Path) -> Path:
    return next(path for path in (folder / "store" / "images").rglob("*") if path.is_file())


def _put_instead(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _enlarge(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.truncate(size)


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no manifest": ("manifest.json cannot be read", lambda folder: (folder / MANIFEST).unlink()),
    "an empty manifest": ("not what a backup writes", lambda folder: (folder / MANIFEST).write_text("{}")),
    "a deep manifest": ("not what a backup writes", lambda folder: (folder / MANIFEST).write_text("[" * 100_000)),
    "a manifest that is not text": (
        "not what a backup writes", lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe")
    ),
    "a huge manifest": ("manifest.json cannot be read", lambda folder: _enlarge(folder / MANIFEST, 1 << 40)),
    "a pipe as manifest": ("manifest.json cannot be read", lambda folder: _put_instead(folder / MANIFEST, os.mkfifo)),
    "a link as manifest": (
        "manifest.json cannot be read",
        lambda folder: _put_instead(folder / MANIFEST, lambda path: path.symlink_to("/etc/passwd")),
    ),
    "a later format": (
        "in format 2", lambda folder: _change_manifest(folder, format=2, made_by="pneumoscreen 9.0")
    ),
    "no format": ("not what a backup writes", lambda folder: _change_manifest(folder, format=0)),
    "words that steer a terminal": (
        "not what a backup writes", lambda folder: _change_manifest(folder, format=2, made_by="\x1b[31mx")
    ),
    "a later schema": ("whose schema 9999", lambda folder: _change_manifest(folder, schema_version="9999")),
    "a schema by another name": (
        "not what a backup writes", lambda folder: _change_manifest(folder, schema_version="head")
    ),
    "a path as database": (
        "not what a backup writes",
        lambda folder: _change_manifest(
            folder, database={"file": "../database-0.db", "bytes": 1, "sha256": "0" * 64}
        ),
    ),
    "no database": ("is missing", lambda folder: database_of(folder).unlink()),
    "a longer database": ("is not what was written", _damage_database),
    "a cut database": (
        "is not what was written", lambda folder: _enlarge(database_of(folder), 5000)
    ),
    "a huge database": ("is not what was written", lambda folder: _enlarge(database_of(folder), 1 << 40)),
    "a pipe as database": (
        "is not what was written", lambda folder: _put_instead(database_of(folder), os.mkfifo)
    ),
    "a device as database": (
        "is not what was written",
        lambda folder: _put_instead(database_of(folder), lambda path: path.symlink_to("/dev/zero")),
    ),
    "a text as database": ("its database cannot be used", lambda folder: _replace_database(folder, b"text" * 5000)),
    "an empty database": ("names 0 images", lambda folder: _replace_database(folder, b"")),
    "a database cut and vouched for": (
        "The backup in", lambda folder: _replace_database(folder, database_of(folder).read_bytes()[:20_000])
    ),
    "a schema that nobody knows": (
        "its database cannot be used",
        lambda folder: _change_database(folder, "UPDATE alembic_version SET version_num = '9999'"),
    ),
    "no schema": ("its database cannot be used", lambda folder: _change_database(folder, "DROP TABLE alembic_version")),
    "a trigger of a stranger": (
        "not as this program makes one",
        lambda folder: _change_database(
            folder, "CREATE TRIGGER t AFTER INSERT ON users BEGIN UPDATE users SET role = 'admin'; END"
        ),
    ),
    "a trigger less": (
        "not as this program makes one", lambda folder: _change_database(folder, "DROP TRIGGER audit_events_update")
    ),
    "a view of a stranger": (
        "not as this program makes one", lambda folder: _change_database(folder, "CREATE VIEW v AS SELECT 1")
    ),
    "a name that is a path": (
        "what is no sha256", lambda folder: _change_database(folder, "UPDATE images SET sha256 = '../../etc/' || id")
    ),
    "a name that is no text": (
        "is damaged", lambda folder: _change_database(folder, "UPDATE images SET sha256 = randomblob(32)")
    ),
    "an id that is none": (
        "values that this program did not write",
        lambda folder: _change_database(folder, "PRAGMA foreign_keys=OFF", "UPDATE images SET id = 'x' || id"),
    ),
    "a time that is none": (
        "values that this program did not write",
        lambda folder: _change_database(folder, "UPDATE jobs SET created_at = 'x'"),
    ),
    "a state that is none": (
        "The backup in", lambda folder: _change_database(
            folder, "PRAGMA ignore_check_constraints=ON", "UPDATE screenings SET state = 'x'"
        ),
    ),
    "a damaged image": ("1 images of the backup", _damage_image),
    "an image too little": ("1 images of the backup", lambda folder: _image_file(folder).unlink()),
    "a huge image": ("1 images of the backup", lambda folder: _enlarge(_image_file(folder), 1 << 40)),
    "a pipe as image": ("1 images of the backup", lambda folder: _put_instead(_image_file(folder), os.mkfifo)),
    "a folder as image": ("1 images of the backup", lambda folder: _put_instead(_image_file(folder), os.mkdir)),
    "a link to a device as image": (
        "1 images of the backup",
        lambda folder: _put_instead(_image_file(folder), lambda path: path.symlink_to("/dev/zero")),
    ),
    "a link to itself as image": (
        "1 images of the backup", lambda folder: _put_instead(_image_file(folder), lambda path: path.symlink_to(path))
    ),
    "no record of keys": ("keys.json", lambda folder: (folder / "store" / "keys.json").unlink()),
    "a damaged record of keys": ("keys.json", lambda folder: (folder / "store" / "keys.json").write_text("[[[")),
    "an unknown key": (
        "STORE_KEY does not hold", lambda folder: (folder / "store" / "keys.json").write_text('{"keys": ["ab"]}')
    ),
    "no store": ("cannot be read", lambda folder: shutil.rmtree(folder / "store")),
}  # fmt: skip


@pytest.fixture(scope="module")
def kept_backup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of two images, to be copied and damaged."""
    folder = tmp_path_factory.mktemp("backup")
    source = Place(folder / "source", f"sqlite:///{folder / 'source' / 'pneumoscreen.db'}")
    for installation in inhabit(source, make_spec()):
        installation.submit(b"one", b"two")
        installation.work()
        source.succeed("backup", folder / "kept")
    return folder / "kept"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_backup_that_is_damaged_hostile_or_newer_is_refused_and_touches_nothing(
    damage: str, kept_backup: Path, make_place: Callable[[str], Place], tmp_path: Path
) -> None:
    said, make = DAMAGES[damage]
    shutil.copytree(kept_backup, tmp_path / "kept")
    make(tmp_path / "kept")
    target = make_place("sqlite")
    result = target.run("restore", tmp_path / "kept")
    assert result.exit_code == 2, (result.output, result.exception)
    assert said in result.output
    assert result.output.isprintable() or "\x1b" not in result.output
    assert [path.name for path in target.folder.glob("*") if path.name != "store"] == []


@pytest.mark.parametrize(
    "moment",
    [
        "before the database is put in place",
        pytest.param("while images are copied", marks=pytest.mark.long),
        pytest.param("in between", marks=pytest.mark.long),
    ],
)
def test_a_restore_that_is_killed_leaves_the_former_database_and_is_done_by_the_next(
    moment: str, kept_backup: Path, make_place: Callable[[str], Place], spec: ModelSpec
) -> None:
    target = make_place("sqlite")
    for other in inhabit(target, spec):
        other.submit(b"another image")
        before = target.rows()
    steps = {
        "while images are copied": "image_copy._copy_image",
        "before the database is put in place": "restore._end_log",
        "in between": "restore.Path.replace",
    }
    program = (
        "import os, signal, sys\n"
        "from cli.keeping import image_copy, restore\n"
        "from cli.main import main\n"
        f"{steps[moment]} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "main(sys.argv[1:])\n"
    )
    command = ["restore", str(kept_backup), "--force", "--data-dir", str(target.folder)]
    environment = {**os.environ, "PNEUMOSCREEN_DATABASE_URL": target.url, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run(
        [sys.executable, "-c", program, *command], env=environment, capture_output=True, check=False, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert target.rows() == before, "nothing that was committed is lost with its log"
    target.succeed("restore", kept_backup, "--force")
    assert target.check_images() == 2
    assert not (target.folder / "restoring").exists()


def test_a_database_that_is_in_use_is_not_replaced(
    kept_backup: Path, make_place: Callable[[str], Place], spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = make_place("sqlite")
    for other in inhabit(target, spec):
        with other.database.read() as session:
            session.scalars(select(User)).all()
            result = target.run("restore", kept_backup, "--force")
        assert result.exit_code == 2
        assert "is in use" in result.output
        assert len(target.rows()["users"]) == 1


def test_a_damaged_database_is_replaced_where_that_is_asked_for(
    kept_backup: Path, make_place: Callable[[str], Place]
) -> None:
    target = make_place("sqlite")
    target.folder.mkdir()
    for name in ("pneumoscreen.db", "pneumoscreen.db-wal"):
        (target.folder / name).write_bytes(b"damaged" * 5000)
    refused = target.run("restore", kept_backup)
    assert (refused.exit_code, refused.exception is None or isinstance(refused.exception, SystemExit)) == (2, True)
    target.succeed("restore", kept_backup, "--force")
    assert target.check_images() == 2


def test_a_store_that_is_full_of_others_images_keeps_them_and_what_is_damaged_is_replaced(
    kept_backup: Path, make_place: Callable[[str], Place]
) -> None:
    target = make_place("sqlite")
    store = make_store(target.folder / "store")
    with store.receive() as incoming:
        incoming.write(b"of somebody else")
        other = store.keep(incoming)
    with store.receive() as incoming:
        incoming.write(b"one")
        one = store.keep(incoming)
    image_file(store, one).write_bytes(b"0ne")
    target.succeed("restore", kept_backup)
    assert store.get(one) == b"one"
    assert store.get(other) == b"of somebody else"


def test_a_backup_without_encryption_is_restored_into_an_encrypted_store(
    kept_backup: Path, make_place: Callable[[str], Place]
) -> None:
    key = new_key()
    target = make_place("sqlite")
    target.environment = {"PNEUMOSCREEN_STORE_KEY": key}
    target.succeed("restore", kept_backup)
    store = FolderStore(target.folder / "store", read_keyring(key))
    assert store.get(hashlib.sha256(b"one").hexdigest()) == b"one"
    assert not any(path.read_bytes() == b"one" for path in store.root.rglob("*") if path.is_file())


def test_images_that_are_encrypted_do_not_join_a_backup_of_images_that_are_not(
    installation: Installation, source: Place, tmp_path: Path
) -> None:
    source.succeed("backup", tmp_path / "kept")
    source.environment = {"PNEUMOSCREEN_STORE_KEY": new_key()}
    assert "store encrypt" in source.run("backup", tmp_path / "kept").output
    assert CliRunner().invoke(
        main, ["store", "encrypt", "--data-dir", str(source.folder)],
        env={"PNEUMOSCREEN_DATABASE_URL": source.url, **source.environment},
    ).exit_code == 0  # fmt: skip
    refused = source.run("backup", tmp_path / "kept")
    assert (refused.exit_code, "Name a new folder" in refused.output) == (2, True)
    source.succeed("backup", tmp_path / "new")


def test_a_backups_lock_that_leads_elsewhere_empties_nothing(
    installation: Installation, source: Place, tmp_path: Path
) -> None:
    source.succeed("backup", tmp_path / "kept")
    (tmp_path / "letter").write_text("Dear colleague")
    _put_instead(tmp_path / "kept" / "lock", lambda path: path.symlink_to(tmp_path / "letter"))
    assert source.run("backup", tmp_path / "kept").exit_code == 2
    assert (tmp_path / "letter").read_text() == "Dear colleague"


def test_a_store_that_is_away_gives_no_backup_without_images(
    installation: Installation, source: Place, tmp_path: Path
) -> None:
    source.succeed("backup", tmp_path / "kept")
    installation.store.root.rename(tmp_path / "away")
    installation.store.root.mkdir()
    refused = source.run("backup", tmp_path / "kept")
    assert (refused.exit_code, "is not there" in refused.output) == (2, True)
    assert len(list(FolderStore(tmp_path / "kept" / "store").images())) == 2


def test_what_is_whole_is_restored_despite_damage_where_it_is_asked_for(
    installation: Installation, source: Place, make_place: Callable[[str], Place], tmp_path: Path
) -> None:
    source.succeed("backup", tmp_path / "kept")
    _damage_image(tmp_path / "kept")
    target = make_place("sqlite")
    assert "1 images and the database" in target.succeed("restore", tmp_path / "kept", "--despite-damage")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_installation_in_use_is_replaced_only_by_force(
    kind: str, installation: Installation, source: Place, make_place: Callable[[str], Place], tmp_path: Path
) -> None:
    source.succeed("backup", tmp_path / "kept")
    target = make_place(kind)
    for other in inhabit(target, installation.spec):
        other.submit(b"another image")
    refused = target.run("restore", tmp_path / "kept")
    assert refused.exit_code == 2
    assert "--force" in refused.output
    assert len(target.rows()["images"]) == 1
    target.succeed("restore", tmp_path / "kept", "--force")
    assert target.check_images() == 2


def test_a_running_installation_is_not_restored_into(installation: Installation, source: Place, tmp_path: Path) -> None:
    import fcntl

    source.succeed("backup", tmp_path / "kept")
    with (source.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = source.run("restore", tmp_path / "kept", "--force")
    assert result.exit_code == 2
    assert "Stop it first" in result.output


def test_a_folder_with_other_files_is_not_written_to(installation: Installation, source: Place, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letter.txt").write_text("Dear colleague")
    result = source.run("backup", tmp_path / "letters")
    assert result.exit_code == 2
    assert "holds other files" in result.output


# ---------------------------------------------------------------- while everything runs


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """One stack with one worker, as a user starts it."""
    running = start(tmp_path / "running", workers=1)
    try:
        wait_until(
            lambda: "is ready" in running.log.read_text() or running.process.poll() is not None, 240, "the stack"
        )
        assert running.process.poll() is None, running.log.read_text()
        yield running
    finally:
        stop(running)


@pytest.mark.timeout(500)  # a start and a stop are counted too, and other tests share the processors
@pytest.mark.long
def test_a_stack_under_load_is_backed_up_and_its_restored_copy_works(stack: Stack, tmp_path: Path) -> None:
    """Uploads, screening, deletion of jobs and two backups at once; then the copy is opened elsewhere."""
    stopped, sent = threading.Event(), []

    def send() -> None:
        seed = 7000
        while not stopped.is_set():
            sent.append(stack.submit(make_images(4, seed)))
            seed += 1

    def delete() -> None:
        while not stopped.is_set():
            with stack.client as client:
                for job_id in sent[:-2:3]:
                    client.delete(f"/api/v1/jobs/{job_id}")
            stopped.wait(0.2)

    threads = [threading.Thread(target=send), threading.Thread(target=delete)]
    for thread in threads:
        thread.start()
    place = Place(stack.data_dir, f"sqlite:///{stack.data_dir / 'pneumoscreen.db'}")
    try:
        wait_until(lambda: len(sent) >= 4, 60, "images to come in")
        for _ in range(2):
            place.succeed("backup", tmp_path / "kept")
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    target = Place(tmp_path / "elsewhere", f"sqlite:///{tmp_path / 'elsewhere' / 'pneumoscreen.db'}")
    target.succeed("restore", tmp_path / "kept")
    database = Database(target.url)
    store = FolderStore(target.folder / "store")
    with database.read() as session:
        keys = session.scalars(select(Image.sha256)).all()
    assert len(keys) >= 12
    assert [key for key in keys if hashlib.sha256(store.get(key)).hexdigest() != key] == []
    settings = Settings(
        data_dir=target.folder,
        secret_key=SecretStr("another key for tests"),
        redis_url=SecretStr(f"unix://{tmp_path}/no.sock"),
    )
    site = Site(settings, database)
    with database.read() as session:
        admin = session.scalars(select(User).where(User.role == Role.ADMIN)).one()
    browser = site.browser(admin)
    assert "image-70" in browser.get("/history").text.replace("<wbr>", "")
    assert browser.get(f"/screenings/{site.screenings()[0].id}/image").status_code == 200
    database.close()


def image_file(store: FolderStore, key: str) -> Path:
    return store.root / "images" / key[:2] / key


def installation_jobs(installation: Installation) -> list[uuid.UUID]:
    from shared.tables import Job

    with installation.database.read() as session:
        return list(session.scalars(select(Job.id)))
