"""Rewrite a model's spec: in place, as a new model, or back to the one before."""

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from cli.errors import CommandFailed
from shared.models.folder import SPEC_FILE, read_spec
from shared.models.metrics import CARD_FILE, METRICS_FILE, read_metrics
from shared.models.spec import NAME_PATTERN, ModelSpec

NUMBERS: Final = ("temperature", "bias", "threshold")
_NOTE: Final = "> **Calibrated anew.**"
_OPTIONS: Final = (
    click.option(
        "--out", type=click.Path(path_type=Path), help="Write a new model folder here; its name is the new model's."
    ),
    click.option("--in-place", is_flag=True, help="Change the model itself. --undo takes it back."),
    click.option(
        "--dry-run", is_flag=True, help="Only show the figures; this is the default without --out and --in-place."
    ),
    click.option("--undo", is_flag=True, help="Restore the previous calibration; needs no images."),
)

Command = TypeVar("Command", bound=Callable[..., Any])


def keeping_options(command: Command) -> Command:
    """Add the options for where to write a spec, which `keep`, `check_keeping` and `undo_last` take."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_keeping(place: Path, *, out: Path | None, in_place: bool) -> None:
    """Refuse --out together with --in-place, and an unusable --out, before any image is read."""
    if in_place and out is not None:
        raise click.UsageError("Choose --out or --in-place.")
    if out is not None:
        _check_target(out, place, read_spec(place))


def keep(place: Path, fresh: ModelSpec, *, out: Path | None, in_place: bool, dry_run: bool) -> None:
    """Write the spec where requested, and report it; write nothing where neither option was given."""
    if dry_run or not (in_place or out):
        click.echo("Nothing was changed. Keep it with --in-place, or as a model of its own with --out FOLDER.")
    elif out is not None:
        attempt(lambda: _copy(place, out, fresh), out)
        click.echo(f"Model '{out.name}' written to {out}.")
    else:
        from evaluation.calibrate import write_spec

        with _alone(place):
            _refuse_overtaken(place, fresh)
            attempt(lambda: write_spec(place, fresh), place)
        click.echo(
            f"{place / SPEC_FILE} changed. Restart PneumoScreen. Take it back with --undo. A threshold that was chosen "
            "in a database was of the calibration before and is no longer in force."
        )


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Lock a model folder against other commands that change it."""
    handle = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _refuse_overtaken(place: Path, fresh: ModelSpec) -> None:
    """Raise CommandFailed where the folder's spec has changed since `fresh` was derived from it."""
    from evaluation.calibrate import undo

    if read_spec(place) != undo(fresh):
        raise CommandFailed(
            f"The calibration of '{fresh.name}' was changed meanwhile, by another command. Nothing was changed by this "
            "one. Run the command again."
        )


def undo_last(place: Path, *, dry_run: bool, has_images: bool, out: Path | None) -> None:
    """Restore the calibration before the current one; refuse images and --out, which would have no effect."""
    if has_images or out is not None:
        raise click.UsageError("--undo takes neither images nor --out: it changes the model itself.")
    from evaluation.calibrate import undo, write_spec

    with _alone(place):
        spec = read_spec(place)
        restored = undo(spec)
        numbers = ", ".join(f"{name} {getattr(spec, name):g} -> {getattr(restored, name):g}" for name in NUMBERS)
        if dry_run:
            click.echo(f"Would change {place / SPEC_FILE}: {numbers}.")
            return
        attempt(lambda: write_spec(place, restored), place)
    click.echo(
        f"{place / SPEC_FILE} changed: {numbers}. Restart PneumoScreen. A threshold that was chosen in a database for "
        "this calibration is in force again."
    )


def _check_target(out: Path, place: Path, spec: ModelSpec) -> None:
    """Raise CommandFailed where `out` cannot become a model folder."""
    if out.exists():
        raise CommandFailed(f"{out} is there already. Name a folder that is not.")
    if not re.fullmatch(NAME_PATTERN, out.name):
        raise CommandFailed(f"'{out.name}' is no name for a model. Use small letters, digits, '.' and '-'.")
    if spec.members and out.resolve().parent != place.resolve().parent:
        raise CommandFailed(f"'{spec.name}' is an ensemble and has to stay beside its members, in {place.parent}.")


def _copy(place: Path, out: Path, spec: ModelSpec) -> None:
    """Write a model folder with the same weights under a new name, atomically."""
    from evaluation.calibrate import write_spec

    with whole_folder(out) as fresh:
        shutil.copytree(place, fresh, ignore=shutil.ignore_patterns(".*"))  # leftovers of a killed command
        write_spec(fresh, spec.model_copy(update={"name": out.name}))
        _note_on_card(fresh / CARD_FILE, spec)
        _note_on_figures(fresh, spec)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a path to make a folder at, and move it to `target` when it is complete; an error leaves nothing.

    Raises OSError where it cannot be moved, as where the target folder exists.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unfinished-") as scratch:
        fresh = Path(scratch) / target.name
        yield fresh
        fresh.rename(target)


def _note_on_card(card: Path, spec: ModelSpec) -> None:
    """State at the top of a copied card, if any, whose figures it holds; replace an older such line."""
    if not card.is_file():
        return
    note = f"{_NOTE} The figures below {_say_of_which(spec)}"
    # A third party's card may hold bytes that are not UTF-8: they are preserved.
    text = card.read_text(encoding="utf-8", errors="surrogateescape")
    lines = [line for line in text.split("\n") if not line.startswith(_NOTE)]
    place = 1 if lines[0].startswith("# ") else 0
    noted = "\n".join([*lines[:place], "", note, "", *lines[place:]])
    card.write_text(noted, encoding="utf-8", errors="surrogateescape")


def _note_on_figures(folder: Path, spec: ModelSpec) -> None:
    """State first in a copied metrics.json, if any, with which calibration its figures were measured."""
    figures = read_metrics(folder)
    if not figures:
        return
    noted = {
        "calibrated_anew": {
            "note": f"The figures of this file {_say_of_which(spec)}",
            "measured_with": {number: getattr(spec.former[0], number) for number in NUMBERS},
        }
    }
    (folder / METRICS_FILE).write_text(json.dumps(noted | {**figures, **noted}, indent=2) + "\n", encoding="utf-8")


def _say_of_which(spec: ModelSpec) -> str:
    return (
        f"are of the calibration of the training, with the threshold {spec.former[0].threshold:g}. This copy was "
        f"written with the threshold {spec.threshold:g}."
    )


def attempt(write: Callable[[], object], target: Path) -> None:
    """Call `write`; raise CommandFailed where `target` cannot be written."""
    try:
        write()
    except OSError as error:
        raise CommandFailed(f"{target} cannot be written: {error.strerror}. Nothing was changed.") from error
