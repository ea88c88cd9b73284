"""The files that `serve` keeps in its data folder for the other commands."""

from typing import Final

TOKEN_FILE: Final = "token"  # noqa: S105  # the name of a file, not a secret
"""An API token of this computer's own, for `screen`."""
URL_FILE: Final = "url"
"""The address of the server that runs on the folder."""
LOCK_FILE: Final = "lock"
"""Held by the server that runs on the folder."""
