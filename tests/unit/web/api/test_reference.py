"""The API reference as a page against the OpenAPI document that it is made from."""

import re
import shlex
from html import unescape
from typing import Any

import pytest
from flask import Flask

from shared.settings import Settings
from tests.conftest import ROOT
from web.api.openapi import OPERATIONS, document
from web.api.reference import describe, kind_of
from web.app import create_app

HOST = "https://screening.example"


@pytest.fixture
def page(settings: Settings) -> str:
    app: Flask = create_app(settings)
    answer = app.test_client().get("/api/v1/docs", headers={"Host": "screening.example"})
    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    return answer.text


def test_every_operation_and_object_is_on_the_page_and_every_link_leads_somewhere(page: str) -> None:
    shown = re.findall(r'<span class="method">(\w+)</span> <code>([^<]+)</code>', page)
    assert sorted(shown) == sorted((o.method.upper(), o.root + o.path) for o in OPERATIONS)
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert {f"model-{name}" for name in document()["components"]["schemas"]} <= anchors
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert len(links) > 10
    assert links <= anchors


def test_nothing_comes_from_elsewhere_and_help_leads_there(page: str) -> None:
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page) == []
    assert "url_for('api.show_reference')" in (ROOT / "web" / "templates" / "guide" / "index.html").read_text()


def test_every_operation_has_an_example_that_a_shell_reads(page: str) -> None:
    examples = [unescape(found) for found in re.findall(r'<pre dir="ltr"><code>([^<]+)</code></pre>', page)]
    assert len(examples) >= len(OPERATIONS)
    for example in examples:
        command, *options, address = shlex.split(example)
        assert command == "curl"
        assert address.startswith("http://screening.example/")
        assert "{" not in address
        is_open = any(address.endswith(path) for path in ("openapi.json", "/docs", "healthz", "readyz", "metrics"))
        assert ("Authorization: Bearer $TOKEN" in options) is not is_open


def test_a_server_below_a_path_says_so_in_every_address() -> None:
    page = describe(document("/screening"), HOST)
    operations = [operation for group in page.groups.values() for operation in group]
    assert len(operations) == len(OPERATIONS)
    assert all(operation.address.startswith("/screening/") for operation in operations)
    assert all(f"'{HOST}/screening/" in example for operation in operations for example in operation.examples)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "#/components/schemas/Label"}, "Label"),
        ({"anyOf": [{"$ref": "#/x/Label"}, {"type": "null"}]}, "Label or null"),
        ({"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "maxLength": 0}]}, "string, date"),
        ({"enum": ["a", "", None]}, "a | (empty) | null"),
        ({"const": "PNEUMONIA"}, "PNEUMONIA"),
        ({"type": "array", "items": {"type": "string", "contentMediaType": "x/y"}}, "list of file"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "object of integer"),
        ({"type": "integer", "minimum": 1, "maximum": 1000}, "integer, 1 to 1,000"),
        ({"type": ["string", "null"]}, "string or null"),
        ({}, "any"),
    ],
)
def test_kinds_are_said_in_a_few_words(schema: dict[str, Any], said: str) -> None:
    assert kind_of(schema) == said
