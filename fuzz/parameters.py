"""Send hostile arguments to every route of the URL map: query strings, forms, headers and JSON."""

import base64
import json
import random
import re
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from shared.settings import REPOSITORY

ID: Final = "00000000-0000-7000-8000-000000000000"
DEEP: Final = "[" * 150_000
VALUES: Final = (
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "\ud800",
        "\N{REPLACEMENT CHARACTER}",
        "é" * 300,
        "'; DROP TABLE jobs; --",
        "%",
        "_",
        "\\",
    ),
    *(
        "-1",
        "0",
        "1e30",
        "1e400",
        "NaN",
        "-inf",
        "9" * 20,
        "9" * 5000,
        "1.5",
        "0x10",
        "\u0663",
        "\uff13",
        "true",
        "null",
    ),
    *(
        "0001-01-01",
        "9999-12-31",
        "9998-12-31",
        "1969-12-31",
        "2026-02-30",
        "2026-W01-1",
        "+10000-01-01",
        "-0001-01-01",
    ),
    *(ID, ID.upper(), ID.replace("-", ""), "{" + ID + "}", "urn:uuid:" + ID, "f" * 32),
    *("PNEUMONIA", "DONE", "csv", "suspicious", "newest", "x@", "@x", "a@" + "f" * 64, "x" * 5000, "[", "[" * 3000),
    *(
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "http://[",
        "/[",
        "/\r\nX: y",
        "javascript:alert(1)",
    ),
    *("<script>", "{{7*7}}", "%00", "%ed%a0%80", "../../etc/passwd", "=1+1", "\u202e", "\uffff"),
)
PLACES: Final[tuple[Any, ...]] = (
    *(0, -1, 1, 1e30, 1e308, -1e308, 2**31, 2**63 - 1, 2**63, 2**64, 10**400, 0.5, 2.0, True, None),
    *("", "\0", "a\0b", "\ud800", "1", "NaN", ID, "f" * 32, "0" * 32, [], [1], {}, {"a": 1}, "x" * 5000),
)
NAMES: Final = (
    *(
        "cursor",
        "limit",
        "order",
        "format",
        "label",
        "min_confidence",
        "max_confidence",
        "since",
        "until",
        "job",
        "model",
    ),
    *(
        "text",
        "state",
        "person",
        "action",
        "subject",
        "name",
        "next",
        "role",
        "days",
        "read",
        "submit",
        "admin",
        "code",
    ),
    *("password", "new_password", "repeat", "priority", "source", "expected_images", "csrf_token", "error", "iss"),
)
INVENTED: Final = (
    "_external",
    "_scheme",
    "_anchor",
    "_method",
    "endpoint",
    "job_id",
    "self",
    "values",
    "x" * 300,
    "\0",
    "[",
)
HEADERS: Final = (
    *("Host", "Cookie", "Accept", "Authorization", "Idempotency-Key", "If-None-Match", "Range", "Sec-Fetch-Mode"),
    *("X-CSRFToken", "User-Agent", "Content-Type", "Content-Encoding", "X-Forwarded-For", "X-Forwarded-Prefix"),
)
JSON_BODIES: Final = (
    *(DEEP, '{"name":' * 50_000, "[]", "1", '"x"', "null", "NaN", "", "{", "\ufeff{}", '{"a": ' + "9" * 5000 + "}"),
    *(
        "\\ud800",
        '{"name": "\\ud800"}',
        '{"name": "a\\u0000b"}',
        '{"expected_images": 1e400}',
        '{"expected_images": NaN}',
    ),
    *('{"expected_images": -1}', '{"expected_images": 1e18}', '{"expected_images": "1"}', '{"expected_images": true}'),
    *(
        '{"priority": {}}',
        '{"source": []}',
        '{"name": ' + '"x"' * 2 + "}",
        '{"name": {"a": 1}}',
        '{"name": "' + "x" * 9000 + '"}',
    ),
)
_DESTROY: Final = ("delete", "cancel", "disable", "revoke", "end", "unlink")
_START_SECONDS: Final = 120


@dataclass(frozen=True)
class Route:
    """One method of one URL rule."""

    method: str
    rule: str
    names: tuple[str, ...] = NAMES
    """The arguments that it reads."""

    @property
    def is_last(self) -> bool:
        """Tell whether it must be tried last, since it removes what the others need."""
        return self.method == "DELETE" or self.rule.rpartition("/")[2] in _DESTROY


@dataclass(frozen=True)
class Attack:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def __str__(self) -> str:
        """Describe it in one line."""
        parts = {name: part for name in ("query", "form", "headers", "body") if (part := getattr(self, name))}
        return f"{self.method} {self.path} {repr(parts)[:300]}"


def cursors() -> list[str]:
    """Make forged cursors: values out of range, of wrong types, too few, too many, too deeply nested."""
    ways: tuple[Any, ...] = ("after", "before", "", None, 1, [])
    shapes: list[Any] = [[way, place] for way in ways[:2] for place in PLACES]
    shapes += [[way, one, two] for way in ways[:2] for one in PLACES[:12] for two in (ID, 1)]
    shapes += [[], {}, "after", 1, ["after"], ["after", 1, 2, 3], *[[way, 1] for way in ways[2:]]]
    texts = [json.dumps(shape) for shape in shapes]
    texts += [DEEP, '["after",' + DEEP, '["after",NaN]', '["after",Infinity]', "\0", "", "{"]
    encoded = [base64.urlsafe_b64encode(text.encode()).decode().rstrip("=") for text in texts]
    return [*encoded, "=", "====", "é", "\ud800", "a b", "x" * 5000]


def attacks(routes: Sequence[Route], ids: Mapping[str, str], draw: random.Random, each: int) -> Iterator[Attack]:
    """Yield hostile requests to every route: `each` values of each argument that it reads, and further ones.

    `ids` are the values of URL arguments, by name.
    """
    for route in sorted(routes, key=lambda route: route.is_last):
        path = _fill(route.rule, ids)
        for name in (*route.names, *draw.sample(INVENTED, min(each, len(INVENTED)))):
            values = cursors() if name == "cursor" else list(VALUES)
            for value in draw.sample(values, min(each, len(values))):
                yield _with(route.method, path, {_clean(name): _clean(value)}, draw)
        for name in draw.sample(HEADERS, min(each, len(HEADERS))):
            value = re.sub(r"[^\x20-\x7e\xa1-\xff]", "?", draw.choice(VALUES)).strip()
            yield Attack(route.method, path, headers={name: value})
        if "<" in route.rule:
            hostile = _fill(route.rule, {name: draw.choice(["\0", "..", ID.upper(), "%00", "9" * 300]) for name in ids})
            yield Attack(route.method, hostile)
        if route.method == "POST" and route.rule.startswith("/api/"):
            for body in draw.sample(JSON_BODIES, min(2 * each, len(JSON_BODIES))):
                data = body.encode(errors="surrogatepass")
                yield Attack(route.method, path, headers={"Content-Type": "application/json"}, body=data)


def _fill(rule: str, ids: Mapping[str, str]) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: ids.get(found[1], str(uuid.UUID(int=1))), rule)


def _clean(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _with(method: str, path: str, arguments: Mapping[str, str], draw: random.Random) -> Attack:
    in_form = method != "GET" and draw.random() < 0.7
    return Attack(method, path, form=arguments) if in_form else Attack(method, path, query=arguments)


@dataclass
class ParameterRun:
    """The outcomes of hostile arguments."""

    statuses: "Counter[int]" = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def send(self, attack: Attack, ask: Callable[[Attack], int]) -> None:
        """Send one and record its outcome: only a full or unavailable service may answer 5xx."""
        status = ask(attack)
        self.statuses[status] += 1
        allowed = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INSUFFICIENT_STORAGE}
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in allowed:
            self.faults.append(f"{status}: {attack}")

    def show(self, console: Console) -> None:
        """Print the counts by status, and each request that failed."""
        statuses = ", ".join(f"{count:,} x {status}" for status, count in sorted(self.statuses.items()))
        console.print(f"Hostile arguments: {self.statuses.total():,} requests; {statuses}", highlight=False)
        for fault in self.faults:
            console.print(fault, highlight=False, markup=False, soft_wrap=True)


def read_routes(environment: Mapping[str, str]) -> list[Route]:
    """Ask the application for its URL map, as `flask routes` prints it."""
    command = [sys.executable, "-m", "flask", "--app", "web.wsgi:app", "routes", "--sort", "rule"]
    printed = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=True,
        timeout=_START_SECONDS,
    ).stdout
    lines = [line.split(maxsplit=1)[1].rsplit(maxsplit=1) for line in printed.splitlines()[2:] if line.strip()]
    return [Route(method, rule) for methods, rule in lines for method in methods.split(", ")]


def keep(run: ParameterRun, folder: Path) -> None:
    """Write the failures to a file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "parameters.txt").write_text("\n".join(run.faults) + "\n")
