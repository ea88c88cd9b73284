"""Export all filtered images, streamed as CSV or JSON in constant memory."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from flask import Response, g, request, stream_with_context

from shared.audit.record import Action, record
from shared.columns import RESULT_COLUMNS
from shared.db import now
from shared.spreadsheet import neutral
from web.base.concurrency import Turns
from web.base.services import services
from web.languages.text import N_
from web.lists.filters import FILTERS
from web.lists.listing import Filters, Order, ScreeningSummary, iterate_screenings
from web.lists.rows import prediction_row, result_values

FORMATS: Final = ("csv", "json")

_MOST_AT_ONCE: Final = 4
exporting = Turns(_MOST_AT_ONCE, 0, N_("Other exports are being sent already."))
"""Each holds a thread for as long as its client reads."""


def export_screenings(filters: Filters, order: Order, form: str) -> Response:
    """Stream every filtered image that the viewer may see; `form` is one of FORMATS."""
    return exporting.stream(lambda: _export(filters, order, form))


def _export(filters: Filters, order: Order, form: str) -> Response:
    with services().database.write() as db:
        detail = _detail(filters, order, form)
        record(db, Action.HISTORY_EXPORTED, user_id=g.user.id, address=request.remote_addr, detail=detail)
    rows = iterate_screenings(services().database, g.user, filters, order)
    lines, media_type = (_csv(rows), "text/csv") if form == "csv" else (_json(rows), "application/json")
    response = Response(stream_with_context(lines), content_type=f"{media_type}; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="pneumoscreen-{now():%Y-%m-%d}.{form}"'
    return response


def _detail(filters: Filters, order: Order, form: str) -> dict[str, str]:
    given = {name: "given" if FILTERS[name].is_private else value for name, value in filters.to_args().items()}
    return {"format": form, "order": order.value, **given}


def _csv(rows: Iterable[ScreeningSummary]) -> Iterator[str]:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(RESULT_COLUMNS)
    for row in rows:
        values = result_values(row)
        writer.writerow([_cell(values[name]) for name in RESULT_COLUMNS])
        if out.tell() > io.DEFAULT_BUFFER_SIZE:
            yield _emptied(out)
    yield _emptied(out)


def _emptied(out: io.StringIO) -> str:
    text = out.getvalue()
    out.seek(0)
    out.truncate()
    return text


def _cell(value: object) -> str:
    """Write one cell."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6f}"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return neutral(str(value))


def _json(rows: Iterable[ScreeningSummary]) -> Iterator[str]:
    separator = '{"predictions": [\n'
    for row in rows:
        yield separator + json.dumps(prediction_row(row).model_dump(mode="json"))
        separator = ",\n"
    yield ("" if separator == ",\n" else separator) + "\n]}\n"
