"""The page of a job says why X-rays have no result, how many for each reason, and lists those of one reason."""

import re
from dataclasses import dataclass

import pytest
from flask.testing import FlaskClient

from shared.db import Database
from shared.settings import Settings
from tests.conftest import draw, encode
from tests.web_site import Site, post_images


@dataclass(frozen=True)
class Sender:
    """A technician's browser, and the same person's program."""

    browser: FlaskClient
    program: FlaskClient

    def send(self, *files: tuple[str, bytes]) -> str:
        answer = post_images(self.program, *files)
        assert answer.status_code == 202
        return f"/jobs/{answer.json['id']}"  # type: ignore[index]


@pytest.fixture
def tina(settings: Settings, sqlite_database: Database) -> Sender:
    site = Site(settings, sqlite_database)
    user = site.add_user("tina")
    return Sender(site.browser(user), site.token_client(user))


def reasons(page: str) -> list[tuple[str, str]]:
    found = re.findall(r'reason=(\w+)"[^>]*>[^<]*<b>(\d+)</b>', page)
    return [(code, count) for code, count in found]


TEXTS = [(f"note-{n}.txt", b"a note of the ward") for n in range(3)]
PNG = encode(draw(1), "PNG")
EMPTY = ("empty.png", b"")


def test_refused_files_are_counted_by_reason_and_those_of_one_are_listed(tina: Sender) -> None:
    job = tina.send(("fine.png", PNG), *TEXTS, EMPTY)
    page = tina.browser.get(f"{job}?state=REJECTED").text
    assert reasons(page) == [("unknown_format", "3"), ("empty_file", "1")]
    empty = tina.browser.get(f"{job}?state=REJECTED&reason=empty_file").text
    assert "empty.png" in empty
    assert "note-1.txt" not in empty
    assert reasons(empty) == reasons(page)
    assert "empty.png" in tina.browser.get(f"{job}/fragment?state=REJECTED&reason=empty_file").text


def test_one_reason_is_no_choice_and_other_states_have_none(tina: Sender) -> None:
    job = tina.send(("fine.png", PNG), *TEXTS)
    for query in ("?state=REJECTED", "?state=QUEUED", ""):
        assert reasons(tina.browser.get(job + query).text) == []


def test_a_reason_that_no_x_ray_has_is_said(tina: Sender) -> None:
    job = tina.send(*TEXTS)
    answer = tina.browser.get(f"{job}?state=REJECTED&reason=too_dark")
    assert (answer.status_code, "has this reason" in answer.text) == (200, True)


@pytest.mark.parametrize("reason", ["%00", "Too%20dark", "a" * 65])
def test_what_is_no_code_is_not_found(tina: Sender, reason: str) -> None:
    job = tina.send(*TEXTS)
    assert tina.browser.get(f"{job}?state=REJECTED&reason={reason}").status_code == 404
