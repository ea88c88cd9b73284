"""The small networks that come with the product: read whole, named where they are missing or another's."""

from pathlib import Path

import numpy as np
import pytest

from shared.errors import ModelUnavailable
from shared.images.weights_file import fingerprint, read_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.savez(tmp_path / "one-1.npz", first=np.arange(6, dtype=np.float16).reshape(2, 3), bias=np.ones(3))
    return tmp_path


@pytest.mark.parametrize("is_named", [True, False])
def test_arrays_are_read_by_name_in_single_precision(folder: Path, is_named: bool) -> None:
    found = read_weights(folder, "one-1", fingerprint(folder, "one-1") if is_named else "", "gate")
    assert {name: (array.shape, array.dtype) for name, array in found.items()} == {
        "first": ((2, 3), np.float32),
        "bias": ((3,), np.float32),
    }


def test_a_version_that_is_not_there_is_named_with_those_that_are(folder: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"no gate 'two' here\. There is: one-1\."):
        read_weights(folder, "two", "", "gate")


def test_another_file_than_the_specs_is_refused(folder: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"The gate 'one-1' is not the one .* Restore one-1\.npz"):
        read_weights(folder, "one-1", "0" * 64, "gate")


def test_a_file_of_objects_is_not_opened(folder: Path) -> None:
    np.savez(folder / "bad.npz", first=np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        read_weights(folder, "bad", "", "gate")
