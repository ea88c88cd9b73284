"""Find model folders, read their specs and verify their weights.

`models/<name>` holds `spec.json` and `model.keras`; an ensemble's spec names its members, whose folders are beside its
own.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from shared.errors import ModelUnavailable
from shared.models.keras_code import refuse_code
from shared.models.spec import ImageClass, Member, ModelSpec

SPEC_FILE = "spec.json"
WEIGHTS_FILE = "model.keras"


def read_spec(folder: Path) -> ModelSpec:
    """Read a model folder's spec.

    Raises ModelUnavailable where it is missing or invalid.
    """
    try:
        return ModelSpec.model_validate_json((folder / SPEC_FILE).read_bytes())
    except FileNotFoundError as error:
        raise ModelUnavailable(
            "Model '%(name)s' has no %(file)s in %(folder)s.", name=folder.name, file=SPEC_FILE, folder=folder
        ) from error
    except OSError as error:
        raise ModelUnavailable(
            "Model '%(name)s': %(file)s cannot be read (%(problem)s). Restore the model folder.",
            name=folder.name,
            file=folder / SPEC_FILE,
            problem=error.strerror,
        ) from error
    except ValidationError as error:
        raise ModelUnavailable(
            "Model '%(name)s' has a damaged %(file)s (%(problem)s). Restore the model folder.",
            name=folder.name,
            file=SPEC_FILE,
            problem=name_faults(error),
        ) from error


def read_named(models_dir: Path, name: str) -> ModelSpec:
    """Read the spec of the model that jobs ask for by this name.

    Raises ModelUnavailable as `read_spec` does, and where the folder holds a model of another name, under which its
    predictions would be stored.
    """
    spec = read_spec(models_dir / name)
    if spec.name != name:
        raise ModelUnavailable(
            "The folder %(folder)s holds the model '%(held)s'. Rename the folder to '%(held)s', or set the name in "
            "%(file)s to '%(name)s'.",
            folder=models_dir / name,
            held=spec.name,
            file=SPEC_FILE,
            name=name,
        )
    return spec


def find_spec(models_dir: Path, name: str) -> ModelSpec | None:
    """Return the spec of the model of this name; None where it cannot be read."""
    try:
        spec = read_spec(models_dir / name)
    except ModelUnavailable:
        return None
    return spec if spec.name == name else None


def find_problem(models_dir: Path, name: str) -> ModelUnavailable | None:
    """Return why the model of this name cannot screen; None where it can."""
    try:
        verify_weights(models_dir / name, read_named(models_dir, name))
    except ModelUnavailable as error:
        return error
    return None


def name_faults(error: ValidationError) -> str:
    """Say in one line which fields of a spec are invalid and why."""
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'spec'}: {fault['msg']}" for fault in error.errors())


def find_model(models_dir: Path, name: str) -> Path:
    """Return the folder of the model of this name.

    Raises ModelUnavailable with the available names.
    """
    names = [path.name for path in model_folders(models_dir)]
    if name not in names:
        raise ModelUnavailable(
            "There is no model '%(name)s' in %(folder)s. There is: %(names)s.",
            name=name,
            folder=models_dir,
            names=", ".join(names) or "-",
        )
    return models_dir / name


def model_folders(models_dir: Path) -> list[Path]:
    """List the folders that hold a spec, by name."""
    return sorted(path.parent for path in models_dir.glob(f"*/{SPEC_FILE}"))


def list_models(folder: Path) -> list[ModelSpec]:
    """Read the spec of every model folder, by name; folders without a spec are skipped."""
    return [read_spec(path) for path in model_folders(folder)]


def read_members(folder: Path, spec: ModelSpec) -> list[ModelSpec]:
    """Read the specs of an ensemble's members, beside its own folder; none for a single network.

    Raises ModelUnavailable where one is missing or they do not fit together.
    """
    try:
        members = [read_spec(folder.parent / member.name) for member in spec.members]
    except ModelUnavailable as error:
        raise ModelUnavailable(
            "Ensemble '%(name)s' lacks a member. %(problem)s", name=spec.name, problem=error
        ) from error
    for member in members:
        _refuse_misfit(spec, member)
    if members and set(spec.classes) != set(common_classes(members)):
        raise ModelUnavailable(
            "Ensemble '%(name)s' has the classes %(classes)s; its members have in common: %(common)s.",
            name=spec.name,
            classes=", ".join(spec.classes),
            common=", ".join(common_classes(members)),
        )
    return members


def _refuse_misfit(spec: ModelSpec, member: ModelSpec) -> None:
    if member.members:
        raise ModelUnavailable(
            "The member '%(member)s' of ensemble '%(name)s' is an ensemble itself.", member=member.name, name=spec.name
        )
    if (member.input_size, member.resize) != (spec.input_size, spec.resize):
        # Images are prepared once, the same for all members.
        raise ModelUnavailable(
            "Ensemble '%(name)s' takes images of %(size)s pixels (%(resize)s), its member '%(member)s' of "
            "%(member_size)s (%(member_resize)s).",
            name=spec.name,
            size=spec.input_size,
            resize=spec.resize,
            member=member.name,
            member_size=member.input_size,
            member_resize=member.resize,
        )
    if member.framing != spec.framing:
        raise ModelUnavailable(
            "The member '%(member)s' of ensemble '%(name)s' frames the lungs in another way, or not at all. All "
            "members see the same image.",
            name=spec.name,
            member=member.name,
        )


def common_classes(specs: Sequence[ModelSpec]) -> tuple[ImageClass, ...]:
    """Return the classes common to all networks; normal and pneumonia where their causes differ."""
    if len({frozenset(spec.classes) for spec in specs}) == 1:
        return specs[0].classes
    return (ImageClass.NORMAL, ImageClass.PNEUMONIA)


def ensemble_sha256(members: Sequence[Member], specs: Sequence[ModelSpec]) -> str:
    """Return an ensemble's identity: a digest of each member's name, weights, share and calibration, in order."""
    lines = [
        f"{member.name} {spec.sha256} {member.weight!r} {member.temperature!r} {member.bias!r}\n"
        for member, spec in zip(members, specs, strict=True)
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def verify_weights(folder: Path, spec: ModelSpec) -> Path:
    """Verify the weights by the spec's sha256 and return their path; for an ensemble all members', and its folder.

    Loading a model file can execute code (CVE-2025-1550 and its successors), so nothing opens it before this. Raises
    ModelUnavailable where a file is missing, differs, or contains more than layers that compute.
    """
    if spec.members:
        specs = read_members(folder, spec)
        for member, own in zip(spec.members, specs, strict=True):
            verify_weights(folder.parent / member.name, own)
        _compare(spec, ensemble_sha256(spec.members, specs))
        return folder
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise ModelUnavailable(
            "Model '%(name)s' has no %(file)s in %(folder)s.", name=spec.name, file=WEIGHTS_FILE, folder=folder
        )
    stat = path.stat()
    _compare(spec, _sha256(path, stat.st_size, stat.st_mtime_ns))
    refuse_code(spec.name, path, spec.sha256)
    return path


def _compare(spec: ModelSpec, received: str) -> None:
    if received == spec.sha256:
        return
    values = {"name": spec.name, "spec": SPEC_FILE, "expected": spec.sha256, "received": received}
    if spec.members:
        raise ModelUnavailable(
            "Model '%(name)s': its members are not those that %(spec)s names. Expected sha256 %(expected)s, received "
            "%(received)s. Restore the model folder.",
            **values,
        )
    raise ModelUnavailable(
        "Model '%(name)s': %(file)s is not the file that %(spec)s names. Expected sha256 %(expected)s, received "
        "%(received)s. Restore the model folder.",
        file=WEIGHTS_FILE,
        **values,
    )


@lru_cache(maxsize=16)
def _sha256(path: Path, _size: int, _modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
