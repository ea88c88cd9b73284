"""The server's address and its API token."""

import ipaddress
from pathlib import Path
from typing import Final

import httpx

from cli.data_folder import TOKEN_FILE, URL_FILE
from cli.errors import CommandFailed

DEFAULT_URL: Final = "http://127.0.0.1:8000"


def read_url(url: str) -> str:
    """Check a URL and return it without a trailing slash."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise CommandFailed(f"--url is not an address: {error}. Received: '{url}'") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise CommandFailed(f"--url starts with http:// or https:// and names a host. Received: '{url}'")
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Tell whether a URL is on this machine."""
    host = httpx.URL(url).host
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_token(url: str, token: str | None, data_dir: Path) -> str:
    """Return the given token, or for this machine's own server the one that `serve` wrote into its data folder."""
    file = data_dir / TOKEN_FILE
    if token is None and is_loopback(url):
        token = _read(file)
    if token is None:
        raise CommandFailed(
            "A token is needed. Make one with 'pneumoscreen tokens create USER' and give it as --token or in "
            f"PNEUMOSCREEN_TOKEN. For a server on this machine the file {file} is read, if 'serve' has written it."
        )
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise CommandFailed("The token is empty or has characters that no token has. Copy it again.")
    return token


def served_url(data_dir: Path) -> str | None:
    """Return the address that `serve` gave its server on a data folder; None where none is running."""
    return (_read(data_dir / URL_FILE) or "").strip() or None


def _read(file: Path) -> str | None:
    try:
        return file.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"The file {file} could not be read: {error}") from error
