"""`pneumoscreen ensemble`: a model folder that averages others."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from pydantic import ValidationError

from cli.errors import CommandFailed
from cli.models.models import MODELS_DIR
from cli.models.rewriting import attempt, whole_folder
from shared.models.folder import (
    SPEC_FILE,
    common_classes,
    ensemble_sha256,
    find_model,
    name_faults,
    read_members,
    read_spec,
    verify_weights,
)
from shared.models.spec import Member, ModelSpec


@click.command()
@click.argument("name")
@click.argument("members", metavar="MEMBER[=WEIGHT]...", nargs=-1, required=True)
@MODELS_DIR
def ensemble(name: str, members: Sequence[str], models_dir: Path) -> None:
    """Write the model NAME, which answers with the weighted mean of its members' calibrated probabilities.

    The members must be in the same models folder and use the same image size and framing. A WEIGHT is above 0, by
    default 1. The new model's threshold is 0.5 until `pneumoscreen calibrate` fits it.
    """
    folder = models_dir / name
    if folder.exists():
        raise CommandFailed(f"{folder} is there already. Choose another name.")
    spec = _describe(name, [_member(models_dir, text) for text in members])
    read_members(folder, spec)
    verify_weights(folder, spec)
    attempt(lambda: _write(folder, spec), folder)
    click.echo(f"Ensemble {spec.version} written to {folder}. Fit its threshold before you use it:")
    click.echo(f"  pneumoscreen calibrate DIR --model {name} --in-place")


def _write(folder: Path, spec: ModelSpec) -> None:
    with whole_folder(folder) as fresh:
        fresh.mkdir()
        (fresh / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n")


def _member(models_dir: Path, text: str) -> tuple[Member, ModelSpec]:
    """Parse `NAME` or `NAME=WEIGHT`; raises CommandFailed where the weight is invalid."""
    name, _, weight = text.partition("=")
    spec = read_spec(find_model(models_dir, name))
    try:
        numbers = {"weight": weight or 1, "temperature": spec.temperature, "bias": spec.bias}
        return Member.model_validate({"name": name, **numbers}), spec
    except ValidationError as error:
        raise CommandFailed(f"'{text}' is no member ({name_faults(error)}). Write NAME or NAME=WEIGHT.") from error


def _describe(name: str, parts: Sequence[tuple[Member, ModelSpec]]) -> ModelSpec:
    """Return the spec of an ensemble; raises CommandFailed where the name is invalid or the members do not match."""
    members, specs = zip(*parts, strict=True)
    try:
        return ModelSpec(
            name=name,
            description=f"Mean of the calibrated probabilities of {', '.join(member.name for member in members)}",
            input_size=specs[0].input_size,
            resize=specs[0].resize,
            framing=specs[0].framing,
            gate=next((spec.gate for spec in specs if spec.gate is not None), None),
            classes=common_classes(specs),
            temperature=1.0,
            threshold=0.5,
            threshold_rule="Not chosen yet",
            members=members,
            intended_population=_joined(spec.intended_population for spec in specs),
            training_data=_joined(spec.training_data for spec in specs),
            licence=_joined(spec.licence for spec in specs),
            sha256=ensemble_sha256(members, specs),
            parameters=sum(spec.parameters for spec in specs),
            commit=_joined(spec.commit for spec in specs),
            trained_at=max(spec.trained_at for spec in specs),
        )
    except ValidationError as error:
        raise CommandFailed(f"There can be no such ensemble ({name_faults(error)}).") from error


def _joined(texts: Iterable[str]) -> str:
    """Join texts, each once, in order."""
    return "; ".join(dict.fromkeys(texts))
