"""Printing by every command: a console, text free of control characters, and the note under every result."""

from typing import Final

from rich.console import Console

from shared.letters import make_shown

DISCLAIMER: Final = "Decision support, not a diagnosis."

_PLAIN_WIDTH: Final = 160


def make_console() -> Console:
    """Return a console on standard output; a pipe has no width, so lines there are long enough for file names."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


def printable(text: str) -> str:
    """Replace characters that control a terminal."""
    return make_shown(text)
