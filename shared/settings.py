"""Every setting of PneumoScreen, read once from the environment and from secret files."""

import json
import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from shared.email_addresses import to_ascii
from shared.network_addresses import Network, read_networks
from shared.refusals import OF_THE_GATE, Rejection

PREFIX = "PNEUMOSCREEN_"
REPOSITORY = Path(__file__).resolve().parents[1]

MIB = 1024 * 1024

LEAST_KEY: Final = 16
"""Fewest characters of a key: 16 hexadecimal digits are the 64 bits below which guessing is in reach."""

NO_SECRET_KEY: Final = (
    f"{PREFIX}SECRET_KEY is not set. Give it at least 32 random characters, or a file pneumoscreen_secret_key "
    f"in the folder that {PREFIX}SECRETS_DIR names."
)


class Settings(BaseSettings):
    """Hold all settings; each is the environment variable PNEUMOSCREEN_ plus its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    data_dir: Path = Field(Path("var"), description="Folder of the embedded database, image store and queue.")
    database_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL; in production postgresql+psycopg://... Default: SQLite in the data folder."
    )
    database_connections: int | None = Field(
        None, gt=0, description="Most PostgreSQL connections per process. Default: one for each of its threads."
    )
    database_connect_seconds: float = Field(
        5.0, ge=2, description="Timeout for connecting to PostgreSQL, and for checking that a connection is alive."
    )
    database_pool_seconds: float = Field(
        5.0, gt=0, description="How long a request waits for a free connection while all are in use."
    )
    database_statement_seconds: float = Field(
        30.0, gt=0, description="Timeout of a single PostgreSQL statement of pages, workers or the sweep."
    )
    database_lock_seconds: float = Field(
        10.0, gt=0, description="How long such a statement waits for rows or tables locked by others."
    )
    database_idle_seconds: float = Field(
        60.0, gt=0, description="How long a transaction may be idle before PostgreSQL ends it."
    )
    database_prepares: bool = Field(
        True, description="Prepare repeated statements. Switched off automatically behind a pooler such as PgBouncer."
    )
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis broker: redis://host:port/n, rediss:// with TLS, unix:///path, or "
        "sentinel://host:port,host:port/n.",
    )
    redis_master: str = Field(
        "mymaster", description="Name of the Redis master in Sentinel, for sentinel:// addresses."
    )
    secret_key: SecretStr | None = Field(
        None, description="Key that signs sessions. Default: generated once and stored in the data folder."
    )
    store_dir: Path | None = Field(
        None,
        description="Folder of the image store or, with a bucket, of images being received. Default: in the data "
        "folder.",
    )
    store_url: str | None = Field(
        None,
        pattern=r"^s3://[^/\s]+(/\S*)?$",
        description="Bucket of the image store, s3://bucket/prefix. Default: a folder is used.",
    )
    store_endpoint: str | None = Field(
        None, pattern=r"^https?://", description="Address of an S3-compatible object store. Default: Amazon S3."
    )
    store_region: str | None = Field(None, description="Region of the bucket. Default: determined by boto3.")
    store_access_key: SecretStr | None = Field(
        None, description="Access key ID for the bucket. Default: determined by boto3, such as the machine's role."
    )
    store_secret_key: SecretStr | None = Field(None, description="Secret access key for the bucket.")
    store_key: SecretStr | None = Field(
        None,
        description="Encryption key of the image store: 32 bytes in base64. Of several, the first encrypts and all "
        "decrypt.",
    )
    pseudonymise_names: bool = Field(
        False, description="Replace the names of files, folders and jobs by pseudonyms before they are stored."
    )
    pseudonym_key: SecretStr | None = Field(
        None, description="Key from which pseudonyms are derived. Default: derived from the key that signs sessions."
    )
    match_patients: bool = Field(
        True,
        description="Store a DICOM file's patient, as a pseudonym, and its date, so that X-rays of one patient can be "
        "compared side by side.",
    )
    samples_dir: Path | None = Field(
        None, description="Folder of synthetic sample images, offered while the history is empty."
    )
    models_dir: Path = Field(REPOSITORY / "models", description="Folder that contains the model folders.")
    graphs_dir: Path | None = Field(
        None, description="Folder of cached graphs that speed up a worker's start. Default: graphs in the data folder."
    )
    model: str = Field(
        "whole-mobilenet",
        description="Name of the model that screens; new jobs use it unless an administrator chose another.",
    )
    gate_ignores: str | None = Field(
        None,
        description="Codes of the gate that do not refuse an image, separated by commas, or `all`; see the model's "
        "card. Default: none, every code refuses.",
    )
    backend: Literal["auto", "openvino", "tensorflow"] = Field(
        "auto", description="Runtime of the network: auto uses TensorFlow if it finds a GPU, else OpenVINO."
    )

    max_upload_bytes: int = Field(2048 * MIB, gt=0, description="Largest request in bytes.")
    max_images_per_upload: int = Field(5000, gt=0, description="Most files in one request, ZIP entries not counted.")
    max_image_bytes: int = Field(64 * MIB, gt=0, description="Largest single image in bytes.")
    max_image_pixels: int = Field(40_000_000, gt=0, description="Most pixels of a single image.")
    min_image_side: int = Field(64, gt=0, description="Fewest pixels on an image's shorter side.")
    max_zip_entries: int = Field(20_000, gt=0, description="Most entries of one ZIP.")
    max_zip_bytes: int = Field(16_384 * MIB, gt=0, description="Most bytes that one ZIP may unpack to.")
    max_zip_ratio: int = Field(200, gt=0, description="Highest compression ratio of one ZIP entry.")

    batch_size: int = Field(
        128, ge=1, le=1024, description="Most images that a worker claims at once; a slow one claims fewer."
    )
    interactive_images: int = Field(
        4, ge=0, description="Jobs of at most this many images are screened before bulk jobs."
    )
    max_backlog: int = Field(
        100_000,
        gt=0,
        description="Most images that may wait; beyond this, uploads are refused and told when to try again.",
    )
    interactive_reserve: int = Field(
        200, ge=0, description="Images of interactive jobs that may wait beyond that limit."
    )
    min_free_bytes: int = Field(
        1024 * MIB,
        ge=0,
        description="Minimum free space on the disks of store and SQLite; below it, uploads are refused.",
    )
    lease_seconds: float = Field(20.0, gt=0, description="How long a worker holds an image without a heartbeat.")
    sweep_seconds: float = Field(
        5.0, gt=0, description="How often leases are checked and tickets are sent for images that wait without one."
    )
    max_attempts: int = Field(3, ge=1, description="How often an image may lose its worker before it is FAILED.")

    stall_seconds: float = Field(
        60.0,
        gt=0,
        description="How long images may wait without progress while a worker is running before the status is `no "
        "progress`.",
    )
    header_seconds: float = Field(15.0, gt=0, description="Timeout for receiving the header of a request.")
    client_seconds: float = Field(60.0, gt=0, description="How long a client may stall a request.")
    least_bytes_per_second: float = Field(
        1000.0, gt=0, description="Below this speed, a request body or an answer counts as stalled."
    )
    trusted_proxies: int = Field(
        0, ge=0, description="Number of reverse proxies in front that set X-Forwarded headers."
    )
    allowed_hosts: str | None = Field(
        None,
        description="Host names that pages answer to, separated by commas; .example.org includes subdomains. Default: "
        "any.",
    )
    session_hours: float = Field(12.0, gt=0, description="Lifetime of a session.")
    session_idle_minutes: float = Field(60.0, gt=0, description="Time without use after which a session ends.")
    sign_in_limit: str = Field(
        "10 per minute", description="Refused sign-in attempts allowed per IPv4 address or IPv6 /64 network."
    )
    upload_limit: str = Field("1200 per minute", description="Upload requests allowed per address.")
    blind_second_reading: bool = Field(
        False,
        description="Hide an image's prediction and others' reviews from a reader until that reader has reviewed it.",
    )
    webhook_networks: str | None = Field(
        None,
        description="Networks that webhooks may call besides public addresses, such as 10.2.0.0/16, separated by "
        "commas. Default: none.",
    )
    webhook_seconds: float = Field(10.0, gt=0, le=30, description="Timeout for the answer of a webhook's receiver.")
    public_url: str | None = Field(
        None, description="Public address of the pages, https://host/path, for links in e-mails."
    )
    smtp_host: str | None = Field(None, description="Mail server for outgoing e-mails. Default: no e-mails are sent.")
    smtp_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port of the mail server. Default: 587 with starttls, 465 with implicit, 25 with none.",
    )
    smtp_tls: Literal["starttls", "implicit", "none"] = Field(
        "starttls",
        description="Encryption of the connection to the mail server: starttls, implicit (TLS from the start) or none.",
    )
    smtp_user: str | None = Field(None, description="User name for signing in to the mail server. Default: no sign-in.")
    smtp_password: SecretStr | None = Field(None, description="Password for signing in to the mail server.")
    smtp_from: str | None = Field(None, description="Sender address of e-mails.")
    smtp_seconds: float = Field(10.0, gt=0, le=20, description="How long the mail server may take for one e-mail.")
    secure_cookies: bool = Field(False, description="Send cookies only over HTTPS; set this behind TLS.")

    oidc_issuer: str | None = Field(
        None,
        description="Issuer URL of the identity provider for single sign-on, exactly as in its discovery document. "
        "Default: none.",
    )
    oidc_client_id: str | None = Field(None, description="Client ID of this installation at the identity provider.")
    oidc_client_secret: SecretStr | None = Field(
        None, description="Client secret of this installation at the identity provider. Default: none, a public client."
    )
    oidc_scopes: str = Field(
        "openid profile email", description="Scopes requested from the identity provider; openid is required."
    )
    oidc_label: str = Field(
        "Single sign-on",
        min_length=1,
        max_length=64,
        description="Label of the single sign-on button on the sign-in page.",
    )
    oidc_contact: str = Field(
        "an administrator of PneumoScreen", description="Contact named to people whom single sign-on refuses."
    )
    oidc_create_accounts: bool = Field(
        False, description="Create an account for people without one at their first single sign-on."
    )
    oidc_name_claim: str = Field("preferred_username", description="Claim from which a new account gets its name.")
    oidc_role_claim: str | None = Field(
        None, description="Claim that holds roles or groups; a dot denotes nesting, as in realm_access.roles."
    )
    oidc_roles: Annotated[dict[str, Literal["technician", "reader", "admin"]], NoDecode] = Field(
        {}, description="Mapping from values of that claim to roles, as JSON; the first match counts."
    )
    oidc_default_role: Literal["technician", "reader"] | None = Field(
        None, description="Role if no value matches. Default: the sign-in is refused."
    )
    oidc_seconds: float = Field(5.0, gt=0, description="Timeout for answers of the identity provider.")

    @field_validator("gate_ignores")
    @classmethod
    def _codes_are_known(cls, given: str | None) -> str | None:
        known = {"all", *OF_THE_GATE}
        unknown = sorted(set(_words(given)) - known)
        if unknown:
            raise ValueError(f"It knows {', '.join(sorted(known))}. Received: {', '.join(unknown)}")
        return given

    @model_validator(mode="before")
    @classmethod
    def _empty_is_none(cls, given: Any) -> Any:
        """Treat an empty value as unset, so that `VARIABLE=` in an environment file leaves the default.

        As a key it could be guessed by anybody; as a folder it would be the current one.
        """
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if not _is_empty(value)}

    @field_validator("oidc_roles", mode="before")
    @classmethod
    def _read_json(cls, roles: object) -> object:
        if not isinstance(roles, str):
            return roles
        try:
            return json.loads(roles)
        except ValueError as error:
            raise ValueError(f"It must be JSON: {error}") from error

    @field_validator("secret_key", "pseudonym_key")
    @classmethod
    def _key_is_long(cls, key: SecretStr | None) -> SecretStr | None:
        length = LEAST_KEY if key is None else len(key.get_secret_value().strip())
        if length < LEAST_KEY:
            raise ValueError(
                f"It must have at least {LEAST_KEY} characters that nobody can guess, such as the output of "
                f"'openssl rand -hex 32'. Received: {length}"
            )
        return key

    @field_validator("webhook_networks")
    @classmethod
    def _networks_are_networks(cls, given: str | None) -> str | None:
        read_networks(given)
        return given

    @field_validator("public_url")
    @classmethod
    def _public_url_is_whole(cls, given: str | None) -> str | None:
        if given is None:
            return None
        place = urlsplit(given)
        is_text = given.isascii() and given.isprintable() and not set(given) & set(' <>"')
        is_whole = place.scheme in {"http", "https"} and bool(place.hostname)
        if not (is_text and is_whole) or place.query or place.fragment or place.username is not None:
            raise ValueError(f"It must be an address such as https://pneumo.example.org/path. Received: {given}")
        return given.rstrip("/")

    @field_validator("smtp_from")
    @classmethod
    def _sender_is_an_address(cls, given: str | None) -> str | None:
        if given is not None and to_ascii(given) is None:
            raise ValueError(f"It must be an address such as pneumo@example.org. Received: {given}")
        return given

    @model_validator(mode="after")
    def _mail_can_be_sent(self) -> Self:
        if self.smtp_host is None:
            return self
        password = "" if self.smtp_password is None else self.smtp_password.get_secret_value()
        is_loopback = self.smtp_host in {"127.0.0.1", "localhost", "::1"}
        is_implicit = self.smtp_tls == "implicit"
        demands = {
            "SMTP_FROM must be set": bool(self.smtp_from),
            "PUBLIC_URL must be set, for the links": bool(self.public_url),
            "SMTP_HOST must be a name or an address alone": _is_host(self.smtp_host),
            "SMTP_USER and SMTP_PASSWORD must be set together": bool(self.smtp_user) == bool(password),
            "SMTP_USER and SMTP_PASSWORD must be ASCII": f"{self.smtp_user or ''}{password}".isascii(),
            "SMTP_PASSWORD would go unencrypted: set SMTP_TLS to starttls or implicit": (
                not password or self.smtp_tls != "none" or is_loopback
            ),
            "SMTP_PORT 465 takes SMTP_TLS=implicit alone": self.smtp_port != 465 or is_implicit,
            "SMTP_PORT 587 takes SMTP_TLS=starttls, not implicit": self.smtp_port != 587 or not is_implicit,
        }
        unmet = "; ".join(demand for demand, is_met in demands.items() if not is_met)
        if unmet:
            raise ValueError(
                f"E-mails cannot be sent so (each name begins with {PREFIX}): {unmet}. "
                f"Received the host: {self.smtp_host}"
            )
        return self

    @model_validator(mode="after")
    def _lease_outlasts_sweep(self) -> Self:
        if self.lease_seconds < 2 * self.sweep_seconds:
            raise ValueError(
                f"{PREFIX}LEASE_SECONDS must be at least twice {PREFIX}SWEEP_SECONDS. "
                f"Received: {self.lease_seconds} and {self.sweep_seconds}"
            )
        return self

    @model_validator(mode="after")
    def _single_sign_on_is_whole(self) -> Self:
        if self.oidc_issuer is None:
            return self
        place = urlsplit(self.oidc_issuer)
        is_loopback = place.scheme == "http" and place.hostname in {"127.0.0.1", "localhost", "::1"}
        gives_roles = bool(self.oidc_roles or self.oidc_default_role)
        demands = {
            "ISSUER must start with https:// (http:// on this machine)": place.scheme == "https" or is_loopback,
            "CLIENT_ID must be set": bool(self.oidc_client_id),
            "SCOPES must hold openid": "openid" in self.oidc_scopes.split(),
            "ROLE_CLAIM and _ROLES must be set together": bool(self.oidc_role_claim) == bool(self.oidc_roles),
            "CREATE_ACCOUNTS needs _ROLES or _DEFAULT_ROLE": gives_roles or not self.oidc_create_accounts,
        }
        unmet = "; ".join(f"{PREFIX}OIDC_{demand}" for demand, is_met in demands.items() if not is_met)
        if unmet:
            raise ValueError(f"Single sign-on cannot be used so: {unmet}. Received the issuer: {self.oidc_issuer}")
        return self

    @cached_property
    def database(self) -> str:
        """Return the database to connect to."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data_dir / 'pneumoscreen.db').resolve()}"

    @cached_property
    def store(self) -> Path:
        """Return the folder of the image store."""
        return self.store_dir or self.data_dir / "store"

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        """Return the host names that pages answer to, IPv6 addresses without brackets; empty where all are allowed."""
        names = (name.strip().strip("[]").lower() for name in (self.allowed_hosts or "").split(","))
        return tuple(name for name in names if name)

    @cached_property
    def ignored_codes(self) -> frozenset[Rejection]:
        """Return the codes of the gate that refuse no image here."""
        said = set(_words(self.gate_ignores))
        return frozenset(code for code in OF_THE_GATE if code in said or "all" in said)

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """Return the networks that webhooks may call besides public addresses."""
        return read_networks(self.webhook_networks)

    @property
    def mail_port(self) -> int:
        """Return the port of the mail server (RFC 8314, section 3.3, and RFC 5321 for what is not encrypted)."""
        return self.smtp_port or {"starttls": 587, "implicit": 465, "none": 25}[self.smtp_tls]

    @property
    def graphs(self) -> Path:
        """Return the folder of graphs made from models."""
        return self.graphs_dir or self.data_dir / "graphs"

    @property
    def model_dir(self) -> Path:
        """Name the folder of the model that screens."""
        return self.models_dir / self.model


def _words(given: str | None) -> list[str]:
    """Split a comma-separated list."""
    return [word.strip().lower() for word in (given or "").split(",") if word.strip()]


def _is_host(text: str) -> bool:
    """Tell whether a text can be the name or the address of a machine, without a port or a path."""
    is_ipv6 = text.count(":") > 1
    return text.isascii() and text.isprintable() and not set(text) & set("/@[] ") and (is_ipv6 or ":" not in text)


def _is_empty(value: object) -> bool:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    return isinstance(text, str) and not text.strip()


def load_settings(**overrides: object) -> Settings:
    """Read the settings; PNEUMOSCREEN_SECRETS_DIR names a folder of files such as `pneumoscreen_secret_key`."""
    secrets = os.environ.get(f"{PREFIX}SECRETS_DIR", "").strip() or None
    if secrets is not None and not Path(secrets).expanduser().is_dir():
        raise SettingsError(f"{PREFIX}SECRETS_DIR names a folder that is not there: {secrets}")
    return Settings(_secrets_dir=secrets, **overrides)  # type: ignore[arg-type]  # pydantic checks the types
