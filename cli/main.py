"""The command `pneumoscreen`: a table of subcommands, each imported when it is called."""

import importlib
from typing import Any, Final

import click

from cli.dependencies import missing
from cli.errors import CommandFailed
from shared.errors import PneumoScreenError

# Listing the commands must not import them: `train` alone would take seconds.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "serve": ("cli.serving.serve:serve", "Start everything on this machine and serve the pages."),
    "screen": ("cli.client.screen:screen", "Screen images through a server and write the results."),
    "demo": ("cli.serving.demo:demo", "Start a temporary server, screen sample images, stop."),
    "users": ("cli.people.users:users", "List, add and change accounts."),
    "tokens": ("cli.people.tokens:tokens", "Make, list and revoke API tokens."),
    "audit": ("cli.keeping.audit:audit", "Read, verify and export the audit trail."),
    "store": ("cli.keeping.store:store", "Make a key for the image store, encrypt it."),
    "purge": ("cli.keeping.purge:purge", "Remove old jobs, with images and results that only they use."),
    "backup": ("cli.keeping.backup:backup", "Copy the database and the images to a folder."),
    "restore": ("cli.keeping.restore:restore", "Restore a backup."),
    "doctor": ("cli.serving.doctor:doctor", "Check that this machine can run PneumoScreen."),
    "models": ("cli.models.models:models", "List the models and check their files."),
    "evaluate": ("cli.models.evaluate:evaluate", "Measure a model on labelled images, or on reviews."),
    "estimate": ("cli.models.estimate:estimate", "Estimate how well a model does at other hospitals."),
    "compare": ("cli.models.compare:compare", "Measure all models side by side."),
    "calibrate": ("cli.models.calibrate:calibrate", "Fit a model's threshold to a site's own images."),
    "adapt": ("cli.models.adapt:adapt", "Choose a threshold for a share of a site's images."),
    "threshold": ("cli.models.threshold:threshold", "Set a model's threshold, or list those so far."),
    "ensemble": ("cli.models.ensemble:ensemble", "Join models into one that averages them."),
    "train": ("cli.models.train:train", "Train a model."),
    "migrate": ("cli.serving.programs:migrate", "Bring the database to the newest schema."),
    "web": ("cli.serving.programs:web", "One part alone: the pages and the API."),
    "worker": ("cli.serving.programs:worker", "One part alone: the workers of this machine."),
    "sweep": ("cli.serving.programs:sweep", "One part alone: free images whose worker was lost."),
}


class LazyGroup(click.Group):
    """Find commands in COMMANDS and import one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the names of the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # likewise
        """Import the module of one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise CommandFailed(f"'{cmd_name}' needs {missing(error.name)}") from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # likewise
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error raised on purpose becomes one sentence and exit status 2."""
        try:
            return super().invoke(ctx)
        except PneumoScreenError as error:
            raise CommandFailed(str(error)) from error
        except ModuleNotFoundError as error:
            raise CommandFailed(f"This needs {missing(error.name)}") from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pneumoscreen", prog_name="pneumoscreen")
def main() -> None:
    """Screen chest X-rays for pneumonia in bulk. Decision support, not a diagnosis."""


if __name__ == "__main__":
    main(prog_name="pneumoscreen")
