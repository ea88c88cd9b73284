"""The child process that processes hostile files: real intake into a real store, then what worker and pages do.

`python -m fuzz.child FOLDER BYTES` reads files from its standard input, each behind a line of JSON with `name` and
`size`, and answers each with a line of JSON. Its memory is limited to BYTES. It checks these promises for each file:
only known images and refusals, a store without leftovers, nothing outside the store, an image as large as intake
reported.
"""

import faulthandler
import io
import json
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from fuzz import PATIENT
from shared.errors import ImageRejected
from shared.images.preprocess import decode, decode_at_full_depth, fit, refuse_unreadable, thumbnail
from shared.intake.accept import AcceptedImage
from shared.intake.archive import receive
from shared.models.folder import read_spec
from shared.models.spec import ModelSpec
from shared.refusals import OF_THE_GATE, Rejection, explain
from shared.settings import Settings
from shared.store.store import THUMBNAIL, open_store

_CHUNK: Final = 64 * 1024
_FOLDERS: Final = {"images", THUMBNAIL, "incoming", "keys.json"}
_WHOLE: Final = 1_000_000
"""Asks for a JPEG at full size; only then do its pixels show whether intake read its size correctly."""


class PromiseBroken(AssertionError):
    """Say which promise a file broke."""


class Taker:
    """A store, and the processing of files sent to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._settings = Settings(data_dir=folder / "data")
        self._store = open_store(self._settings)
        if self._store.is_new():
            self._store.create()
        self._spec: ModelSpec = read_spec(self._settings.model_dir)

    def take(self, name: str, data: bytes) -> dict[str, Any]:
        """Process one file completely and return what became of its images."""
        found: dict[str, Any] = {"prepared": 0, "intake": [], "decode": [], "fault": None}
        seen: set[str] = set()
        try:
            for item in receive(name, _chunks(data), self._store, self._settings):
                if item.rejection is not None:
                    found["intake"].append(_code(item.rejection))
                elif item.image is not None and item.image.sha256 not in seen:
                    seen.add(item.image.sha256)  # an image that comes twice is screened once
                    self._prepare(item.image, found)
            if not (seen or found["intake"]):
                raise PromiseBroken("the file has no outcome")
            self._look_around()
        except Exception as error:  # noqa: BLE001  # any error is a finding
            found["fault"] = _describe(error)
        self._clear()
        return found

    def _prepare(self, accepted: AcceptedImage, found: dict[str, Any]) -> None:
        """Process a stored image as `worker.screening.screen` and `web.images` do."""
        data = self._store.get(accepted.sha256)
        try:
            image = decode(data, at_least=self._spec.input_size)
            self._store.put_derived(accepted.sha256, THUMBNAIL, thumbnail(image))
            refuse_unreadable(data, image, self._spec, OF_THE_GATE)  # only run: it refuses nothing here
            pixels = fit(image, self._spec)
            whole = decode(data, at_least=_WHOLE).size
            deep = decode_at_full_depth(data)
        except ImageRejected as rejection:
            found["decode"].append(_code(rejection))
            return
        side = self._spec.input_size
        if pixels.shape != (side, side, 1) or pixels.dtype != np.uint8:
            raise PromiseBroken(f"prepared as {pixels.shape} {pixels.dtype}")
        if whole != (accepted.width, accepted.height):
            raise PromiseBroken(
                f"intake said {accepted.width} x {accepted.height}, the image has {whole[0]} x {whole[1]}"
            )
        if deep.size != whole or deep.samples.dtype not in {np.dtype(np.uint8), np.dtype(np.uint16)}:
            raise PromiseBroken(
                f"the image has {whole[0]} x {whole[1]}, at full depth {deep.size} {deep.samples.dtype}"
            )
        if not np.isfinite([deep.black, deep.white, deep.slope, deep.intercept]).all() or deep.white < deep.black:
            raise PromiseBroken(f"a window from {deep.black} to {deep.white}, slope {deep.slope}")
        found["prepared"] += 1

    def _look_around(self) -> None:
        strays = [path.name for path in self._folder.iterdir() if path.name != "data"]
        strays += [path.name for path in (self._settings.store / "incoming").iterdir()]
        strays += [path.name for path in self._settings.store.iterdir() if path.name not in _FOLDERS]
        if strays:
            raise PromiseBroken(f"left behind: {strays[:5]}")

    def _clear(self) -> None:
        for path in self._settings.store.iterdir():
            if path.is_dir() and path.name != "incoming":
                shutil.rmtree(path)


def _chunks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]


def _code(rejection: ImageRejected) -> str:
    """Check that a refusal has a message, and return its code."""
    explanation = explain(rejection.code, json.loads(json.dumps(rejection.details)))
    said = f"{rejection} {explanation.text}"
    if rejection.code not in Rejection or not said.endswith(".") or "Traceback" in said or PATIENT in said:
        raise PromiseBroken(f"refused with {said!r}")
    return rejection.code.value


def _describe(error: Exception) -> dict[str, str]:
    frames = traceback.extract_tb(error.__traceback__)
    place = " < ".join(f"{Path(frame.filename).name}:{frame.name}" for frame in reversed(frames[-4:]))
    return {"what": type(error).__name__, "where": place, "text": str(error)[:500]}


def _forget_peak() -> None:
    """Reset the kernel's peak memory counter (proc(5), clear_refs)."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")


def _peak() -> int:
    """Return the peak resident memory since `_forget_peak`, in bytes; since the start where there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def main() -> None:
    """Process files until the input ends."""
    folder, limit = Path(sys.argv[1]), int(sys.argv[2])
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    taker = Taker(folder)
    source = sys.stdin.buffer
    assert isinstance(source, io.BufferedReader)  # noqa: S101  # narrows the type
    while line := source.readline():
        head = json.loads(line)
        data = source.read(head["size"])
        _forget_peak()
        start = time.process_time()
        found = taker.take(head["name"], data)
        print(json.dumps({**found, "cpu": time.process_time() - start, "peak": _peak()}), flush=True)


if __name__ == "__main__":
    main()
