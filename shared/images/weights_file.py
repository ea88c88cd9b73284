"""Read the small networks that ship with the product: arrays in one file per version, verified by sha256."""

import hashlib
import io
from pathlib import Path

import numpy as np

from shared.errors import ModelUnavailable


def read_weights(folder: Path, version: str, sha256: str, kind: str) -> dict[str, np.ndarray]:
    """Read the arrays of a version, float32, by name; `sha256` is the file's hash in a spec, unchecked if empty.

    `kind` names the file's content in messages. Raises ModelUnavailable where there is no such version or its file
    differs.
    """
    try:
        data = _file(folder, version).read_bytes()
    except OSError as error:
        known = ", ".join(sorted(path.stem for path in folder.glob("*.npz")))
        raise ModelUnavailable(
            f"There is no {kind} '{version}' here. There is: {known or 'none'}. Install the release that has it."
        ) from error
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise ModelUnavailable(f"The {kind} '{version}' is not the one that the spec names. Restore {version}.npz.")
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


def fingerprint(folder: Path, version: str) -> str:
    """Return the sha256 of a version's file, for the spec of a model."""
    return hashlib.sha256(_file(folder, version).read_bytes()).hexdigest()


def _file(folder: Path, version: str) -> Path:
    return folder / f"{version}.npz"
