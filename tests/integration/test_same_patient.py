"""X-rays of one patient beside each other: who finds which, what reads blind, what is kept and what never is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import select, update

from shared.db import Database, now
from shared.models.spec import ModelSpec
from shared.queue.retention import purge
from shared.settings import Settings
from shared.tables import AuditEvent, Image, Role, Screening
from tests.drawn_files import picture, radiograph
from tests.web_site import Site, make_zip, post_images, press
from web.images import same_patient

NUMBER = "Mustermann-4711"


def xray(seed: int, number: str | None = NUMBER, day: str | None = None, **tags: object) -> bytes:
    """A radiograph that shows something else with each seed."""
    told = {"PatientID": number, "StudyDate": day, **tags}
    return radiograph(
        (picture(seed=seed) * 255).astype(np.uint8),
        **{name: value for name, value in told.items() if value is not None},
    )


@pytest.fixture
def site(settings: Settings, database: Database) -> Site:
    return Site(settings, database)


@pytest.fixture
def tina(site: Site) -> FlaskClient:
    return site.token_client(site.add_user("tina"))


def send(site: Site, client: FlaskClient, *images: bytes) -> list[str]:
    """Send images as one job, and return the ids of their screenings in order."""
    known = {screening.id for screening in site.screenings()}
    assert post_images(client, *[(f"{n}.dcm", data) for n, data in enumerate(images)]).status_code == 202
    return [str(screening.id) for screening in site.screenings() if screening.id not in known]


def ask(client: FlaskClient, screening: str) -> dict[str, Any]:
    answer = client.get(f"/api/v1/screenings/{screening}/same-patient")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json
    return body


def others(client: FlaskClient, screening: str) -> list[tuple[str, str]]:
    return [(it["screening"]["id"], it["when"]) for it in ask(client, screening)["others"]]


def patients(site: Site) -> list[str | None]:
    with site.database.read() as session:
        return list(session.scalars(select(Image.patient).order_by(Image.id)))


# ---------------------------------------------------------------- who finds which


def test_x_rays_of_one_patient_find_each_other_by_their_days(site: Site, tina: FlaskClient) -> None:
    newest, oldest, middle, twin, stranger = send(
        site, tina, xray(1, day="20260310"), xray(2, day="20240110"), xray(3, day="20251201"),
        xray(4, day="20251201"), xray(5, "Other-9", "20251201"),
    )  # fmt: skip
    assert others(tina, middle) == [(newest, "later"), (twin, "same_day"), (oldest, "earlier")]
    assert others(tina, newest) == [(twin, "earlier"), (middle, "earlier"), (oldest, "earlier")]
    body = ask(tina, stranger)
    assert (body["is_known"], body["taken_on"], body["others"]) == (True, "2025-12-01", [])
    assert ask(tina, oldest)["others"][0]["taken_on"] == "2026-03-10"


def test_without_a_day_in_the_header_that_of_the_upload_counts(site: Site, tina: FlaskClient) -> None:
    old, new = send(site, tina, xray(1, day="20240110"), xray(2))
    (found,) = ask(tina, new)["others"]
    assert (found["screening"]["id"], found["when"], found["taken_on"]) == (old, "earlier", "2024-01-10")
    assert ask(tina, new)["taken_on"] is None
    page = site.browser(site.add_user("rita", Role.READER)).get(f"/screenings/{new}").text
    assert "10 Jan 2024" in page
    assert "years earlier" not in page, "how long is not known"


@pytest.mark.parametrize("number", [None, "", "ANONYMOUS", "0", "unknown"])
def test_placeholders_bring_nobody_together(site: Site, tina: FlaskClient, number: str | None) -> None:
    one, two = send(site, tina, xray(1, number, "20240110"), xray(2, number, "20250110"))
    assert ask(tina, one) == {"is_known": False, "taken_on": None, "others": []}
    assert patients(site) == [None, None]
    assert "of this patient" not in site.browser(site.add_user("rita", Role.READER)).get(f"/screenings/{two}").text


def test_an_issuer_and_a_date_of_birth_keep_patients_apart(site: Site, tina: FlaskClient) -> None:
    sent = send(
        site, tina, xray(1, IssuerOfPatientID="A"), xray(2, IssuerOfPatientID="B"),
        xray(3, IssuerOfPatientID="A", PatientBirthDate="20200101"), xray(4, IssuerOfPatientID="A"),
    )  # fmt: skip
    assert [len(others(tina, screening)) for screening in sent] == [1, 0, 0, 1]


def test_images_in_a_zip_have_a_patient_too(site: Site, tina: FlaskClient) -> None:
    packed = make_zip({"a.dcm": xray(1, day="20240110"), "b.dcm": xray(2, day="20250110")})
    assert post_images(tina, ("disc.zip", packed)).status_code == 202
    one, two = (str(screening.id) for screening in site.screenings())
    assert others(tina, two) == [(one, "earlier")]


def test_a_technician_finds_the_own_ones_and_a_reader_all(site: Site, tina: FlaskClient) -> None:
    (hers,) = send(site, tina, xray(1, day="20240110"))
    tom = site.token_client(site.add_user("tom"))
    (his,) = send(site, tom, xray(2, day="20250110"))
    assert others(tom, his) == []
    assert tom.get(f"/api/v1/screenings/{hers}/same-patient").status_code == 404
    rita = site.token_client(site.add_user("rita", Role.READER))
    assert others(rita, his) == [(hers, "earlier")]
    page = site.browser(site.add_user("theo")).get(f"/screenings/{his}")
    assert page.status_code == 404
    with site.database.write() as session:  # the same X-ray in a job of his own
        session.execute(update(Screening).values(file_name="x.dcm"))
    (again,) = send(site, tom, xray(1, day="20240110"))
    assert others(tom, his) == [(again, "earlier")], "by his own job, not by hers"


def test_one_image_in_several_jobs_is_one_x_ray(site: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    (first,) = send(site, tina, xray(1, day="20240110"))
    site.work(spec, {})
    (second,) = send(site, tina, xray(1, day="20240110"))
    (third,) = send(site, tina, xray(2, day="20250110"))
    (found,) = ask(tina, third)["others"]
    assert found["screening"]["id"] == first, "the one with a result"
    assert others(tina, second) == [(third, "later")], "and not itself"


def test_a_deleted_x_ray_is_gone_with_its_pseudonym(site: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    (old,) = send(site, tina, xray(1, day="20240110"))
    (new,) = send(site, tina, xray(2, day="20250110"))
    site.work(spec, {})
    job = site.screenings()[0].job_id
    assert tina.delete(f"/api/v1/jobs/{job}").status_code == 204
    assert others(tina, new) == []
    assert tina.get(f"/api/v1/screenings/{old}/same-patient").status_code == 404
    assert len(patients(site)) == 1
    for _ in purge(site.database, site.store, now()):
        pass
    assert patients(site) == []


def test_a_refused_x_ray_is_offered_where_it_can_be_seen(site: Site, tina: FlaskClient) -> None:
    old, damaged, new = send(site, tina, *(xray(n, day=f"202{n}0110") for n in (1, 2, 3)))
    with site.database.write() as session:
        for key, code in ((old, "not_frontal"), (damaged, "unreadable_image")):
            row = next(it for it in session.scalars(select(Screening)) if str(it.id) == key)
            row.state, row.error_code = "REJECTED", code
    assert others(tina, new) == [(old, "earlier")]


def test_a_number_of_too_many_x_rays_is_no_patients(
    site: Site, tina: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = send(site, tina, *(xray(n) for n in range(3)))
    assert len(others(tina, sent[0])) == 2
    monkeypatch.setattr(same_patient, "MOST_IMAGES", 2)
    assert ask(tina, sent[0])["is_known"] is False


# ---------------------------------------------------------------- blind second reading


def blind_site(settings: Settings, database: Database, spec: ModelSpec) -> tuple[Site, str, str]:
    site = Site(settings, database, blind_second_reading=True)
    old, new = send(site, site.token_client(site.add_user("tina")), xray(1, day="20240110"), xray(2, day="20250110"))
    with site.database.read() as session:
        shas = list(session.scalars(select(Image.sha256)))
    site.work(spec, dict.fromkeys(shas, 0.91))
    return site, old, new


def test_a_blind_reader_sees_results_only_of_what_that_reader_has_read(
    settings: Settings, sqlite_database: Database, spec: ModelSpec
) -> None:
    site, old, new = blind_site(settings, sqlite_database, spec)
    ruth, rita = (site.add_user(name, Role.READER) for name in ("ruth", "rita"))
    programs = {user.name: site.token_client(user) for user in (ruth, rita)}
    said = {"finding": "viral", "note": "Left lower lobe."}
    assert programs["ruth"].post(f"/api/v1/screenings/{old}/reviews", json=said).status_code == 201

    def found(name: str, screening: str) -> dict[str, Any]:
        (other,) = ask(programs[name], screening)["others"]
        row: dict[str, Any] = other["screening"]
        return row

    hidden = found("rita", new)
    assert (hidden["hidden"], hidden["label"], hidden["p_pneumonia"], hidden["model"]) == (True, None, None, None)
    assert (hidden["reviews"], hidden["review_note"], hidden["review_state"]) == (0, None, "unread")
    assert found("ruth", new)["p_pneumonia"] == pytest.approx(0.91)
    assert found("rita", old)["hidden"], "read by nobody, and not by rita either"
    page = site.browser(rita).get(f"/screenings/{new}").text
    panel = page.partition('id="same-patient"')[2].partition("</section>")[0]
    assert "10 Jan 2024" in panel
    assert "Result hidden" in panel
    assert "Suspicion" in panel, "of the X-ray that is read, which nobody has read"
    assert "Suspicion" not in panel.partition("<li")[2]
    assert "lower lobe" not in page
    seen = programs["rita"].post(f"/api/v1/screenings/{old}/reviews", json={"finding": "normal"})
    assert seen.status_code == 201
    assert found("rita", new)["p_pneumonia"] == pytest.approx(0.91)


def test_an_administrator_sees_every_result(settings: Settings, sqlite_database: Database, spec: ModelSpec) -> None:
    site, old, new = blind_site(settings, sqlite_database, spec)
    ruth = site.token_client(site.add_user("ruth", Role.READER))
    assert ruth.post(f"/api/v1/screenings/{old}/reviews", json={"finding": "viral"}).status_code == 201
    (found,) = ask(site.token_client(site.add_user("ada", Role.ADMIN)), new)["others"]
    assert found["screening"]["p_pneumonia"] == pytest.approx(0.91)


# ---------------------------------------------------------------- what is kept


def test_neither_number_nor_pseudonym_is_given_out(settings: Settings, sqlite_database: Database) -> None:
    site = Site(settings, sqlite_database)
    tina = site.token_client(site.add_user("tina"))
    told = {"IssuerOfPatientID": "Mustermann-Ward", "PatientBirthDate": "20200131"}
    one, _ = send(site, tina, xray(1, day="20240110", **told), xray(2, day="20250110", **told))
    (kept,) = set(patients(site))
    assert kept is not None
    assert "Mustermann" not in kept
    ada = site.add_user("ada", Role.ADMIN)
    program, browser = site.token_client(ada), site.browser(ada)
    addresses = [
        f"/api/v1/screenings/{one}/same-patient", "/api/v1/predictions", "/api/v1/predictions?format=csv",
        "/api/v1/audit", "/metrics", "/readyz",
    ]  # fmt: skip
    answers = [program.get(address) for address in addresses]
    answers += [browser.get(address) for address in (f"/screenings/{one}", "/history", "/worklist", "/audit")]
    for answer in answers:
        assert answer.status_code == 200
        assert kept not in answer.text
        assert "Mustermann" not in answer.text
    database = Path(sqlite_database.engine.url.database or "")
    written = [path.read_bytes() for path in database.parent.glob(f"{database.name}*")]
    assert any(kept.encode() in data for data in written)
    assert not any(b"Mustermann" in data or b"20200131" in data or b"2020-01-31" in data for data in written)


def test_the_switch_keeps_and_shows_nothing(settings: Settings, sqlite_database: Database) -> None:
    off = Site(settings, sqlite_database, match_patients=False)
    send(off, off.token_client(off.add_user("tina")), xray(1), xray(2))
    with off.database.read() as session:
        assert session.execute(select(Image.patient, Image.taken_on).distinct()).all() == [(None, None)]
    on = Site(settings, sqlite_database)
    tom = on.add_user("tom")
    one, _ = send(on, on.token_client(tom), xray(3, day="20240110"), xray(4, day="20250110"))
    assert len(others(on.token_client(tom), one)) == 1
    assert ask(off.token_client(tom), one)["is_known"] is False


def test_under_another_key_x_rays_find_each_other_once_they_are_sent_again(
    settings: Settings, database: Database
) -> None:
    before, after = (
        Site(settings, database, pseudonym_key=SecretStr(key))
        for key in ("a first key of letters", "another key of them")
    )
    user = before.add_user("tina")
    send(before, before.token_client(user), xray(1, day="20240110"))
    tina = after.token_client(user)
    (new,) = send(after, tina, xray(2, day="20250110"))
    assert others(tina, new) == []
    (again,) = send(after, tina, xray(1, day="20240110"))
    assert others(tina, new) == [(again, "earlier")]
    assert len(set(patients(after))) == 1


def test_images_of_before_patients_were_kept_get_theirs_when_sent_again(site: Site, tina: FlaskClient) -> None:
    send(site, tina, xray(1, day="20240110"))
    with site.database.write() as session:
        session.execute(update(Image).values(patient=None, taken_on=None))
    (new,) = send(site, tina, xray(2, day="20250110"))
    assert others(tina, new) == []
    (old,) = send(site, tina, xray(1, day="20240110"))
    assert others(tina, new) == [(old, "earlier")]


# ---------------------------------------------------------------- the page


def test_the_page_names_and_links_the_others(site: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    old, older, new = send(site, tina, xray(1, day="20251220"), xray(2, day="20230110"), xray(3, day="20260110"))
    with site.database.read() as session:
        sha256 = session.scalars(select(Image.sha256).join(Screening).order_by(Screening.position)).all()
    site.work(spec, {sha256[0]: 0.91})
    rita = site.browser(site.add_user("rita", Role.READER))
    page = rita.get(f"/screenings/{new}").text
    panel = page.partition('id="same-patient"')[2].partition("</section>")[0]
    assert "2 earlier X-rays of this patient" in panel
    for text in ("20 Dec 2025", "21 days earlier", "10 Jan 2023", "3 years earlier", f"/screenings/{old}"):
        assert text in panel
    assert panel.index("20 Dec 2025") < panel.index("10 Jan 2023")
    assert f"/screenings/{older}" in panel
    assert "Above the threshold" in panel
    assert "/pixels" in panel
    assert old not in viewed(site), "only opening it side by side, or its own page, is a view"
    panel = rita.get(f"/screenings/{older}").text.partition('id="same-patient"')[2].partition("</section>")[0]
    assert "Other X-rays of this patient" in panel
    assert "3 years later" in panel


def viewed(site: Site) -> list[str | None]:
    """Every X-ray that the audit trail has as opened."""
    with site.database.read() as session:
        return list(session.scalars(select(AuditEvent.subject).where(AuditEvent.action == "image_viewed")))


def test_the_day_of_a_header_is_the_same_in_every_zone(site: Site, tina: FlaskClient) -> None:
    _, new = send(site, tina, xray(1, day="20240110"), xray(2, day="20250110"))
    rita = site.browser(site.add_user("rita", Role.READER))
    assert press(rita, "/account/settings", "/account", time_zone="Pacific/Kiritimati").status_code == 303
    assert "10 Jan 2024" in rita.get(f"/screenings/{new}").text
