"""Connect to Redis: translate one setting for each of the libraries that use it.

`redis://`, `rediss://` (TLS), `unix://`, and `sentinel://host:port,host:port/n` for a Redis behind Sentinel. TLS is
verified unless the URL says otherwise; the URL also names its files, as in `?ssl_ca_certs=/etc/ca.pem`.
"""

import ssl
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.settings import Settings

if TYPE_CHECKING:
    from redis import Redis

SENTINEL_PORT: Final = 26379
_SENTINEL: Final = "sentinel"
_VERIFY: Final = {
    "required": ssl.CERT_REQUIRED,
    "CERT_REQUIRED": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "CERT_OPTIONAL": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
    "CERT_NONE": ssl.CERT_NONE,
}


@dataclass(frozen=True)
class Broker:
    """The Redis that the settings name."""

    url: str
    master: str
    """Name under which Sentinel knows it."""

    @classmethod
    def of(cls, settings: Settings) -> "Broker":
        """Read the settings."""
        return cls(settings.redis_url.get_secret_value(), settings.redis_master)

    @property
    def is_watched(self) -> bool:
        """Tell whether it is found through Sentinel."""
        return bool(self._split.scheme == _SENTINEL)

    def connect(self, **options: Any) -> "Redis":
        """Make a client; it connects with its first command."""
        # The import takes 0.1 s, which the start of the web need not wait for.
        from redis import Redis, sentinel  # noqa: PLC0415

        if not self.is_watched:
            return Redis.from_url(self.url, **options)
        tls = {"ssl": True, **self.tls} if self.tls else {}
        own = {**options, **self._sign_in, **tls}
        library: Any = sentinel
        found: Redis = library.Sentinel(self._sentinels, sentinel_kwargs=own, **own).master_for(
            self.master, db=self._number
        )
        return found

    def celery_options(self, transport: dict[str, Any]) -> dict[str, Any]:
        """Return Celery's settings, with further options of its transport."""
        if not self.is_watched:
            # By default kombu does not verify, and warns of it.
            secured = {"broker_use_ssl": self.tls} if self.tls else {}
            url = self._bare.replace("unix://", "redis+socket://", 1)
            return {"broker_url": url, "broker_transport_options": transport, **secured}
        sign_in, _, _ = self._split.netloc.rpartition("@")
        start = f"{_SENTINEL}://{sign_in}@" if sign_in else f"{_SENTINEL}://"
        tls = {"ssl": True, **self.tls} if self.tls else {}
        timeouts = {name: value for name, value in transport.items() if name.startswith("socket_")}
        watched = {
            "master_name": self.master,
            "sentinel_kwargs": {**timeouts, **self._sign_in, **tls},
        }
        return {
            "broker_url": ";".join(f"{start}{host}:{port}/{self._number}" for host, port in self._sentinels),
            "broker_transport_options": {**transport, **watched},
            **({"broker_use_ssl": self.tls} if self.tls else {}),
        }

    def limits_address(self) -> str:
        """Return the address in the form of the library `limits`."""
        if not self.is_watched:
            return self.url.replace("unix://", "redis+unix://", 1)
        return f"redis+sentinel://{self._split.netloc}/{self.master}"

    def limits_options(self) -> dict[str, Any]:
        """Return the options that this address cannot express."""
        if not self.is_watched:
            return {}
        tls = {"ssl": True, **self.tls} if self.tls else {}
        return {"db": self._number, "use_replicas": False, **tls, **({"sentinel_kwargs": tls} if tls else {})}

    @cached_property
    def tls(self) -> dict[str, Any]:
        """Return the options of TLS verification; empty without TLS."""
        given = dict(parse_qsl(self._split.query))
        said = {name: value for name, value in given.items() if name.startswith("ssl_")}
        if self._split.scheme != "rediss" and not said and given.get("ssl") != "true":
            return {}
        checks_name = said.pop("ssl_check_hostname", "true").lower() not in {"false", "0", "no"}
        verify = _VERIFY.get(said.pop("ssl_cert_reqs", "required"), ssl.CERT_REQUIRED)
        return {**said, "ssl_cert_reqs": verify, "ssl_check_hostname": checks_name and verify != ssl.CERT_NONE}

    @cached_property
    def _split(self) -> Any:
        return urlsplit(self.url)

    @property
    def _bare(self) -> str:
        """Return the URL without the options in `tls`; a socket's query is kept, as it holds the database number."""
        return self.url if self._split.scheme == "unix" else self.url.partition("?")[0]

    @property
    def _number(self) -> int:
        """Return the number of the Redis database."""
        path = self._split.path.strip("/")
        return int(path) if path.isdecimal() else 0

    @property
    def _sentinels(self) -> list[tuple[str, int]]:
        found = []
        for place in self._split.netloc.rpartition("@")[2].split(","):
            host, _, port = place.rpartition(":") if place.rpartition(":")[2].isdecimal() else (place, "", "")
            found.append((host.strip("[]"), int(port or SENTINEL_PORT)))
        return found

    @property
    def _sign_in(self) -> dict[str, str]:
        name, _, password = self._split.netloc.rpartition("@")[0].partition(":")
        given = {"username": unquote(name), "password": unquote(password)}
        return {field: value for field, value in given.items() if value}
