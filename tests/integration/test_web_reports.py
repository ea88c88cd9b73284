"""Reports to print: what they say, to whom, and of what is missing."""

import io
import logging
import re
import warnings
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from pypdf import PdfReader
from sqlalchemy import update
from werkzeug.test import TestResponse

from shared.db import Database, now
from shared.models.spec import ModelSpec
from shared.process.logs import configure_logging
from shared.settings import Settings
from shared.states import State
from shared.tables import Role, Screening
from tests.conftest import draw, encode
from tests.web_site import Site, post_images
from web.reports import page

SICK, NEAR, WELL = 0.912, 0.42, 0.07


@pytest.fixture
def site(settings: Settings, sqlite_database: Database, spec: ModelSpec) -> Site:
    return make_site(settings, sqlite_database, spec)


def make_site(settings: Settings, database: Database, spec: ModelSpec, **changes: bool) -> Site:
    """A site with one job: a healthy image, a sick one, one near the threshold, and a text that is none."""
    site = Site(settings, database, **changes)
    sender = site.token_client(site.add_user("tina"))
    files = [(f"image-{n}.png", encode(draw(n), "PNG")) for n in range(3)]
    assert post_images(sender, *files, ("notes.txt", b"no image"), name="Ward 3").status_code == 202
    with site.database.read() as session:
        sha256 = {row.file_name: row.image.sha256 for row in session.query(Screening) if row.image}
    site.work(spec, {sha256["image-0.png"]: WELL, sha256["image-1.png"]: SICK, sha256["image-2.png"]: NEAR})
    return site


def read(answer: TestResponse) -> PdfReader:
    assert (answer.status_code, answer.mimetype) == (200, "application/pdf"), answer.text
    return PdfReader(io.BytesIO(answer.data))


def text_of(answer: TestResponse) -> str:
    return "\n".join(page.extract_text() for page in read(answer).pages)


def image_report(site: Site, client: FlaskClient, position: int, language: str = "en") -> TestResponse:
    address = f"/screenings/{site.screenings()[position].id}/report.pdf"
    return client.get(address, headers={"Accept-Language": language})


def job_report(site: Site, client: FlaskClient) -> TestResponse:
    return client.get(f"/jobs/{site.screenings()[0].job_id}/report.pdf")


def reader(site: Site, name: str = "rita") -> FlaskClient:
    return site.token_client(site.add_user(name, Role.READER))


def test_the_report_of_an_image_says_all_that_its_page_says(site: Site) -> None:
    rita = reader(site)
    said = {"outcome": "overrule", "finding": "normal", "note": "Skin fold.\nNot an infiltrate."}
    assert rita.post(f"/api/v1/screenings/{site.screenings()[1].id}/reviews", json=said).status_code == 201
    answer = image_report(site, rita, 1)
    document, text = read(answer), text_of(answer)
    assert len(document.pages) == 1
    box = document.pages[0].mediabox
    assert (round(float(box.width)), round(float(box.height))) == (595, 842)  # A4, 210 and 297 mm, in points
    assert [picture.image.size for picture in document.pages[0].images] == [(256, 224)]
    for part in ("image-1.png", "Ward 3", "Flagged", "Suspicion 91 of 100. Above the threshold, 40."):
        assert part in text
    for part in (
        "test-model@000000000000",
        "None.",
        "Normal (differs from the model)",
        "rita",
        "Skin fold.",
        "infiltrate.",
    ):
        assert part in text
    assert "Decision support, not a diagnosis." in text
    assert answer.headers["Content-Disposition"] == f'attachment; filename="pneumoscreen-{site.screenings()[1].id}.pdf"'
    assert site.actions()[-1] == "report_made"
    assert "Suspicion 7 of 100. Below the threshold, 40." in text_of(image_report(site, rita, 0))
    assert "Suspicion 42 of 100. Near the threshold, 40." in text_of(image_report(site, rita, 2))


def test_blind_reading_keeps_prediction_and_reviews_out_of_both_reports(
    settings: Settings, sqlite_database: Database, spec: ModelSpec
) -> None:
    site = make_site(settings, sqlite_database, spec, blind_second_reading=True)
    said = {"finding": "viral", "note": "A secret of the first."}
    address = f"/api/v1/screenings/{site.screenings()[1].id}/reviews"
    assert reader(site).post(address, json=said).status_code == 201
    second = reader(site, "sam")
    text = text_of(image_report(site, second, 1))
    assert "Result hidden" in text
    for secret in ("91", "Flagged", "secret", "rita", "test-model", "iral", "Intended"):
        assert secret not in text.replace(str(site.screenings()[1].id), "").split("SHA-256")[0]
    whole = text_of(job_report(site, second))
    assert "Result hidden until your own review 1" in re.sub(r"\s+", " ", whole)
    assert "image-1.png" not in whole
    assert "91" not in re.sub(r"[0-9a-f-]{36}", "", whole)
    assert second.post(address, json={"finding": "normal"}).status_code == 201
    assert "Suspicion 91" in text_of(image_report(site, second, 1))
    assert "secret of the first" in text_of(image_report(site, second, 1))


def test_the_page_of_a_job_counts_what_is_hidden_as_its_report_does_and_leads_to_it(
    settings: Settings, sqlite_database: Database, spec: ModelSpec
) -> None:
    site = make_site(settings, sqlite_database, spec, blind_second_reading=True)
    rita, sam = site.add_user("rita", Role.READER), site.add_user("sam", Role.READER)
    pages = site.browser(sam)
    address, said = f"/jobs/{site.screenings()[0].job_id}", "Result hidden until your own review"
    page = pages.get(address)
    assert (page.status_code, said in page.text) == (200, False)
    review = f"/api/v1/screenings/{site.screenings()[1].id}/reviews"
    assert site.token_client(rita).post(review, json={"finding": "viral"}).status_code == 201
    assert said not in site.browser(rita).get(address).text
    (link,) = re.findall(rf'<a href="([^"]+)">{said}: 1</a>', pages.get(address).text)
    listed = pages.get(link.replace("&amp;", "&")).text
    assert listed.count("Result hidden") == 1
    assert [str(row.id) in listed for row in site.screenings()] == [False, True, False, False]
    assert site.token_client(sam).post(review, json={"finding": "normal"}).status_code == 201
    assert said not in pages.get(address).text


def test_the_report_of_a_job_counts_and_lists_the_most_suspicious_first(site: Site) -> None:
    text = text_of(job_report(site, reader(site)))
    flat = re.sub(r"\s+", " ", text)
    for part in ("Ward 3", "Flagged 2", "Not flagged 1", "Refused 1", "Unknown format 1", "Finished. 4 X-rays"):
        assert part in flat
    places = [text.index(name) for name in ("image-1.png", "image-2.png", "image-0.png", "notes.txt")]
    assert places == sorted(places)
    assert "1 image-1.png 91 40 Flagged Not read yet" in flat
    assert "Decision support, not a diagnosis." in text


def test_a_long_job_lists_so_many_and_says_how_many_it_leaves_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST_LISTED", 1)
    monkeypatch.setattr(page, "MOST_REFUSED", 0)
    text = re.sub(r"\s+", " ", text_of(job_report(site, reader(site))))
    assert "image-1.png" in text
    assert "image-2.png" not in text
    assert "2 more X-rays, with suspicion 91 or less, are not in this table" in text
    assert "notes.txt" not in text
    assert "1 more X-ray without a result is not in this table" in text


def test_a_job_that_goes_on_says_so(site: Site) -> None:
    with site.database.write() as session:
        session.execute(update(Screening).where(Screening.file_name == "image-0.png").values(state=State.QUEUED))
    text = re.sub(r"\s+", " ", text_of(job_report(site, reader(site))))
    assert "This job has not finished" in text
    assert "Waiting or being screened 1" in text


def test_a_picture_that_is_gone_leaves_its_place_and_the_reason(site: Site) -> None:
    for path in site.stored():
        path.unlink()
    answer = image_report(site, reader(site), 1)
    assert not read(answer).pages[0].images
    assert "no longer in the image store" in text_of(answer)
    assert "Suspicion 91" in text_of(answer)


def test_what_was_refused_has_its_reason(site: Site) -> None:
    text = re.sub(r"\s+", " ", text_of(image_report(site, reader(site), 3)))
    assert "This file was not kept." in text
    assert "Refused" in text
    assert "JPEG" in text


def test_a_report_without_a_result_is_all_in_the_language_of_the_pages(
    settings: Settings, sqlite_database: Database, spec: ModelSpec
) -> None:
    site = make_site(settings, sqlite_database, spec, blind_second_reading=True)
    said = {"finding": "viral"}
    address = f"/api/v1/screenings/{site.screenings()[1].id}/reviews"
    assert reader(site).post(address, json=said).status_code == 201
    browser = site.browser(site.add_user("sam", Role.READER))
    hidden, refused = (text_of(image_report(site, browser, position, "es")) for position in (1, 3))
    assert "Resultado oculto" in hidden
    assert "Result hidden" not in hidden
    assert "Rechazada" in refused
    assert "Rejected" not in refused


def test_an_image_of_any_shape_stays_on_its_page(site: Site) -> None:
    sender = site.token_client(site.add_user("tom"))
    for size in ((64, 2000), (2000, 64)):
        assert post_images(sender, ("long.png", encode(draw(7, size), "PNG"))).status_code == 202
        with site.database.write() as session:
            newest = session.query(Screening).order_by(Screening.id.desc()).first()
            assert newest is not None
            newest.state, newest.finished_at = State.FAILED, now()
            key = newest.id
        assert len(read(sender.get(f"/screenings/{key}/report.pdf")).pages) == 1


def test_hostile_names_are_only_names(site: Site) -> None:
    name = '<img src=x>{nb}\u202e"; rm -rf "' + "a" * 400 + ".png"
    with site.database.write() as session:
        session.execute(update(Screening).where(Screening.file_name == "image-1.png").values(file_name=name))
    rita = reader(site)
    answer = image_report(site, rita, 1)
    text = text_of(answer).replace("\n", "")
    assert "<img src=x>{nb}[U+202E]" in text
    assert name not in str(answer.headers)
    assert "91" in text_of(job_report(site, rita))


@pytest.fixture
def own_logging() -> Iterator[None]:
    """Put back what `configure_logging` changes."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    with warnings.catch_warnings():
        yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("own_logging")
def test_the_log_does_not_hold_the_letters_of_a_report(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    # Written by a fallback font that holds nothing else, the letters of a Chinese name are the name.
    with site.database.write() as session:
        session.execute(update(Screening).values(file_name="\u738b\u5c0f\u660e \ua66e.png"))
    configure_logging()
    assert "\u738b\u5c0f\u660e" in text_of(image_report(site, reader(site), 0))
    said = capsys.readouterr().err.lower()
    assert "738b" not in said
    assert not re.search("fonttools|fpdf", said), said
