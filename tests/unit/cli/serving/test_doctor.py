"""`doctor` on machines that lack one thing each."""

import os
import shutil
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from cli.data_folder import LOCK_FILE, close_to_others
from cli.main import main
from cli.serving import doctor, serve
from cli.serving.doctor import GIB, Finding, Level
from cli.serving.limits import LEAST_FILES
from migrations.schema import newest, upgrade
from shared.activations.activate import Actor, put_default_model
from shared.db import Base, Database
from shared.models.folder import SPEC_FILE, WEIGHTS_FILE
from shared.models.spec import ModelSpec
from shared.settings import Settings
from shared.store import durability
from shared.store.encryption import new_key
from shared.store.store import open_store
from tests.certificates import make_certificate
from tests.conftest import DEFAULT_MODEL
from tests.mail_server import mail_server

Made = Callable[..., Settings]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def make(**given: object) -> Settings:
        return Settings.model_validate({"data_dir": tmp_path / "data", **given})

    return make


def see(level: Level, finding: Finding, found: str, advice: str = "") -> None:
    assert finding.level is level, finding
    assert found in finding.found
    assert advice in finding.advice
    assert finding.advice or level is Level.OK


def test_translations(made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    see(Level.OK, doctor.check_translations(made(), 1), "en, es, fr, pt, hi, zh, ar")
    monkeypatch.setattr(doctor, "TRANSLATIONS", tmp_path)
    see(Level.FAIL, doctor.check_translations(made(), 1), f"{tmp_path}/zh/", "Restore the folder")


@pytest.mark.parametrize(
    ("version", "level"),
    [((3, 10, 9), Level.FAIL), ((3, 11, 0), Level.OK), ((3, 13, 2), Level.OK), ((3, 14, 0), Level.WARN)],
)
def test_python(made: Made, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], level: Level) -> None:
    monkeypatch.setattr("cli.serving.doctor.sys.version_info", version)
    see(level, doctor.check_python(made(), 1), ".".join(map(str, version)))


@pytest.mark.parametrize(("free", "level"), [(100 * GIB, Level.OK), (2 * GIB, Level.WARN), (GIB // 4, Level.FAIL)])
def test_free_disk(made: Made, monkeypatch: pytest.MonkeyPatch, free: int, level: Level) -> None:
    monkeypatch.setattr("cli.serving.doctor.shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
    see(level, doctor.check_data_folder(made(), 1), "GiB free")


def test_a_data_folder_that_cannot_be_written(made: Made, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    see(Level.FAIL, doctor.check_data_folder(made(), 1), "cannot be written", "PNEUMOSCREEN_DATA_DIR")


def test_a_data_folder_that_others_can_read(made: Made, tmp_path: Path) -> None:
    settings = made()
    see(Level.OK, doctor.check_access(settings, 1), "not made yet", "serve")
    settings.data_dir.mkdir(mode=0o755)
    (settings.data_dir / "pneumoscreen.db").touch(mode=0o644)
    see(Level.WARN, doctor.check_access(settings, 1), "1 more are open", "chmod")
    close_to_others(settings.data_dir)
    see(Level.OK, doctor.check_access(settings, 1), "its owner alone")


@pytest.mark.parametrize(("limit", "level"), [(LEAST_FILES, Level.OK), (LEAST_FILES - 1, Level.FAIL)])
def test_few_open_files(monkeypatch: pytest.MonkeyPatch, made: Made, limit: int, level: Level) -> None:
    monkeypatch.setattr("cli.serving.limits.resource.getrlimit", lambda _: (limit, limit))
    monkeypatch.setattr("cli.serving.limits.resource.setrlimit", lambda *_: None)
    see(level, doctor.check_files(made(), 1), "at once", "ulimit" if level is Level.FAIL else "")


def test_the_database_before_the_first_start(made: Made, tmp_path: Path) -> None:
    see(Level.OK, doctor.check_database(made(), 1), "not made yet", "serve")
    assert not (tmp_path / "data").exists()


def test_the_database_at_the_newest_migration_and_behind_it(made: Made, tmp_path: Path) -> None:
    settings = made()
    settings.data_dir.mkdir()
    database = Database(settings.database)
    Base.metadata.create_all(database.engine)
    see(Level.FAIL, doctor.check_database(settings, 1), "at migration none", "serve")
    Base.metadata.drop_all(database.engine)
    upgrade(database)
    database.close()
    see(Level.OK, doctor.check_database(settings, 1), newest())


def test_a_damaged_database(made: Made) -> None:
    settings = made()
    settings.data_dir.mkdir()
    (settings.data_dir / "pneumoscreen.db").write_bytes(b"garbage" * 1000)
    see(Level.FAIL, doctor.check_database(settings, 1), "file is not a database", "restore BACKUP")


@pytest.mark.parametrize("url", ["postgresql+psycopg://nobody:x@127.0.0.1:1/none", "no address"])
def test_a_database_that_is_not_reachable(made: Made, url: str) -> None:
    finding = doctor.check_database(made(database_url=SecretStr(url)), 1)
    see(Level.FAIL, finding, "not reachable", "PNEUMOSCREEN_DATABASE_URL")
    assert "nobody:x" not in finding.found


def test_the_redis_to_embed(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "cli.serving.broker.shutil.which", lambda name: f"/opt/{name}" if name == "valkey-server" else None
    )
    see(Level.OK, doctor.check_redis(made(), 1), "/opt/valkey-server")
    monkeypatch.setattr("cli.serving.broker.shutil.which", lambda _: None)
    monkeypatch.setattr("cli.serving.broker.importlib.util.find_spec", lambda _: None)
    see(Level.FAIL, doctor.check_redis(made(), 1), "no server", "Install redis or valkey")


def test_the_folder_of_a_server_that_runs(made: Made) -> None:
    settings = made()
    settings.data_dir.mkdir()
    with serve._only_one(settings.data_dir):
        see(Level.OK, doctor.check_redis(settings, 1), "run by the server on this folder")
        assert "a server is running on it" in doctor.check_data_folder(settings, 1).found
    # The file of the lock stays behind; nobody holds it any more.
    assert (settings.data_dir / LOCK_FILE).exists()
    see(Level.OK, doctor.check_redis(settings, 1), "will be started by 'serve'")
    assert "running" not in doctor.check_data_folder(settings, 1).found


def test_the_redis_that_is_set(made: Made, redis_url: str, tmp_path: Path) -> None:
    see(Level.OK, doctor.check_redis(made(redis_url=SecretStr(redis_url)), 1), "answers; 0 workers")
    away = made(redis_url=SecretStr(f"unix://{tmp_path / 'none.sock'}"))
    see(Level.FAIL, doctor.check_redis(away, 1), "did not answer", "PNEUMOSCREEN_REDIS_URL")
    see(Level.FAIL, doctor.check_redis(made(redis_url=SecretStr("nonsense")), 1), "", "PNEUMOSCREEN_REDIS_URL")


def test_the_store(made: Made, tmp_path: Path) -> None:
    see(Level.OK, doctor.check_store(made(), 1), "not made yet", "serve")
    (tmp_path / "data" / "store").mkdir(parents=True)
    see(Level.FAIL, doctor.check_store(made(), 1), "keys.json, which marks it, is missing", "PNEUMOSCREEN_STORE")
    open_store(made()).create()
    see(Level.OK, doctor.check_store(made(), 1), "not encrypted")
    key = SecretStr(new_key())
    see(Level.FAIL, doctor.check_store(made(store_key=key), 1), "store encrypt", "PNEUMOSCREEN_STORE")
    open_store(made(store_key=key)).create()
    see(Level.OK, doctor.check_store(made(store_key=key), 1), ", encrypted")
    see(Level.FAIL, doctor.check_store(made(store_key=SecretStr("short")), 1), "", "PNEUMOSCREEN_STORE")
    (tmp_path / "file").write_text("no folder")
    see(Level.FAIL, doctor.check_store(made(store_dir=tmp_path / "file"), 1), "is not there", "PNEUMOSCREEN_STORE")


def test_the_model(made: Made, tmp_path: Path, spec: ModelSpec) -> None:
    settings = made(models_dir=tmp_path / "models", model="test-model")
    see(Level.FAIL, doctor.check_model(settings, 1), "has no spec.json", "There is none")
    folder = tmp_path / "models" / "test-model"
    folder.mkdir(parents=True)
    (folder / SPEC_FILE).write_text(spec.model_dump_json())
    (folder / WEIGHTS_FILE).write_bytes(b"other weights")
    see(Level.FAIL, doctor.check_model(settings, 1), "is not the file that spec.json names", "There is: test-model")


def test_the_model_that_an_administrator_chose(made: Made, migrated_sqlite: Path) -> None:
    settings = made()
    settings.data_dir.mkdir()
    shutil.copyfile(migrated_sqlite, settings.data_dir / "pneumoscreen.db")
    database = Database(settings.database)
    for name, level, found in (
        ("compact-cnn", Level.OK, " and compact-cnn@"),
        ("gone", Level.FAIL, "Model 'gone' has no spec.json"),
    ):
        database.transact(lambda session, name=name: put_default_model(session, Actor("ada"), name, DEFAULT_MODEL))
        see(level, doctor.check_model(settings, 1), found)
    database.close()


def test_the_model_that_ships(made: Made) -> None:
    see(Level.OK, doctor.check_model(made(), 1), f"{DEFAULT_MODEL}@")


@pytest.mark.parametrize(
    ("backend", "installed", "level"),
    [
        ("auto", {"keras", "openvino"}, Level.OK),
        ("auto", {"keras", "tensorflow"}, Level.OK),
        ("auto", {"keras"}, Level.FAIL),
        ("tensorflow", {"keras", "openvino"}, Level.FAIL),
        ("openvino", {"openvino"}, Level.FAIL),
    ],
)
def test_the_backend(
    made: Made, monkeypatch: pytest.MonkeyPatch, backend: str, installed: set[str], level: Level
) -> None:
    monkeypatch.setattr("cli.serving.doctor.importlib.util.find_spec", lambda name: name if name in installed else None)
    see(level, doctor.check_backend(made(backend=backend), 1), "")


def test_the_port(made: Made) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        see(Level.WARN, doctor.check_port(made(), port), "cannot be used", f"PORT={port + 1}")
    see(Level.OK, doctor.check_port(made(), port), f"{port} is free")


def test_e_mail_is_off_without_a_server(made: Made) -> None:
    see(Level.OK, doctor.check_mail(made(), 1), "off", "PNEUMOSCREEN_SMTP_HOST")


def test_the_mail_server_is_greeted_and_signed_in_to(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with mail_server(context, wants_login=True) as server:
        given = {
            "smtp_host": "localhost",
            "smtp_port": server.port,
            "smtp_user": "pneumo",
            "smtp_from": "a@example.org",
        }
        given |= {"public_url": "http://localhost:8000", "smtp_seconds": 5.0}
        settings = made(**given, smtp_password=SecretStr(server.password.decode()))
        see(Level.FAIL, doctor.check_mail(settings, 1), "certificate", "PNEUMOSCREEN_SMTP_")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        see(Level.OK, doctor.check_mail(settings, 1), f"localhost:{server.port} answers, STARTTLS, signed in as pneumo")
        wrong = made(**given, smtp_password=SecretStr("not that one"))
        finding = doctor.check_mail(wrong, 1)
        see(Level.FAIL, finding, "refused the user or the password")
        assert "not that one" not in finding.found
        assert server.mails == []
    see(Level.FAIL, doctor.check_mail(settings, 1), "No connection")


def test_a_mail_server_that_is_not_encrypted(made: Made) -> None:
    with mail_server() as server:
        way = {"smtp_port": server.port, "smtp_from": "a@example.org", "public_url": "http://localhost:8000"}
        plain = made(smtp_host="127.0.0.1", smtp_tls="none", **way)
        see(Level.OK, doctor.check_mail(plain, 1), "not encrypted, without signing in")
        see(Level.FAIL, doctor.check_mail(made(smtp_host="127.0.0.1", **way), 1), "offers no STARTTLS")


def test_the_table_and_the_exit_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = ["doctor", "--data-dir", str(tmp_path), "--port", "1"]
    monkeypatch.setattr(doctor, "CHECKS", (lambda _s, _p: Finding("One", Level.WARN, "thin", "Feed it."),))
    warned = CliRunner().invoke(main, command)
    assert warned.exit_code == 0
    assert all(word in warned.output for word in ("One", "WARN", "thin", "Feed it."))
    monkeypatch.setattr(doctor, "CHECKS", (lambda _s, _p: Finding("Two", Level.FAIL, "gone", "Fetch it."),))
    assert CliRunner().invoke(main, command).exit_code == 1


def test_this_machine_is_looked_at_in_full(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "--data-dir", str(tmp_path)])
    for subject in ("Python", "Data folder", "Database", "Redis", "E-mail", "Model", "Backend", "Port"):
        assert subject in result.output
    assert list(tmp_path.iterdir()) == []


def test_sqlite_on_a_network_share(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    database = Database(f"sqlite:///{tmp_path / 'data' / 'pneumoscreen.db'}")
    upgrade(database)
    database.close()
    number = (tmp_path / "data").stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"36 35 {os.major(number)}:{os.minor(number)} / /mnt rw - nfs4 server:/share rw\n")
    see(Level.OK, doctor.check_database(made(), 1), "reachable")
    monkeypatch.setattr(durability, "_MOUNTS", mounts)
    see(Level.WARN, doctor.check_database(made(), 1), "network share (nfs4)", "PostgreSQL")
