"""Which files a job has received already: what a sender whose upload broke off leaves out."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.db import Database
from shared.models.spec import ModelSpec
from shared.settings import Settings
from shared.tables import Screening
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


# ---------------------------------------------------------------- skip_received


def send(client: FlaskClient, job: str, *files: File, skip: str = "true", **headers: str) -> dict[str, Any]:
    answer = post_images(client, *files, to=f"{job}/images", skip_received=skip, headers=headers)
    assert answer.status_code == 202, answer.text
    return dict(answer.json)


def names(site: Site) -> list[str]:
    return [row.file_name for row in site.screenings()]


NOTES = ("ward/notes.txt", b"A text.")


def test_a_file_that_the_job_holds_is_left_out_by_name_and_content(site: Site) -> None:
    tina = site.token_client(site.add_user("tina"))
    job = open_job(tina, ("ward/a.jpeg", A), NOTES)
    open_job(tina, ("ward/c.jpeg", C))
    others = [("ward/a.jpeg", B), ("ward/b.jpeg", A), ("ward/c.jpeg", C), ("ward/notes.txt", b"\xff\xd8\xff")]
    answer = send(tina, job, ("ward/a.jpeg", A), NOTES, *others)
    assert (answer["received"], answer["skipped"], answer["queued"]) == (6, 2, 3)
    assert [item["file_name"] for item in answer["rejected"]] == ["ward/notes.txt"]
    state = tina.get(job).json
    assert state["total"] == 6
    assert send(tina, job, ("ward/a.jpeg", A), NOTES, *others)["skipped"] == 6
    assert tina.get(job).json["total"] == 6


def test_without_the_word_the_same_file_is_taken_again(site: Site) -> None:
    tina = site.token_client(site.add_user("tina"))
    job = open_job(tina, ("a.jpeg", A))
    for skip in ("false", ""):
        assert send(tina, job, ("a.jpeg", A), skip=skip)["skipped"] == 0
    assert names(site) == ["a.jpeg"] * 3


def test_entries_of_a_zip_are_left_out_one_by_one(site: Site) -> None:
    tina = site.token_client(site.add_user("tina"))
    job = open_job(tina, ("disc.zip", make_zip({"1.jpeg": A})))
    answer = send(tina, job, ("disc.zip", make_zip({"1.jpeg": A, "2.jpeg": B})))
    assert (answer["received"], answer["skipped"], answer["queued"]) == (2, 1, 1)
    assert names(site) == ["disc.zip/1.jpeg", "disc.zip/2.jpeg"]


def test_pseudonyms_are_left_out_as_they_are_kept(settings: Settings, database: Database) -> None:
    site = Site(settings.model_copy(update={"pseudonymise_names": True}), database)
    tina = site.token_client(site.add_user("tina"))
    job = open_job(tina, ("Mustermann/a.jpeg", A))
    assert send(tina, job, ("Mustermann/a.jpeg", A), ("Muster/a.jpeg", A))["skipped"] == 1
    assert site.count(Screening) == 2


def test_two_who_send_the_same_rest_at_once_add_it_once(site: Site) -> None:
    tina = site.add_user("tina")
    job = open_job(site.token_client(tina), ("0.jpeg", A))
    rest = [*((f"{n}.jpeg", data) for n, data in enumerate((A, B, C))), NOTES]
    clients = [site.token_client(tina) for _ in range(4)]
    with ThreadPoolExecutor(len(clients)) as threads:
        answers = list(threads.map(lambda client: send(client, job, *rest), clients))
    assert sorted(answer["skipped"] for answer in answers) == [1, 4, 4, 4]
    assert names(site) == ["0.jpeg", "1.jpeg", "2.jpeg", "ward/notes.txt"]


def test_a_repeated_request_is_answered_with_what_it_left_out(site: Site) -> None:
    tina = site.token_client(site.add_user("tina"))
    job = open_job(tina, ("a.jpeg", A))
    files, key = (("a.jpeg", A), ("b.jpeg", B), NOTES), {"Idempotency-Key": "k"}
    first, again = send(tina, job, *files, **key), send(tina, job, *files, **key)
    assert (first["received"], first["skipped"], first["queued"]) == (3, 1, 1)
    assert {**first, "queued": 0} == again
    assert names(site) == ["a.jpeg", "b.jpeg", "ward/notes.txt"]


@pytest.mark.parametrize("said", ["yes", "True", "1", "Mustermann", "true\0"])
def test_what_is_neither_true_nor_false_is_refused(site: Site, said: str) -> None:
    tina = site.token_client(site.add_user("tina"))
    job = open_job(tina, ("a.jpeg", A))
    answer = post_images(tina, ("b.jpeg", B), to=f"{job}/images", skip_received=said)
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "skip_received")
    assert answer.json["errors"][0]["message"] == f"Give one of true, false. Received: {said!r}."
    assert names(site) == ["a.jpeg"]


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
