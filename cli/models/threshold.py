"""`pneumoscreen threshold`: put another threshold in force, on record, or say which were."""

from pathlib import Path

import click
from rich.table import Table

from cli.actor import operating_user
from cli.database import transaction
from cli.errors import CommandFailed
from cli.models.models import MODELS_DIR
from cli.options import DATA_DIR
from cli.report import make_console
from shared.audit.record import Action, record
from shared.models.folder import SPEC_FILE, find_model, read_spec
from shared.models.spec import ModelSpec


@click.command()
@click.argument("model")
@click.argument("value", metavar="[VALUE]", required=False, type=click.FloatRange(0, 1, min_open=True, max_open=True))
@click.option("--undo", "is_undo", is_flag=True, help="Put back what was in force before.")
@MODELS_DIR
@DATA_DIR
def threshold(model: str, value: float | None, is_undo: bool, models_dir: Path, data_dir: Path | None) -> None:
    """Put the threshold VALUE, 0 to 1, of MODEL in force; without VALUE, list those that were.

    The model's page shows what a threshold would do. The change stands in the model's spec.json beside those before it,
    and in the audit trail of the data folder. Workers take it up when PneumoScreen is restarted. Results keep the label
    that they were given; an X-ray that is sent again is answered anew.
    """
    place = find_model(models_dir, model)
    spec = read_spec(place)
    if value is not None and is_undo:
        raise click.UsageError("Give a VALUE or --undo, not both.")
    if value is None and not is_undo:
        _show(spec)
        return
    if value == spec.threshold:
        raise CommandFailed(f"{value:g} is in force already. Nothing was changed.")
    from evaluation.calibrate import choose_threshold, undo

    fresh = undo(spec) if value is None else choose_threshold(spec, value)
    _put_in_force(place, spec, fresh, data_dir)
    click.echo(
        f"The threshold of '{model}' is {fresh.threshold:g}, it was {spec.threshold:g}. Restart PneumoScreen. Take it "
        "back with --undo."
    )


def _show(spec: ModelSpec) -> None:
    table = Table(title=f"Thresholds of {spec.name}, the one in force last", title_justify="left")
    table.add_column("threshold", justify="right")
    table.add_column("rule")
    for before in spec.former:
        table.add_row(f"{before.threshold:g}", before.threshold_rule)
    table.add_row(f"{spec.threshold:g}", spec.threshold_rule)
    make_console().print(table)


def _put_in_force(place: Path, spec: ModelSpec, fresh: ModelSpec, data_dir: Path | None) -> None:
    """Write the spec and the record of it, both or neither."""
    from evaluation.calibrate import write_spec

    detail = {"model": fresh.version, "threshold": f"{fresh.threshold:g}", "before": f"{spec.threshold:g}"}
    try:
        with transaction(data_dir) as session:
            record(session, Action.THRESHOLD_CHANGED, user_id=None, actor=operating_user(), detail=detail)
            write_spec(place, fresh)
    except OSError as error:
        raise CommandFailed(f"{place / SPEC_FILE} cannot be written: {error.strerror}. Nothing was changed.") from error
    except BaseException:
        # The record was not kept, as where the database went away at its commit.
        if read_spec(place) != spec:
            write_spec(place, spec)
        raise
