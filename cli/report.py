"""What every command prints to: a console, text that no terminal obeys, and the sentence under every result."""

from typing import Final

from rich.console import Console

from shared.letters import make_shown

DISCLAIMER: Final = "Decision support, not a diagnosis."

_PLAIN_WIDTH: Final = 160


def make_console() -> Console:
    """Write to standard output; a pipe has no width, so lines there are long enough for file names."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


def printable(text: str) -> str:
    """Replace what a terminal would obey instead of show."""
    return make_shown(text)
