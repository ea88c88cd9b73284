"""Check that a Keras file holds only layers that compute, and nothing that runs code or reads arbitrary files.

Keras's `safe_mode` has been bypassed repeatedly (CVE-2025-1550, -8747, -9906, -12058), so the file's configuration is
checked here first, as plain JSON, before Keras sees the file.
"""

import json
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from shared.errors import ModelUnavailable

_CONFIG: Final = "config.json"
_MOST_BYTES: Final = 16 * 1024 * 1024  # Inception v3's, the largest of ours, has 0.2 MB
_MODULES: Final = {
    "keras.layers", "keras.initializers", "keras.regularizers", "keras.constraints", "keras.activations",
    "keras.models", "keras.dtype_policies", "keras.src.models.functional", "keras.src.models.sequential",
}  # fmt: skip
_OF_KERAS_ITSELF: Final = {"DTypePolicy", "Functional", "Sequential"}
# These call Python, wrap another framework's code, or open a path given in the file.
_RUN_OR_READ: Final = {
    "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "StringLookup", "IntegerLookup",
    "TextVectorization",
}  # fmt: skip
_MARKS: Final = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__slice__", "__ellipsis__"}
"""How Keras encodes values that JSON lacks (keras/src/saving/serialization_lib.py)."""


@lru_cache(maxsize=16)
def refuse_code(name: str, weights: Path, _sha256: str) -> None:
    """Raise ModelUnavailable where a model's file contains more than layers that compute.

    A file in another format is left to Keras, which does not open it. Results are cached by digest: every page asks
    whether the model can screen, and reading took a tenth of the page's time.
    """
    if not zipfile.is_zipfile(weights):
        return
    for module, kind in _objects(_read_config(name, weights)):
        if not _is_plain(module, kind):
            raise ModelUnavailable(
                "Model '%(name)s' is not opened: its %(file)s asks for '%(kind)s' of '%(module)s', which could run "
                "code or read files. Use a model that is made of Keras's own layers.",
                name=name,
                file=weights.name,
                kind=kind,
                module=module or "-",
            )


def _read_config(name: str, weights: Path) -> object:
    try:
        with zipfile.ZipFile(weights) as archive:
            if archive.getinfo(_CONFIG).file_size > _MOST_BYTES:
                raise ValueError(f"{_CONFIG} is too long")
            config: dict[str, Any] = json.loads(archive.read(_CONFIG))
        # The training configuration; all our loaders pass compile=False, so that Keras does not read it either.
        return {name: value for name, value in config.items() if name != "compile_config"}
    except (KeyError, ValueError, AttributeError, OSError, RecursionError, zipfile.BadZipFile) as error:
        raise ModelUnavailable(
            "Model '%(name)s': %(file)s holds no %(config)s that can be read. Restore the model folder.",
            name=name,
            file=weights.name,
            config=_CONFIG,
        ) from error


def _objects(config: object) -> Iterator[tuple[str, str]]:
    """Yield module and class of every object that Keras would create, at any depth."""
    waiting: list[Any] = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "class_name" in item:
                yield str(item.get("module") or ""), str(item["class_name"])
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _is_plain(module: str, kind: str) -> bool:
    if not module:
        return kind in _MARKS
    return kind in _OF_KERAS_ITSELF if module == "keras" else module in _MODULES and kind not in _RUN_OR_READ
