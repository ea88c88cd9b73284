"""Read files of initial weights: arrays by name, in .npz files."""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from training.errors import WeightsUnusable


@dataclass(frozen=True)
class StoredArrays:
    """What a file of weights holds."""

    file_name: str
    by_name: dict[str, np.ndarray]
    """float32."""
    expected: str
    """Which file to use where this one does not fit."""

    def assign(self, layers: Mapping[str, keras.Layer]) -> None:
        """Assign the array `NAME__WEIGHT`, such as `block1_conv1__kernel`, to each weight of each layer.

        Raises WeightsUnusable, and changes nothing, where an array is missing, has another shape or is for no layer.
        """
        wanted = {f"{name}__{weight.name}": weight for name, layer in layers.items() for weight in layer.weights}
        for name, weight in wanted.items():
            if name not in self.by_name:
                raise WeightsUnusable(f"{self.file_name} holds no {name}. Give {self.expected}.")
            needed, received = tuple(weight.shape), self.by_name[name].shape
            if received != needed:
                raise WeightsUnusable(
                    f"{self.file_name}: {name} has to be {needed}, received {received}. Give {self.expected}."
                )
        if extra := self.by_name.keys() - wanted.keys():
            raise WeightsUnusable(
                f"{self.file_name} holds {min(extra)}, for which there is no layer. Give {self.expected}."
            )
        for name, weight in wanted.items():
            weight.assign(self.by_name[name])


def read_arrays(file: Path, expected: str) -> StoredArrays:
    """Read an .npz file.

    Raises WeightsUnusable where the file cannot be read; `expected` says which one to give.
    """
    if not file.is_file():
        raise WeightsUnusable(f"There is no file {file}. Give {expected}.")
    try:
        with np.load(file) as stored:
            by_name = {name: stored[name].astype(np.float32) for name in stored}
    # TypeError: an .npy file, which holds one array and is no archive. RuntimeError: an encrypted archive.
    except (OSError, ValueError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise WeightsUnusable(f"{file.name} cannot be loaded ({type(error).__name__}). Give {expected}.") from error
    return StoredArrays(file.name, by_name, expected)
