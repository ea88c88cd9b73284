"""Keep findings: for each a file that reproduces it, minimised where that is easy."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from fuzz.lanes import Bounds, Lane, Outcome

_TRIES: Final = 120
_LARGEST_BYTES: Final = 2_000_000
_SAME_KIND: Final = 3
"""Findings kept per signature; the rest are only counted."""


def signature(outcome: Outcome) -> str:
    """Return what failed and where, to recognise duplicates of a fault."""
    fault = outcome.fault or {}
    return f"{fault.get('what', '')} {fault.get('where', '')}"


class Findings:
    """A folder of files that reproduce faults, each with a JSON that describes it."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self._folder, self._bounds = folder, bounds
        self.seen: dict[str, int] = {}

    def add(self, outcome: Outcome) -> None:
        """Keep one finding, minimised if that is quick."""
        key = signature(outcome)
        self.seen[key] = self.seen.get(key, 0) + 1
        if self.seen[key] > _SAME_KIND:
            return
        small = self._shrink(outcome) if self.seen[key] == 1 else outcome.case.data
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / outcome.case.file_name
        path.write_bytes(small)
        note = {"number": outcome.case.number, "made": outcome.case.made, **(outcome.fault or {})}
        path.with_suffix(path.suffix + ".json").write_text(json.dumps(note, indent=1) + "\n")

    def _shrink(self, outcome: Outcome) -> bytes:
        """Remove piece after piece while the fault stays the same (delta debugging, Zeller 2002)."""
        best = outcome.case.data
        if len(best) > _LARGEST_BYTES or (outcome.fault or {}).get("what") in {"Hang", "OverTime", "NameLogged"}:
            return best
        with Lane(self._bounds) as lane:
            tries = _TRIES
            piece = len(best) // 2
            while piece and tries > 0:
                for shorter in _without(best, piece):
                    tries -= 1
                    again = lane.send(replace(outcome.case, data=shorter))
                    if signature(again) == signature(outcome):
                        best = shorter
                        break
                    if tries <= 0:
                        break
                else:
                    piece //= 2
        return best


def _without(data: bytes, piece: int) -> Iterator[bytes]:
    for start in range(0, len(data), piece):
        yield data[:start] + data[start + piece :]
