"""What a command says when it cannot go on: one sentence for the user, no traceback."""

import click


class CommandFailed(click.ClickException):
    """Stop a command with a message and exit status 2."""

    exit_code = 2
