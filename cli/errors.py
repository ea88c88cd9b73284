"""The error with which a command ends: one sentence for the user, no traceback."""

import click


class CommandFailed(click.ClickException):
    """Stop a command with a message and exit status 2."""

    exit_code = 2
