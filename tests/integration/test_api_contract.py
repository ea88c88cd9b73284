"""Where the API and its own document differed, as `make fuzz` found it."""

import pytest
from flask.testing import FlaskClient

from shared.db import Database
from shared.models.spec import ModelSpec
from shared.settings import Settings
from shared.tables import Role
from tests.web_site import Site
from web.api.openapi import API_ROOT, document

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def admin(settings: Settings, sqlite_database: Database, spec: ModelSpec) -> FlaskClient:
    site = Site(settings, sqlite_database)
    site.install_model(spec)
    return site.token_client(site.add_user("ada", Role.ADMIN))


@pytest.mark.parametrize("path", ["predictions", "audit"])
@pytest.mark.parametrize("query", ["limit=true&format=csv", "limit=0&format=csv", "format=", "limit="])
def test_an_argument_of_another_type_is_refused_in_csv_too(admin: FlaskClient, path: str, query: str) -> None:
    answer = admin.get(f"/api/v1/{path}?{query}")
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"] == query.split("=", 1)[0]  # type: ignore[index]


@pytest.mark.parametrize("query", ["since=", "until=&person=", "cursor="])
def test_an_empty_argument_narrows_nothing(admin: FlaskClient, query: str) -> None:
    assert admin.get(f"/api/v1/audit?{query}").status_code == 200


@pytest.mark.parametrize("given", [{"expected_images": 3.0}, {"priority": "", "source": None}, {"name": None}])
def test_what_the_document_calls_a_job_opens_one(admin: FlaskClient, given: dict) -> None:
    assert admin.post("/api/v1/jobs", json=given).status_code == 201


def test_half_an_image_is_not_expected(admin: FlaskClient) -> None:
    assert admin.post("/api/v1/jobs", json={"expected_images": 2.5}).status_code == 422


CALLS = [
    (method, path)
    for path, methods in document()["paths"].items()
    for method in methods
    if path.startswith(API_ROOT) and path != f"{API_ROOT}/docs"
]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_an_argument_that_the_document_does_not_name_is_refused(admin: FlaskClient, method: str, path: str) -> None:
    address = path.replace("{name}", "test-model").replace("{job_id}", NOBODY).replace("{screening_id}", NOBODY)
    answer = admin.open(f"{address}?lable=NORMAL", method=method)
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "lable")  # type: ignore[index]
    assert answer.json["errors"][0]["message"].startswith("There is no argument 'lable' here.")  # type: ignore[index]
    assert "422" in document()["paths"][path][method]["responses"]


@pytest.mark.parametrize("query", ["label=NORMAL&label=PNEUMONIA", "format=csv&review_state=disagreed"])
def test_no_list_and_no_export_is_wider_than_what_was_asked(admin: FlaskClient, query: str) -> None:
    assert admin.get(f"/api/v1/predictions?{query}").status_code == 422


def test_an_argument_that_comes_twice_is_refused_with_what_came(admin: FlaskClient) -> None:
    answer = admin.get("/api/v1/jobs?limit=1&limit=2")
    said = {"field": "limit", "message": "Give it once. Received: '1', '2'."}
    assert (answer.status_code, answer.json["errors"]) == (422, [said])  # type: ignore[index]


@pytest.mark.parametrize("path", ["/", "/history", "/api/v1/docs", "/healthz"])
def test_pages_and_probes_pass_over_what_they_do_not_know(admin: FlaskClient, path: str) -> None:
    assert admin.get(f"{path}?utm=1").status_code != 422


def test_who_is_not_signed_in_is_told_so_first(admin: FlaskClient) -> None:
    assert admin.application.test_client().get("/api/v1/jobs?lable=NORMAL").status_code == 401


@pytest.mark.parametrize("method_and_path", ["POST jobs", f"POST screenings/{NOBODY}/reviews", "PUT models/default"])
def test_a_member_of_a_body_that_comes_twice_is_refused_by_name(admin: FlaskClient, method_and_path: str) -> None:
    method, path = method_and_path.split()
    body = '{"name": "a", "model": null, "name": "b"}'
    answer = admin.open(f"/api/v1/{path}", method=method, data=body, content_type="application/json")
    said = "Give each member of an object once. Received more than once: 'name'."
    assert (answer.status_code, answer.json["detail"]) == (400, said)  # type: ignore[index]


@pytest.mark.parametrize("body", [b"", b"{", b'{"name": "\xff"}', b"[" * 150_000, b"9" * 5000, b"[]", b'{"name": NaN}'])
def test_a_body_that_is_no_json_object_is_refused(admin: FlaskClient, body: bytes) -> None:
    assert admin.post("/api/v1/jobs", data=body, content_type="application/json").status_code == 400
