"""Every setting of PneumoScreen, read once from the environment and from secret files."""

import os
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "PNEUMOSCREEN_"
REPOSITORY = Path(__file__).resolve().parents[1]

MIB = 1024 * 1024


class Settings(BaseSettings):
    """Hold all settings; each is the environment variable PNEUMOSCREEN_ plus its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data_dir: Path = Field(Path("var"), description="Folder of the embedded database, image store and queue.")
    database_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL, postgresql+psycopg://... in production. Default: SQLite in the data folder."
    )
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="Broker: redis://host:port/n or unix:///path."
    )
    secret_key: SecretStr | None = Field(
        None, description="Signs sessions. Default: made once and kept in the data folder."
    )
    store_dir: Path | None = Field(None, description="Folder of the image store. Default: store in the data folder.")
    samples_dir: Path | None = Field(None, description="Folder of synthetic sample films offered on an empty history.")
    models_dir: Path = Field(REPOSITORY / "models", description="Folder of model folders.")
    model: str = Field("compact-cnn", description="Name of the model that screens.")
    backend: Literal["auto", "openvino", "tensorflow"] = Field(
        "auto", description="What runs the network: auto takes TensorFlow where it sees a GPU, else OpenVINO."
    )

    max_upload_bytes: int = Field(2048 * MIB, gt=0, description="Largest request in bytes.")
    max_films_per_upload: int = Field(5000, gt=0, description="Most files in one request, ZIP entries not counted.")
    max_film_bytes: int = Field(64 * MIB, gt=0, description="Largest single film in bytes.")
    max_film_pixels: int = Field(40_000_000, gt=0, description="Most pixels of one film.")
    min_film_side: int = Field(64, gt=0, description="Fewest pixels on a film's shorter side.")
    max_zip_entries: int = Field(20_000, gt=0, description="Most entries of one ZIP.")
    max_zip_bytes: int = Field(16_384 * MIB, gt=0, description="Most bytes that one ZIP may unpack to.")
    max_zip_ratio: int = Field(200, gt=0, description="Highest compression ratio of one ZIP entry.")

    batch_size: int = Field(32, ge=1, le=1024, description="Most films in one micro-batch.")
    interactive_films: int = Field(4, ge=0, description="A job of at most this many films goes before bulk jobs.")
    lease_seconds: float = Field(20.0, gt=0, description="How long a worker holds a film without a heartbeat.")
    sweep_seconds: float = Field(5.0, gt=0, description="How often leases are checked and waiting films rung for.")
    max_attempts: int = Field(3, ge=1, description="How often a film may lose its worker before it FAILS.")

    client_seconds: float = Field(60.0, gt=0, description="How long a client may leave a request hanging.")
    trusted_proxies: int = Field(0, ge=0, description="How many reverse proxies in front set X-Forwarded headers.")
    session_hours: float = Field(12.0, gt=0, description="How long a sign-in lasts.")
    sign_in_limit: str = Field("10 per minute", description="Sign-in attempts allowed per address.")
    upload_limit: str = Field("1200 per minute", description="Upload requests allowed per address.")
    secure_cookies: bool = Field(False, description="Send cookies over HTTPS only; set it behind TLS.")

    @model_validator(mode="after")
    def _lease_outlasts_sweep(self) -> Self:
        if self.lease_seconds < 2 * self.sweep_seconds:
            raise ValueError(
                f"{PREFIX}LEASE_SECONDS must be at least twice {PREFIX}SWEEP_SECONDS. "
                f"Received: {self.lease_seconds} and {self.sweep_seconds}"
            )
        return self

    @cached_property
    def database(self) -> str:
        """Name the database to connect to."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data_dir / 'pneumoscreen.db').resolve()}"

    @cached_property
    def store(self) -> Path:
        """Name the folder of the image store."""
        return self.store_dir or self.data_dir / "store"

    @property
    def model_dir(self) -> Path:
        """Name the folder of the model that screens."""
        return self.models_dir / self.model


def load_settings(**overrides: object) -> Settings:
    """Read the settings; PNEUMOSCREEN_SECRETS_DIR names a folder of files such as `pneumoscreen_secret_key`."""
    secrets = os.environ.get(f"{PREFIX}SECRETS_DIR")
    return Settings(_secrets_dir=secrets, **overrides)  # type: ignore[arg-type]  # pydantic checks the types
