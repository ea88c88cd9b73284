"""Results: one row for every file of a run, written as CSV or JSON."""

import csv
import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from cli.client.answers import Row
from cli.client.images import LocalFile, Unreadable
from cli.client.upload import Span
from cli.errors import CommandFailed
from shared.columns import RESULT_COLUMNS, Result
from shared.spreadsheet import neutral
from shared.states import State

FORMATS: Final = (".csv", ".json")

_NO_RESULT: Final = "The server has no row for this file. Send it again."


def account(
    files: Sequence[LocalFile | Unreadable],
    spans: Mapping[str, Span],
    lost: Mapping[str, Unreadable],
    rows: Sequence[Row],
) -> list[Result]:
    """Assign every file of a run and every row of its job exactly one result, in the order of the files.

    A row is identified by its position in the job. Where the names at those positions differ, as after a folder changed
    between two parts of an upload, the rows keep the server's names.
    """
    by_position = {row.position: row for row in rows}
    results: list[Result] = []
    if not _names_agree(spans, by_position):
        spans, files = {}, [f for f in files if isinstance(f, Unreadable) or f.name in lost]
    for file in files:
        if isinstance(file, Unreadable):
            results.append(_refused(file))
        elif file.name in lost:
            results.append(_refused(lost[file.name]))
        else:
            results.extend(_span_results(file, spans.get(file.name), by_position))
    results.extend(_result(row, row.file_name) for _, row in sorted(by_position.items()))
    return list(_unique(results))


def _names_agree(spans: Mapping[str, Span], by_position: Mapping[int, Row]) -> bool:
    plain = [span for span in spans.values() if not span.file.is_zip]
    found = [(span, by_position[span.start]) for span in plain if span.start in by_position]
    return all(span.file.is_shown_as(row.file_name) for span, row in found)


def _refused(file: Unreadable) -> Result:
    return Result(file_name=file.name, state=State.REJECTED, error=file.reason)


def _span_results(file: LocalFile, span: Span | None, by_position: dict[int, Row]) -> Iterator[Result]:
    """Yield a file's results and remove their rows."""
    positions = range(span.start, span.start + span.count) if span else range(0)
    rows = [by_position.pop(position) for position in positions if position in by_position]
    if not rows:
        yield Result(file_name=file.name, state=State.FAILED, error=_NO_RESULT)
    for row in rows:
        # A ZIP that was refused as a whole has one row with its own name.
        is_entry = file.is_zip and not file.is_shown_as(row.file_name)
        yield _result(row, f"{file.name}/{file.entry_of(row.file_name)}" if is_entry else file.name)


def _result(row: Row, name: str) -> Result:
    return Result(**row.model_dump(exclude={"position"}) | {"file_name": name})


def _unique(results: Iterable[Result]) -> Iterator[Result]:
    """Add a number to repeated names; a ZIP may hold two entries of one name."""
    seen: Counter[str] = Counter()
    for result in results:
        name = result.file_name
        while seen[name]:
            seen[result.file_name] += 1
            name = f"{result.file_name} ({seen[result.file_name]})"
        seen[name] += 1
        yield result.model_copy(update={"file_name": name})


def check_output(path: Path) -> None:
    """Raise CommandFailed early where the results file could not be written at the end."""
    if path.suffix.lower() not in FORMATS:
        raise CommandFailed(f"--output ends in .csv or .json. Received: '{path}'")
    folder = path.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise CommandFailed(f"--output lies in a folder that exists and can be written. Received: '{path}'")
    if path.is_dir():
        raise CommandFailed(f"--output names a file. Received the folder '{path}'")


def write_results(results: Iterable[Result], path: Path) -> None:
    """Write all rows atomically; the file extension chooses CSV or JSON."""
    rows = [result.model_dump() for result in results]
    text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n" if path.suffix.lower() == ".json" else _as_csv(rows)
    try:
        _replace(path, text)
    except OSError as error:
        raise CommandFailed(f"The results could not be written to '{path}': {error.strerror}.") from error


def _as_csv(rows: Iterable[dict[str, object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, RESULT_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    return neutral(value) if isinstance(value, str) else value


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        # mkstemp makes a file for its owner only; results get the mode of any other new file.
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
