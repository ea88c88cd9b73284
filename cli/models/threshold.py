"""`pneumoscreen threshold`: put another threshold in force, with an audit record, or list those before."""

from pathlib import Path

import click
from rich.table import Table
from sqlalchemy.orm import Session

from cli.actor import operating_user
from cli.database import transact, transaction
from cli.models.models import MODELS_DIR
from cli.options import DATA_DIR, NumberWithin
from cli.report import make_console
from shared.activations.activate import Actor, put_back_threshold, put_threshold
from shared.activations.in_force import spec_in_force, threshold_history
from shared.models.folder import find_model, read_spec
from shared.models.spec import ModelSpec


@click.command()
@click.argument("model")
@click.argument("value", metavar="[VALUE]", required=False, type=NumberWithin(0, 1, min_open=True, max_open=True))
@click.option("--undo", "is_undo", is_flag=True, help="Restore the previous threshold.")
@MODELS_DIR
@DATA_DIR
def threshold(model: str, value: float | None, is_undo: bool, models_dir: Path, data_dir: Path | None) -> None:
    """Set the threshold of MODEL to VALUE, 0 to 1; without VALUE, list the thresholds so far.

    The model's page shows the effect of a threshold, and administrators can change it there. The change is stored in
    the database with the earlier ones, and in the audit trail; workers use it from the next images on. Results keep
    their labels; an X-ray that is sent again gets a new result.
    """
    spec = read_spec(find_model(models_dir, model))
    if value is not None and is_undo:
        raise click.UsageError("Give a VALUE or --undo, not both.")
    if value is None and not is_undo:
        with transaction(data_dir) as session:
            _show(session, spec)
        return
    before, fresh = transact(data_dir, lambda session: _put(session, spec, value))
    click.echo(
        f"The threshold of '{model}' is {fresh.threshold:g}, it was {before.threshold:g}. Take it back with --undo."
    )


def _put(session: Session, spec: ModelSpec, value: float | None) -> tuple[ModelSpec, ModelSpec]:
    """Put a threshold in force, the previous one where None is given; return the spec before and after."""
    before, actor = spec_in_force(session, spec), Actor(operating_user())
    if value is None:
        return before, put_back_threshold(session, actor, spec)
    return before, put_threshold(session, actor, spec, value)


def _show(session: Session, spec: ModelSpec) -> None:
    table = Table(title=f"Thresholds of {spec.name}, the one in force last", title_justify="left")
    table.add_column("threshold", justify="right")
    table.add_column("rule")
    for before in spec.former:
        table.add_row(f"{before.threshold:g}", before.threshold_rule)
    table.add_row(f"{spec.threshold:g}", spec.threshold_rule)
    for row in threshold_history(session, spec).rows:
        chosen = spec.threshold if row.threshold is None else row.threshold
        table.add_row(f"{chosen:g}", f"Chosen by hand: {row.actor}, {row.created_at:%Y-%m-%d}")
    make_console().print(table)
