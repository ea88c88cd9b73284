"""What may stand between a program and PostgreSQL: a line that falls silent or is cut, and PgBouncer."""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from tests.integration.conftest import free_port

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")


class Line:
    """A TCP port in front of a PostgreSQL; it can fall silent, as a server does that hangs, or break off."""

    def __init__(self, url: str) -> None:
        query = make_url(url).query
        self._upstream = str(next(Path(str(query["host"])).glob(".s.PGSQL.*[0-9]")))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self.url = make_url(url).set(host="127.0.0.1", port=self._listener.getsockname()[1], query={})
        self.silent = threading.Event()
        self.closed = threading.Event()
        self.messages_left: int | None = None
        """How many more messages of programs pass before every connection is cut."""
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def address(self) -> str:
        return self.url.render_as_string(hide_password=False)

    def cut(self) -> None:
        """Break every connection off."""
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.closed.set()
        self.cut()
        for thread in self._threads:
            thread.join(10)
        for end in [self._listener, *(end for pair in self._pairs for end in pair)]:
            end.close()

    def _accept(self) -> None:
        while not self.closed.is_set():
            try:
                program, _ = self._listener.accept()
            except TimeoutError:
                continue
            program.settimeout(0.05)
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._upstream)
            server.settimeout(0.05)
            self._pairs.append((program, server))
            for ends in ((program, server), (server, program)):
                self._threads.append(threading.Thread(target=self._carry, args=(*ends, ends[0] is program)))
                self._threads[-1].start()

    def _carry(self, source: socket.socket, target: socket.socket, is_program: bool) -> None:
        with suppress(OSError):
            while not self.closed.is_set():
                try:
                    data = b"" if self.silent.is_set() else source.recv(65536)
                except TimeoutError:
                    continue
                if self.silent.is_set():  # what came stays here; the other side hears nothing, not even an end
                    time.sleep(0.02)
                    continue
                if not data:
                    break
                if is_program and self.messages_left is not None:
                    self.messages_left -= 1
                    if self.messages_left < 0:
                        self.cut()
                        break
                target.sendall(data)
            for end in (source, target):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def pgbouncer(folder: Path, url: str, **options: object) -> Iterator[str]:
    """Run Debian's PgBouncer in transaction mode in front of a database, and yield the address to it."""
    place, port = make_url(url), free_port()
    upstream = f"host={place.query['host']} dbname={place.database} user={place.username}"
    told = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "auth_type": "any",
        "pool_mode": "transaction",
        "default_pool_size": 4,
        "unix_socket_dir": "",
        "ignore_startup_parameters": "extra_float_digits",
        **options,
    }
    lines = [f"{name} = {value}" for name, value in told.items()]
    settings, log = folder / "pgbouncer.ini", folder / "pgbouncer.log"
    settings.write_text("\n".join(["[databases]", f"pool = {upstream}", "[pgbouncer]", *lines, ""]))
    for path in (folder, settings):
        path.chmod(0o755)
    command = [str(PGBOUNCER), str(settings)]
    # It refuses to run as root; who runs PostgreSQL may open its socket.
    owner = Path(str(place.query["host"])).stat()
    user = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, **user)
    address = f"postgresql+psycopg://{place.username}@127.0.0.1:{port}/pool"
    try:
        _wait_for(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            probe = psycopg.connect(address.replace("+psycopg", ""), connect_timeout=2)
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        else:
            probe.close()
            return
