"""An object store for tests: a real S3 over HTTP (moto), and one that only fails."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import boto3
from pydantic import SecretStr

BUCKET = "images"
ACCOUNT = {
    "store_access_key": SecretStr("tester"),
    "store_secret_key": SecretStr("secret"),
    "store_region": "us-east-1",
}


@contextmanager
def running_s3() -> Iterator[str]:
    """Serve an S3 with one bucket on this machine and give its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    session = boto3.session.Session("tester", "secret", region_name="us-east-1")
    session.client("s3", endpoint_url=url).create_bucket(Bucket=BUCKET)
    try:
        yield url
    finally:
        server.stop()


def bucket_settings(endpoint: str) -> dict[str, Any]:
    """Settings of a store under a prefix of its own."""
    return {"store_url": f"s3://{BUCKET}/{uuid4().hex}", "store_endpoint": endpoint, **ACCOUNT}


@contextmanager
def failing_s3(status: int, code: str = "Failed", delay: float = 0.0) -> Iterator[str]:
    """Answer every request with an error, or late."""

    ended = threading.Event()

    class Failing(BaseHTTPRequestHandler):
        def answer(self) -> None:
            ended.wait(delay)
            body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815  # http.server names them

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
