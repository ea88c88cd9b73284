"""Which files a job has received already: what a sender whose upload broke off leaves out."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.db import Database
from shared.models.spec import ModelSpec
from shared.settings import Settings
from tests.conftest import draw, encode
from tests.web_site import File, Site, make_zip, post_images

A, B, C = (encode(draw(n, (80, 80))) for n in range(3))
QUOTED = 'ward "3"/c.jpeg'


@pytest.fixture
def site(settings: Settings, database: Database, spec: ModelSpec) -> Site:
    site = Site(settings, database)
    site.install_model(spec)
    return site


def open_job(client: FlaskClient, *sent: File) -> str:
    answer = client.post("/api/v1/jobs", json={"name": "broken off", "expected_images": 9})
    assert answer.status_code == 201
    if sent:
        assert post_images(client, *sent, to=answer.json["images_url"]).status_code == 202
    return str(answer.json["status_url"])


def received(client: FlaskClient, job: str, *files: tuple[str, bytes]) -> list[dict[str, Any]]:
    offered = [{"file_name": name, "size_bytes": len(data)} for name, data in files]
    answer = client.post(f"{job}/received", json={"files": offered})
    assert answer.status_code == 200, answer.text
    return list(answer.json["received"])


def there(index: int, data: bytes | None = None) -> dict[str, Any]:
    return {"index": index, "sha256": hashlib.sha256(data).hexdigest() if data else None}


def test_files_are_known_by_name_and_size_and_refused_ones_by_name(site: Site) -> None:
    tina = site.token_client(site.add_user("tina"))
    job = open_job(tina, ("ward/a.jpeg", A), (QUOTED.replace('"', "%22"), C), ("ward/notes.txt", b"A text."))
    files = [
        ("ward/a.jpeg", A),
        ("ward/b.jpeg", B),
        ("ward/a.jpeg", A + b"\0"),
        ("ward/notes.txt", b"Another."),
        (QUOTED, C),
    ]
    assert received(tina, job, *files) == [there(0, A), there(3), there(4, C)]
    assert received(tina, job) == []


def test_each_row_stands_for_one_file(site: Site) -> None:
    tina = site.token_client(site.add_user("tina"))
    job = open_job(tina, ("a.jpeg", A), ("a.jpeg", B))
    same_size = B + bytes(max(0, len(A) - len(B)))
    assert received(tina, job, ("a.jpeg", B), ("a.jpeg", A), ("a.jpeg", same_size[: len(B)])) == [
        there(0, B),
        there(1, A),
    ]


def test_a_refused_file_stands_for_no_other_of_its_name_that_is_there(site: Site) -> None:
    tina = site.token_client(site.add_user("tina"))
    job = open_job(tina, ("a.jpeg", b"A text."), ("a.jpeg", A))
    assert received(tina, job, ("a.jpeg", A), ("a.jpeg", b"A text.")) == [there(0, A), there(1)]


def test_a_zip_is_there_with_its_entries(site: Site) -> None:
    tina = site.token_client(site.add_user("tina"))
    whole, other = make_zip({"1.jpeg": A, "in/2.jpeg": B}), make_zip({"3.jpeg": C})
    job = open_job(tina, ("x/disc.zip", whole), ("bad.zip", b"PK\x03\x04 no ZIP"))
    files = [("x/disc.zip", whole), ("x/other.zip", other), ("bad.zip", other), ("disc.zip", whole)]
    assert received(tina, job, *files) == [there(0), there(2)]


def test_pseudonyms_are_compared_as_they_are_kept(settings: Settings, database: Database, tmp_path: Path) -> None:
    site = Site(settings.model_copy(update={"pseudonymise_names": True}), database)
    tina = site.token_client(site.add_user("tina"))
    job = open_job(tina, ("Mustermann/a.jpeg", A), ("Mustermann/disc.zip", make_zip({"b.jpeg": B})))
    files = [("Mustermann/a.jpeg", A), ("Muster/a.jpeg", A), ("Mustermann/disc.zip", b"any"), ("Mustermann/c.jpeg", C)]
    assert received(tina, job, *files) == [there(0, A), there(2)]


def test_a_job_that_was_closed_is_compared_and_not_opened_again(site: Site) -> None:
    tina = site.token_client(site.add_user("tina"))
    job = open_job(tina, ("a.jpeg", A))
    assert tina.post(f"{job}/close").status_code == 200
    assert received(tina, job, ("a.jpeg", A), ("b.jpeg", B)) == [there(0, A)]
    refused = post_images(tina, ("b.jpeg", B), to=f"{job}/images")
    assert (refused.status_code, refused.json["code"]) == (409, "job_closed")
    state = tina.get(job).json
    assert (state["total"], state["closed_at"] is None) == (1, False)


BAD = (
    ({}, "files"),
    ({"files": [{"file_name": "Mustermann.png"}]}, "files.0.size_bytes"),
    ({"files": [{"file_name": "Mustermann.png", "size_bytes": -1}]}, "files.0.size_bytes"),
    ({"files": [{"file_name": ["Mustermann.png"], "size_bytes": 1}]}, "files.0.file_name"),
    ({"files": [{"file_name": "Mustermann.png", "size_bytes": 1}] * 5001}, "files"),
    ({"files": [{"file_name": "Mustermann.png", "size_bytes": True}]}, "files.0.size_bytes"),
)


def test_what_cannot_be_compared_is_named_without_its_content(site: Site) -> None:
    tina = site.token_client(site.add_user("tina"))
    job = open_job(tina)
    for body, field in BAD:
        answer = tina.post(f"{job}/received", json=body)
        assert answer.status_code == 422
        assert [problem["field"] for problem in answer.json["errors"]] == [field]
        assert "Mustermann" not in answer.text
