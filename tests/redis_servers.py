"""Real Redis servers over TLS and under Sentinel, for tests."""

import datetime as dt
import ipaddress
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis
from redis.exceptions import RedisError

from cli.serving import broker
from tests.certificates import key_usage
from tests.integration.conftest import free_port, wait_until

SECONDS = 30


def find_server() -> str:
    try:
        return str(broker.find_server())
    except broker.NoRedis as error:
        pytest.skip(str(error))


@contextmanager
def running(command: list[str], probe: Redis) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(probe) or process.poll() is not None, SECONDS, "a Redis to answer")
        if process.poll() is not None:
            pytest.skip("this Redis was built without what the test needs")
        yield process
    finally:
        probe.close()
        process.kill()
        process.wait(10)


def answers(probe: Redis) -> bool:
    try:
        return bool(probe.ping())
    except RedisError:
        return False


# ---------------------------------------------------------------- TLS


@dataclass
class Certificates:
    """An authority of its own, and what it has signed for 127.0.0.1."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    now = dt.datetime.now(dt.UTC)
    authority_key, key = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    issuer, name = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("tests", "redis")]

    signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())

    def sign(subject: x509.Name, public: ec.EllipticCurvePublicKey, *, is_authority: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(signed_by, critical=False)
            .add_extension(key_usage(is_authority=is_authority), critical=True)
        )
        if not is_authority:
            here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            builder = builder.add_extension(here, critical=False)
        return builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    made = Certificates(folder / "ca.pem", folder / "redis.pem", folder / "redis.key")
    made.authority.write_bytes(sign(issuer, authority_key.public_key(), is_authority=True))
    made.certificate.write_bytes(sign(name, key.public_key(), is_authority=False))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


@contextmanager
def redis_with_tls(folder: Path) -> Iterator[tuple[str, Certificates]]:
    """A Redis that answers over TLS alone, with a password; yield its URL without what verifies it."""
    certificates, port = make_certificates(folder), free_port()
    command = [
        *(find_server(), "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", ""),
        *("--tls-cert-file", str(certificates.certificate), "--tls-key-file", str(certificates.key)),
        *("--tls-ca-cert-file", str(certificates.authority), "--tls-auth-clients", "no", "--requirepass", "s3cret@"),
        *("--dir", str(folder)),
    ]
    url = f"rediss://:s3cret%40@127.0.0.1:{port}/0"
    with running(command, Redis.from_url(f"{url}?ssl_ca_certs={certificates.authority}")):
        yield url, certificates


# ---------------------------------------------------------------- Sentinel


@dataclass
class Watched:
    """Two Redis servers, and a Sentinel that watches over them."""

    url: str
    servers: list[subprocess.Popen]


@contextmanager
def redis_under_sentinel(folder: Path, master: str) -> Iterator[Watched]:
    server = find_server()
    ports = [free_port() for _ in range(3)]
    own = ("--bind", "127.0.0.1", "--save", "", "--protected-mode", "no")
    with ExitStack() as stack:
        servers = []
        for number, port in enumerate(ports[:2]):
            place = folder / str(port)
            place.mkdir()
            of_first = ("--replicaof", f"127.0.0.1 {ports[0]}") if number else ()
            command = [server, "--port", str(port), "--dir", str(place), *own, *of_first]
            servers.append(stack.enter_context(running(command, Redis(port=port))))
        wait_until(lambda: Redis(port=ports[0]).info("replication")["connected_slaves"] == 1, SECONDS, "the replica")
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {ports[2]}\nbind 127.0.0.1\nprotected-mode no\ndir {folder}\n"
            f"sentinel monitor {master} 127.0.0.1 {ports[0]} 1\n"
            f"sentinel down-after-milliseconds {master} 500\nsentinel failover-timeout {master} 3000\n"
        )
        watch = Redis(port=ports[2])
        stack.enter_context(running([server, str(config), "--sentinel"], watch))
        wait_until(lambda: watch.sentinel_master(master)["num-slaves"] == 1, SECONDS, "Sentinel to see the replica")
        nobody = free_port()
        yield Watched(f"sentinel://127.0.0.1:{nobody},127.0.0.1:{ports[2]}/0", servers)
