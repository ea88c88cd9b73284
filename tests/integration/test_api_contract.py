"""Where the API and its own document differed, as `make fuzz` found it."""

import pytest
from flask.testing import FlaskClient

from shared.db import Database
from shared.models.spec import ModelSpec
from shared.settings import Settings
from shared.tables import Role
from tests.web_site import Site


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
