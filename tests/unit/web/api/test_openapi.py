"""The OpenAPI document and docs/http.md against the routes and codes that there are."""

import re
from typing import Any

import pytest
from flask import Flask
from werkzeug.routing import Rule

from shared.columns import RESULT_COLUMNS
from shared.settings import PREFIX, Settings
from shared.states import State
from tests.conftest import ROOT
from web.api.openapi import OPERATIONS, document
from web.app import SecretKeyMissing, create_app
from web.lists.filters import FILTERS

HTTP = (ROOT / "docs" / "http.md").read_text()


@pytest.fixture
def app(settings: Settings) -> Flask:
    return create_app(settings)


def is_for_programs(app: Flask, rule: Rule) -> bool:
    """A route of the API, one that a token opens, or one that a monitor asks."""
    access = getattr(app.view_functions[rule.endpoint], "access", None)
    probes = {"/healthz", "/readyz", "/metrics"}
    return rule.rule.startswith("/api/") or rule.rule in probes or getattr(access, "scope", None) is not None


def routes(app: Flask) -> set[tuple[str, str]]:
    return {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if is_for_programs(app, rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_route_is_described_and_nothing_else(app: Flask) -> None:
    assert {(o.method, o.root + o.path) for o in OPERATIONS} == routes(app)


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [v for k, v in node.items() if k == "$ref"] + [r for v in node.values() for r in references(v)]
    return [r for item in node for r in references(item)] if isinstance(node, list) else []


def test_every_reference_leads_somewhere() -> None:
    known = {f"#/components/schemas/{name}" for name in document()["components"]["schemas"]}
    used = set(references(document()))
    assert used
    assert used <= known


def test_operations_have_distinct_names() -> None:
    names = [o["operationId"] for methods in document()["paths"].values() for o in methods.values()]
    assert len(names) == len(set(names)) == len(OPERATIONS)


def test_every_filter_is_described() -> None:
    described = {p["name"] for p in document()["paths"]["/api/v1/predictions"]["get"]["parameters"]}
    assert {*FILTERS, "order", "format", "cursor", "limit"} == described


def test_the_document_is_served_without_a_sign_in(app: Flask) -> None:
    answer = app.test_client().get("/api/v1/openapi.json")
    assert answer.json == document()
    assert answer.json["servers"] == [{"url": "/"}]


@pytest.mark.parametrize("word", sorted({*State, *RESULT_COLUMNS}))
def test_http_md_names_every_code_state_and_column(word: str) -> None:
    assert f"`{'job' if word == 'job_id' else word}`" in HTTP


def test_http_md_names_no_filter_that_is_not_there() -> None:
    table = HTTP.split("### GET /api/v1/predictions", 1)[1].split("\n\n")[1]
    named = set(re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE))
    assert {"order", "format"} <= named
    assert named <= {*FILTERS, "order", "limit", "cursor", "format"}


def test_http_md_names_every_status_that_the_document_does() -> None:
    statuses = {status for operation in OPERATIONS for status in operation.problems}
    assert statuses <= {int(found) for found in re.findall(r"^\| (\d{3}) \|", HTTP, flags=re.MULTILINE)}


def test_settings_that_http_md_names_exist() -> None:
    named = {name.lower() for name in re.findall(rf"{PREFIX}(\w+)", HTTP)}
    assert named
    assert named <= set(Settings.model_fields)


def test_without_a_secret_key_there_is_no_application(settings: Settings) -> None:
    with pytest.raises(SecretKeyMissing, match=f"{PREFIX}SECRET_KEY"):
        create_app(settings.model_copy(update={"secret_key": None}))
