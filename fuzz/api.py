"""Fuzz a real web: the API by schemathesis against its OpenAPI document, every route by hostile arguments."""

import contextlib
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx
from rich.console import Console
from rich.table import Table

from cli.serving.processes import web_command
from fuzz.parameters import Attack, ParameterRun, attacks, keep, read_routes
from migrations.schema import upgrade
from shared.accounts import links, tokens, users
from shared.db import Database
from shared.settings import PREFIX, REPOSITORY, Settings
from shared.tables import Role, Scope

_START_SECONDS: Final = 120
_THREADS: Final = 4
_CONFIG: Final = Path(__file__).with_name("schemathesis.toml")
_SPOILS: Final = frozenset({"/sign-out", "/account/password", "/account/sessions/end"})
"""Routes that would end the attacker's own session."""
_MOST_CHARACTERS: Final = 6000
_NO_LIMIT: Final = "1000000 per minute"


@dataclass(frozen=True)
class Site:
    """A running web, and a token of its administrator."""

    url: str
    token: str
    link: str
    """A one-time link that signs its administrator in with a browser."""
    environment: dict[str, str]


@dataclass(frozen=True)
class ApiRun:
    """The results of schemathesis."""

    report: dict[str, Any]
    seconds: float

    @property
    def failures(self) -> list[dict[str, Any]]:
        """Return the distinct failures: `title`, `operations` and how often."""
        found: list[dict[str, Any]] = self.report["failures"]
        return found

    @property
    def is_whole(self) -> bool:
        """Tell whether every operation was tried."""
        operations = self.report["operations"]
        return bool(operations["tested"] == operations["total"] and not operations["errored"])

    def show(self, console: Console) -> None:
        """Print how many requests were tried, and each failure."""
        operations, cases = self.report["operations"], self.report["test_cases"]
        table = Table("operations", "tried", "requests", "failures", "errors", "seconds", title="Hostile requests")
        for column in table.columns:
            column.justify = "right"
        figures = (operations["total"], operations["tested"], cases["generated"], len(self.failures), cases["errored"])
        table.add_row(*(f"{figure:,}" for figure in figures), f"{self.seconds:.0f}")
        console.print(table)
        for failure in self.failures:
            where = ", ".join(map(str, failure["operations"]))
            console.print(f"{failure['count']} x {failure['title']}: {where}", highlight=False, soft_wrap=True)

    def to_json(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            **{name: self.report[name] for name in ("operations", "test_cases", "failures")},
            "seconds": self.seconds,
        }


@contextlib.contextmanager
def running_web(folder: Path) -> Iterator[Site]:
    """Start the pages and the API on a fresh database, without Redis or workers, and stop them."""
    database = Database(f"sqlite:///{folder / 'pneumoscreen.db'}")
    upgrade(database)
    with database.write() as session:
        admin = users.add_user(session, "fuzz", Role.ADMIN)
        token = tokens.make_token(session, admin, "fuzz", scopes=list(Scope))
        link = links.make_link(session, admin)
    database.close()
    port, environment = _free_port(), _environment(folder)
    with (folder / "web.log").open("wb") as log:
        process = subprocess.Popen(
            web_command("127.0.0.1", port, _THREADS), cwd=REPOSITORY, env=environment, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(f"{url}/healthz", process, folder / "web.log")
        yield Site(url, token, link, environment)
    finally:
        process.terminate()
        process.wait(60)


def run_api(*, examples: int, seed: int, folder: Path, phases: str = "coverage,fuzzing,stateful") -> ApiRun:
    """Send hostile and valid requests to every operation, `examples` of each kind; the full report goes to `folder`.

    `phases` are those of schemathesis: requests at the schema's boundaries, random ones, and chains of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    report = folder.resolve() / "report.json"
    report.unlink(missing_ok=True)  # of an earlier run
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pneumoscreen-fuzz-") as name, running_web(Path(name)) as site:
        command = [*_command(site, examples, seed, report), "--phases", phases]
        with (folder / "schemathesis.log").open("wb") as log:
            subprocess.run(command, cwd=name, stdout=log, stderr=subprocess.STDOUT, check=False)
    if not report.exists():
        raise RuntimeError(f"schemathesis wrote no report; see {folder / 'schemathesis.log'}.")
    return ApiRun(json.loads(report.read_text()), time.monotonic() - started)


def run_parameters(*, each: int, seed: int, folder: Path) -> ParameterRun:
    """Send hostile arguments to every route of the web's URL map, `each` values per argument."""
    run = ParameterRun()
    with tempfile.TemporaryDirectory(prefix="pneumoscreen-fuzz-") as name, running_web(Path(name)) as site:
        with httpx.Client(base_url=site.url, headers={"Accept": "text/html"}, timeout=60) as client:
            token = _sign_in(client, site.link)
            program = {"Authorization": f"Bearer {site.token}", "Accept": "application/json"}
            ids = {"job_id": client.post("/api/v1/jobs", json={}, headers=program).json()["id"]}

            def ask(attack: Attack) -> int:
                own = program if attack.path.startswith("/api/") else {"X-CSRFToken": token}
                return _send(client, attack, own)

            routes = [route for route in read_routes(site.environment) if route.rule not in _SPOILS]
            for attack in attacks(routes, ids, random.Random(seed), each):
                run.send(attack, ask)
        if run.faults:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(name) / "web.log", folder / "parameters.log")
            keep(run, folder)
    return run


def _sign_in(client: httpx.Client, link: str) -> str:
    """Sign in by a one-time link and return the CSRF token of the pages."""
    field = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get(f"/sign-in/link/{link}").text)
    assert field is not None  # noqa: S101  # our own page
    client.post(f"/sign-in/link/{link}", data={"csrf_token": field[1]})
    token = re.search(r'name="csrf-token" content="([^"]+)"', client.get("/help").text)
    assert token is not None  # noqa: S101
    return token[1]


def _send(client: httpx.Client, attack: Attack, own: dict[str, str]) -> int:
    headers = {**own, **attack.headers}
    # gunicorn accepts request lines of 8190 bytes, and httpx 65536; tests cover longer ones without a server.
    query = {name: value[:_MOST_CHARACTERS] for name, value in attack.query.items()}
    address = quote(attack.path, safe="/%") + (f"?{urlencode(query)}" if query else "")
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    request = client.build_request(attack.method, address, data=attack.form or None, content=attack.body, headers=raw)
    return client.send(request).status_code


def _command(site: Site, examples: int, seed: int, report: Path) -> list[str]:
    return [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(_CONFIG)),
        *("run", f"{site.url}/api/v1/openapi.json"),
        *("--url", site.url, "--header", f"Authorization: Bearer {site.token}"),
        *("--max-examples", str(examples), "--seed", str(seed), "--checks", "all", "--continue-on-failure"),
        *("--report", "json", "--report-json-path", str(report), "--no-color", "--generation-database", "none"),
    ]


def _environment(folder: Path) -> dict[str, str]:
    """Return the settings of a stand-alone web, without those of the caller's environment."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    settings = {
        "data_dir": str(folder),
        "redis_url": f"unix://{folder / 'no.sock'}",
        "secret_key": "a key for hostile requests only",
        "upload_limit": _NO_LIMIT,
    }
    assert settings.keys() <= Settings.model_fields.keys()  # noqa: S101  # a typing error would pass unnoticed
    return own | {f"{PREFIX}{name.upper()}": value for name, value in settings.items()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=30):  # noqa: S310  # our own
            return
        time.sleep(0.1)
    raise RuntimeError(f"The web did not start: {log.read_text()[-2000:]}")
