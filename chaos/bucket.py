"""A private S3-compatible object store for one run, behind a TCP proxy that can be shut."""

import socket
import socketserver
import subprocess
import sys
import threading
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import boto3
import httpx
import psutil

from chaos.waiting import free_port, wait_until
from shared.settings import PREFIX

NAME: Final = "images"
ACCOUNT: Final = ("chaos", "no secret")
REGION: Final = "us-east-1"
START_SECONDS: Final = 300.0
_CHUNK: Final = 65536


class Gate(socketserver.ThreadingTCPServer):
    """Forward bytes to a port; while shut, drop open connections and refuse new ones."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passage)
        self.port = port
        self.is_shut = False
        self.open: set[socket.socket] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def shut(self) -> None:
        """Drop every connection and let no new one through."""
        self.is_shut = True
        for end in list(self.open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class _Passage(socketserver.BaseRequestHandler):
    """One connection through the proxy."""

    server: Gate

    def handle(self) -> None:
        if self.server.is_shut:
            return
        with socket.create_connection(("127.0.0.1", self.server.port)) as beyond:
            ends = {self.request, beyond}
            self.server.open |= ends
            back = threading.Thread(target=_pass_on, args=(beyond, self.request), daemon=True)
            back.start()
            _pass_on(self.request, beyond)
            back.join()
            self.server.open -= ends


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    """Copy until either end is closed; a dropped connection is expected here."""
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class Bucket:
    """A real S3 over HTTP (moto, which keeps objects in its memory), reached through the proxy."""

    def __init__(self) -> None:
        port = free_port()
        command = [sys.executable, "-m", "moto.server", "-p", str(port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(url), START_SECONDS, "the object store to answer")
        session = boto3.session.Session(*ACCOUNT, region_name=REGION)
        session.client("s3", endpoint_url=url).create_bucket(Bucket=NAME)
        self.gate = Gate(port)

    @property
    def server(self) -> psutil.Process:
        """Return the server, to stop and continue it."""
        return psutil.Process(self._process.pid)

    @property
    def environment(self) -> dict[str, str]:
        """Return the settings that make this the image store."""
        name, secret = ACCOUNT
        return {
            f"{PREFIX}STORE_URL": f"s3://{NAME}/store",
            f"{PREFIX}STORE_ENDPOINT": f"http://127.0.0.1:{self.gate.server_address[1]}",
            f"{PREFIX}STORE_REGION": REGION,
            f"{PREFIX}STORE_ACCESS_KEY": name,
            f"{PREFIX}STORE_SECRET_KEY": secret,
        }

    def stop(self) -> None:
        """Stop proxy and server."""
        self.gate.shut()
        self.gate.shutdown()
        self.gate.server_close()
        self._process.kill()
        self._process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code < HTTPStatus.INTERNAL_SERVER_ERROR
    except httpx.TransportError:
        return False
