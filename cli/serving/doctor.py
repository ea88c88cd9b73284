"""`pneumoscreen doctor`: check what this machine has and lacks, and what to do about it. Changes nothing."""

import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import click
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from cli.data_folder import is_served, open_to_others
from cli.database import open_database
from cli.errors import CommandFailed
from cli.options import DATA_DIR
from cli.report import make_console
from cli.serving.broker import find_server
from cli.serving.limits import TooFewFiles, allow_files
from cli.serving.processes import is_loopback
from cli.settings import read_settings
from shared.activations.in_force import default_model
from shared.errors import (
    BrokerAway,
    ModelUnavailable,
    PneumoScreenError,
    StoreAway,
    StoreFull,
    StoreMisconfigured,
)
from shared.languages.catalogs import TRANSLATIONS, CatalogMissing, check_catalogs
from shared.languages.languages import LANGUAGES
from shared.models.folder import list_models, read_spec, verify_weights
from shared.models.spec import ModelSpec
from shared.queue.heartbeats import Heartbeats
from shared.settings import PREFIX, Settings
from shared.store.durability import network_file_system
from shared.store.store import open_store

OLDEST, NEWEST = (3, 11), (3, 13)
GIB: Final = 1024**3
LITTLE_DISK, NO_DISK = 5 * GIB, GIB // 2
"""300,000 images of a 224 px set, or 20,000 originals, take about 5 GiB."""


_BACKENDS: Final = {"auto": ("openvino", "tensorflow"), "openvino": ("openvino",), "tensorflow": ("tensorflow",)}


class Level(StrEnum):
    """The outcome of a check."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line of the table."""

    subject: str
    level: Level
    found: str
    advice: str = ""


Check = Callable[[Settings, int], Finding]


@click.command()
@DATA_DIR
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port that must be free.")
def doctor(data_dir: Path | None, port: int) -> None:
    """Check that this machine can run PneumoScreen. Exit status 1 where something has to be done first."""
    settings = read_settings(data_dir)
    findings = [check(settings, port) for check in CHECKS]
    _show(findings)
    if any(finding.level is Level.FAIL for finding in findings):
        raise SystemExit(1)


def check_python(_settings: Settings, _port: int) -> Finding:
    """Compare the running Python with the tested versions."""
    version = sys.version_info[:2]
    found = ".".join(map(str, sys.version_info[:3]))
    if version < OLDEST:
        return Finding("Python", Level.FAIL, found, "Install Python 3.11, 3.12 or 3.13 and run 'make setup' again.")
    if version > NEWEST:
        return Finding("Python", Level.WARN, found, "Not tested with this version; 3.11 to 3.13 are.")
    return Finding("Python", Level.OK, found)


def check_data_folder(settings: Settings, _port: int) -> Finding:
    """Check that the data folder, or its nearest existing parent, is writable and has room."""
    folder = settings.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        advice = f"Give this account the right to write there, or set {PREFIX}DATA_DIR."
        return Finding("Data folder", Level.FAIL, f"{folder} cannot be written", advice)
    free = shutil.disk_usage(folder).free
    found = f"{settings.data_dir}, {free / GIB:,.1f} GiB free"
    if is_served(settings.data_dir):
        found += "; a server is running on it"
    if free < NO_DISK:
        return Finding("Data folder", Level.FAIL, found, "Free disk space: images would be refused.")
    if free < LITTLE_DISK:
        return Finding("Data folder", Level.WARN, found, "Free disk space, or move the data folder to a larger disk.")
    return Finding("Data folder", Level.OK, found)


def check_access(settings: Settings, _port: int) -> Finding:
    """Check that no other account of this machine can read the stored password hashes, images and names."""
    folder = settings.data_dir
    if not folder.is_dir():
        return Finding(
            "Access", Level.OK, f"{folder} is not made yet", "'pneumoscreen serve' makes it, for one account."
        )
    try:
        found = list(open_to_others(folder))
    except OSError as error:
        advice = "Run this as the account that PneumoScreen runs as, or give everything in the folder to it."
        return Finding("Access", Level.WARN, f"{error.filename} cannot be looked at: {error.strerror}", advice)
    if found:
        advice = f"Start 'pneumoscreen serve', which closes them, or run: chmod -R go= {folder}"
        return Finding("Access", Level.WARN, f"{found[0]} and {len(found) - 1} more are open to other accounts", advice)
    return Finding("Access", Level.OK, f"{folder} is open to its owner alone")


def check_files(_settings: Settings, _port: int) -> Finding:
    """Check that enough files may be open at once."""
    try:
        return Finding("Open files", Level.OK, f"{allow_files():,} at once")
    except TooFewFiles as error:
        return Finding("Open files", Level.FAIL, "too few at once", str(error))


def check_database(settings: Settings, _port: int) -> Finding:
    """Connect, and compare the schema with the newest migration."""
    from migrations.schema import current, newest

    file = settings.data_dir / "pneumoscreen.db"
    if settings.database_url is None and not file.exists():
        return Finding("Database", Level.OK, f"{file} is not made yet", "'pneumoscreen serve' makes it.")
    try:
        database = open_database(settings)
        try:
            present = current(database)
        finally:
            database.close()
    except (SQLAlchemyError, CommandFailed) as error:
        return _database_unusable(settings, error)
    remote = network_file_system(settings.data_dir) if settings.database_url is None else None
    if present == newest() and remote is not None:
        advice = "Run every part on this one machine, or use PostgreSQL: SQLite's log is not shared between machines."
        return Finding("Database", Level.WARN, f"SQLite on a network share ({remote}), at migration {present}", advice)
    if present == newest():
        return Finding("Database", Level.OK, f"reachable, at migration {present}")
    advice = "Migrate: start 'pneumoscreen serve' once, or run the migrate service."
    return Finding("Database", Level.FAIL, f"at migration {present or 'none'}, the newest is {newest()}", advice)


def _database_unusable(settings: Settings, error: Exception) -> Finding:
    if settings.database.startswith("sqlite"):
        found = f"cannot be read: {str(error).splitlines()[0]}"
        advice = "If the file is damaged, move it away with its -wal and -shm and run 'pneumoscreen restore BACKUP'."
        return Finding("Database", Level.FAIL, found, advice)
    advice = f"Start the database, or correct {PREFIX}DATABASE_URL."
    return Finding("Database", Level.FAIL, f"not reachable: {str(error).splitlines()[0]}", advice)


def check_redis(settings: Settings, _port: int) -> Finding:
    """Check the configured Redis; where none is set, find the program to embed."""
    if "redis_url" not in settings.model_fields_set:
        if is_served(settings.data_dir):
            return Finding("Redis", Level.OK, "run by the server on this folder")
        try:
            return Finding("Redis", Level.OK, f"{find_server()} will be started by 'serve'")
        except PneumoScreenError as error:
            return Finding("Redis", Level.FAIL, "no server program", str(error))
    try:
        heartbeats = Heartbeats(settings)
        try:
            return Finding("Redis", Level.OK, f"answers; {len(heartbeats.workers())} workers are ready")
        finally:
            heartbeats.close()
    except (BrokerAway, ValueError) as error:  # ValueError: the address is invalid
        advice = f"Start it, or correct {PREFIX}REDIS_URL. Images are kept and wait until it answers."
        return Finding("Redis", Level.FAIL, str(error), advice)


def check_store(settings: Settings, _port: int) -> Finding:
    """Check that an image could be stored, and that the store's keys are available."""
    if settings.store_url is None and not settings.store.exists():
        return Finding("Image store", Level.OK, f"{settings.store} is not made yet", "'pneumoscreen serve' makes it.")
    kept = "encrypted" if settings.store_key else "not encrypted"
    try:
        store = open_store(settings)
        store.check()
    except (StoreAway, StoreFull, StoreMisconfigured) as error:
        return Finding("Image store", Level.FAIL, str(error), f"Correct {PREFIX}STORE_..., or bring the store back.")
    return Finding("Image store", Level.OK, f"{store.files}, {kept}")


def check_mail(settings: Settings, _port: int) -> Finding:
    """Connect to the mail server as the sweep does, sign in where configured, and send nothing."""
    if settings.smtp_host is None:
        return Finding("E-mail", Level.OK, "off", f"{PREFIX}SMTP_HOST turns it on.")
    from worker.messages.smtp import RelayAway, connect

    place = f"{settings.smtp_host}:{settings.mail_port}"
    try:
        connect(settings).close()
    except RelayAway as away:
        advice = f"Start it, or correct {PREFIX}SMTP_.... E-mails wait for a day; nothing else does."
        return Finding("E-mail", Level.FAIL, str(away), advice)
    way = {"starttls": "STARTTLS", "implicit": "TLS", "none": "not encrypted"}[settings.smtp_tls]
    who = f"signed in as {settings.smtp_user}" if settings.smtp_user else "without signing in"
    if settings.smtp_tls == "none" and not is_loopback(settings.smtp_host):
        advice = f"Set {PREFIX}SMTP_TLS to starttls if the server offers it: what is sent can be read on the way."
        return Finding("E-mail", Level.WARN, f"{place} answers, {way}, {who}", advice)
    return Finding("E-mail", Level.OK, f"{place} answers, {way}, {who}")


def check_translations(_settings: Settings, _port: int) -> Finding:
    """Read the translations of the pages into every language that accounts can choose."""
    try:
        check_catalogs(TRANSLATIONS)
    except CatalogMissing as error:
        found, _, advice = str(error).partition(". ")
        return Finding("Translations", Level.FAIL, found, advice)
    return Finding("Translations", Level.OK, ", ".join(LANGUAGES))


def check_model(settings: Settings, _port: int) -> Finding:
    """Read the specs of the settings' model and of the default of new jobs, and compare their weights with them."""
    try:
        whole = [_verify(settings.models_dir / name) for name in dict.fromkeys((settings.model, _chosen(settings)))]
    except ModelUnavailable as error:
        return Finding("Model", Level.FAIL, str(error), _model_advice(settings))
    return Finding("Model", Level.OK, f"{' and '.join(spec.version for spec in whole)}, verified")


def _verify(folder: Path) -> ModelSpec:
    spec = read_spec(folder)
    verify_weights(folder, spec)
    return spec


def _chosen(settings: Settings) -> str:
    """Return the default model of new jobs; another check reports problems with the database."""
    try:
        database = open_database(settings)
        try:
            with database.read() as session:
                return default_model(session, settings.model)
        finally:
            database.close()
    except (SQLAlchemyError, CommandFailed):
        return settings.model


def _model_advice(settings: Settings) -> str:
    try:
        names = [spec.name for spec in list_models(settings.models_dir)]
    except ModelUnavailable:
        names = []
    there = f"There is: {', '.join(names)}" if names else f"There is none in {settings.models_dir}"
    return f"Restore the folder, or name another in {PREFIX}MODEL. {there}."


def check_backend(settings: Settings, _port: int) -> Finding:
    """Check that a runtime for networks is installed, without importing it."""
    wanted = _BACKENDS[settings.backend]
    present = [name for name in wanted if importlib.util.find_spec(name)]
    if not present or not importlib.util.find_spec("keras"):
        target = "make setup-training" if settings.backend == "tensorflow" else "make setup"
        advice = f"Run '{target}'. A machine that only serves pages needs no backend."
        return Finding("Backend", Level.FAIL, f"{' or '.join(wanted)} with keras is not installed", advice)
    return Finding("Backend", Level.OK, f"{', '.join(present)} (setting: {settings.backend})")


def check_port(_settings: Settings, port: int) -> Finding:
    """Check that the port is free to listen on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            advice = f"If PneumoScreen runs there already, all is well; else choose another: make run PORT={port + 1}"
            return Finding("Port", Level.WARN, f"{port} cannot be used: {error.strerror}", advice)
    return Finding("Port", Level.OK, f"{port} is free")


CHECKS: Final[Sequence[Check]] = (
    check_python, check_data_folder, check_access, check_files, check_database, check_redis, check_store, check_mail,
    check_translations, check_model, check_backend, check_port,
)  # fmt: skip


def _show(findings: Sequence[Finding]) -> None:
    styles = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}
    table = Table("check", "")
    for name in ("found", "what to do"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        level = Text(finding.level, style=styles[finding.level])
        table.add_row(finding.subject, level, Text(finding.found), Text(finding.advice))
    make_console().print(table)
