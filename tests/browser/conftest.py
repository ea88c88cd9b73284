"""A running PneumoScreen and a real browser that tolerates no error on any page."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, expect, sync_playwright

from cli.serving.processes import web_command
from migrations.schema import upgrade
from shared.accounts import links, users
from shared.db import Database
from shared.settings import PREFIX
from shared.tables import Role, User
from tests.conftest import DEFAULT_MODEL, GRAPHS, ROOT, draw, encode
from tests.integration.conftest import free_port, wait_until

START_SECONDS = 150
FLAGS = (
    *(
        "--no-sandbox",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
    ),
    *("--disable-sync", "--force-color-profile=srgb"),
)
PLAIN = ("--disable-gpu", "--disable-3d-apis")
WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
"""In software, for the tests of what needs it; all others do without."""


@dataclass
class Server:
    """One running server, and its own view of its database."""

    url: str
    database: Database
    models: Path

    def link(self, name: str | None = None, role: Role = Role.TECHNICIAN) -> str:
        """Make a one-time link of an account, which is new unless it is named and there."""
        with self.database.write() as session:
            name = name or f"person-{uuid.uuid4().hex[:8]}"
            user: User = users.find_user(session, name) or users.add_user(session, name, role)
            return f"{self.url}/sign-in/link/{links.make_link(session, user)}"


@contextmanager
def running(command: list[str], folder: Path, log: Path, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server in a data folder of its own, and stop it whatever happens."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
        f"{PREFIX}DATA_DIR": str(folder),
        f"{PREFIX}GRAPHS_DIR": str(GRAPHS),
        f"{PREFIX}GATE_IGNORES": "all",  # most images here are drawn
        f"{PREFIX}SIGN_IN_LIMIT": "1000 per minute",  # every test signs in from the same address
        **{f"{PREFIX}{name.upper()}": value for name, value in settings.items()},
    }
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def wait_until_it_answers(url: str, log: Path) -> None:
    def answers() -> bool:
        try:
            return httpx.get(f"{url}/healthz").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(answers, START_SECONDS, f"{url} to answer; its log says: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Everything, as `pneumoscreen serve` starts it, with one worker."""
    folder, port = tmp_path_factory.mktemp("serve"), free_port()
    log = folder / "serve.log"
    command = [sys.executable, "-m", "cli.main", "serve", "--port", str(port), "--workers", "1"]
    with running(command, folder, log) as process:
        wait_until(lambda: "is ready at" in log.read_text() or process.poll() is not None, START_SECONDS, "the server")
        if process.poll() is not None:
            pytest.fail(f"pneumoscreen serve did not start: {log.read_text()}")
        database = Database(f"sqlite:///{folder / 'pneumoscreen.db'}")
        yield Server(f"http://127.0.0.1:{port}", database, ROOT / "models")
        database.close()


@contextmanager
def pages_alone(folder: Path, **settings: str) -> Iterator[Server]:
    """Run pages and API without workers: no image is taken, and nobody takes tickets."""
    port, log, models = free_port(), folder / "web.log", folder / "models"
    shutil.copytree(ROOT / "models" / DEFAULT_MODEL, models / DEFAULT_MODEL)
    database = Database(f"sqlite:///{folder / 'pneumoscreen.db'}")
    upgrade(database)
    usual = {
        "secret_key": "a key for tests only",
        "redis_url": f"unix://{folder}/no.sock",
        "models_dir": str(models),
    }
    url = f"http://127.0.0.1:{port}"
    with running(web_command("127.0.0.1", port, 4), folder, log, **usual, **settings):
        wait_until_it_answers(url, log)
        yield Server(url, database, models)
    database.close()


@pytest.fixture(scope="session")
def quiet_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Pages and API alone."""
    with pages_alone(tmp_path_factory.mktemp("quiet")) as server:
        yield server


def chromium_path() -> str:
    """Return where the browser is, or skip."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not on PATH")
    return program


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One headless browser for all tests."""
    program = chromium_path()
    expect.set_options(timeout=15_000)  # milliseconds; five seconds are few where tests share two cores
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*FLAGS, *PLAIN])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def with_webgl(chromium: Browser) -> Iterator[Browser]:
    """A browser that draws WebGL in software."""
    browser = chromium.browser_type.launch(executable_path=chromium_path(), args=[*FLAGS, *WEBGL])
    yield browser
    browser.close()


@dataclass
class Visitor:
    """Opens browser windows and collects what goes wrong in them."""

    chromium: Browser
    problems: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    """Parts of console messages that a test brings about on purpose."""

    def open(self, link: str | None = None, *, width: int = 1440, dark: bool = False, scripts: bool = True) -> Page:
        """Open a window, signed in where a one-time link is given."""
        context = self.chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
        )
        context.set_default_timeout(15_000)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.problems.append(f"error in {page.url}: {error}"))
        page.on("response", self._check)
        if link is not None:
            page.goto(link)
            with page.expect_navigation():
                page.get_by_role("button", name="Sign in").click()
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        # A violated Content-Security-Policy is a console error too.
        if message.type in {"error", "warning"} and not any(part in message.text for part in self.expected):
            self.problems.append(f"console {message.type}: {message.text} {message.location}")

    def _check(self, response: Response) -> None:
        if "default-src 'self'" not in response.headers.get("content-security-policy", ""):
            self.problems.append(f"no Content-Security-Policy on {response.url}")


@contextmanager
def visiting(browser: Browser) -> Iterator[Visitor]:
    """Let a visitor open windows, close them, and see that nothing went wrong."""
    visitor = Visitor(browser)
    yield visitor
    for context in visitor.contexts:
        context.close()
    assert visitor.problems == []


@pytest.fixture
def visitor(chromium: Browser) -> Iterator[Visitor]:
    """A visitor in whose windows nothing may go wrong."""
    with visiting(chromium) as visitor:
        yield visitor


@pytest.fixture(params=["webgl", "canvas"])
def drawn_by(request: pytest.FixtureRequest) -> str:
    """What the viewer draws with."""
    return str(request.param)


@pytest.fixture
def reader(request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """A visitor who opens the viewer, which draws with WebGL 2 unless the test is run by `drawn_by`."""
    kind = request.getfixturevalue("drawn_by") if "drawn_by" in request.fixturenames else "webgl"
    with visiting(request.getfixturevalue("with_webgl" if kind == "webgl" else "chromium")) as visitor:
        yield visitor


def wait_until_drawn(page: Page, drawn_by: str = "webgl") -> None:
    """Wait until the viewer shows its image."""
    expect(page.locator("#viewer")).to_have_attribute("data-shown", drawn_by)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with three images, one of them in a folder inside, and a text that calls itself an image.

    Every test draws its own, so that none is answered from another's predictions.
    """
    folder = tmp_path / "ward three"
    (folder / "inside").mkdir(parents=True)
    seed = time.time_ns() % 2**32
    for index, name in enumerate(("first.jpeg", "second.jpeg", "inside/third.jpeg")):
        (folder / name).write_bytes(encode(draw(seed + index)))
    (folder / "not an image.jpg").write_text("This is a text.")
    return folder
