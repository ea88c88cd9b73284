"""Whose a radiograph is, by its header: placeholders are nobody, and nothing of a header stands in clear."""

import io
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from pydantic import SecretStr
from pydicom import Dataset

from shared.images.dicom import read_header
from shared.images.dicom_patient import Patient, read_patient
from shared.intake.pseudonyms import conceal, conceal_key, conceal_patient
from shared.settings import Settings
from tests.drawn_files import radiograph

KEYED = Settings(secret_key=SecretStr("one key of many letters"))
PIXELS = np.arange(96 * 96, dtype=np.uint8).reshape(96, 96)


def patient(**tags: object) -> Patient | None:
    return read_header(io.BytesIO(radiograph(PIXELS, **tags))).patient


def pseudonym(settings: Settings = KEYED, **tags: object) -> str | None:
    found = patient(**tags)
    return None if found is None else conceal_patient(found, settings)


# ---------------------------------------------------------------- who it is


@pytest.mark.parametrize(
    "number",
    ["", " ", "\0", "0", "000", "99999999", "XXXX", "-", "--", ".", "N/A", "n.a.", "ANONYMOUS", "anonymous ", "Anon",
     "Anonymisé", "ANÓNIMO", "unknown", "UNKNOWN^", "Unbekannt", "NONE", "null", "Test", "TEST PATIENT", "No ID",
     "patient_id", "12345", "1234567890", "John^Doe", "匿名", "未知", "مجهول", "अज्ञात", "x" * 65, "a\\b", "a\nb"],
)  # fmt: skip
def test_what_names_nobody_in_particular_is_no_patient(number: str) -> None:
    assert patient(PatientID=number) is None


def test_a_header_without_a_number_is_no_patient() -> None:
    assert patient() is None
    assert patient(PatientName="Mustermann^Max", PatientBirthDate="20200101") is None


@pytest.mark.parametrize("number", ["7001", "4711-A", "NONE-17", "M. 12", "100", "123", "ANON0042", "病院12"])
def test_other_numbers_are_patients(number: str) -> None:
    assert patient(SpecificCharacterSet="ISO_IR 192", PatientID=number) is not None


def test_a_number_that_cannot_be_read_is_no_patient() -> None:
    assert patient(PatientID="4711", IssuerOfPatientID="a\\b") is None
    data = radiograph(PIXELS, SpecificCharacterSet="ISO_IR 192", PatientID="Nr4711")
    damaged = data.replace(b"Nr4711", b"\xff\xfe4711")
    assert read_header(io.BytesIO(damaged)).patient is None


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("SQ", [Dataset()]),
        ("SQ", []),
        ("US", 4711),
        ("FD", [4.7, 1.1]),
        ("OB", b"4711"),
        ("UN", b"\0"),
        ("AT", 0x471100),
    ],
)
def test_elements_of_another_kind_are_no_number_and_no_day(kind: str, found: object) -> None:
    header = Dataset()
    header.add_new("PatientID", kind, found)
    assert read_patient(header) is None
    header = Dataset()
    header.PatientID = "4711"
    for name in ("PatientBirthDate", "StudyDate"):
        header.add_new(name, kind, found)
    patient = read_patient(header)
    assert patient is not None
    assert (patient.born, patient.taken_on) == ("", None)


def test_a_patient_is_not_written_by_accident() -> None:
    found = patient(PatientID="Mustermann4711")
    assert "Mustermann" not in f"{found!r} {found} {[found]}"


# ---------------------------------------------------------------- the pseudonym


def test_the_same_patient_has_the_same_pseudonym_in_whatever_form_it_is_written() -> None:
    plain = pseudonym(PatientID="4711", IssuerOfPatientID="Ward A", PatientBirthDate="20200131")
    padded = pseudonym(PatientID=" 4711 ", IssuerOfPatientID="Ward A  ", PatientBirthDate="20200131 ")
    wide = pseudonym(
        SpecificCharacterSet="ISO_IR 192", PatientID="４７１１", IssuerOfPatientID="Ward A", PatientBirthDate="20200131"  # noqa: RUF001  # as devices in Japan write it
    )  # fmt: skip
    assert plain == padded == wide
    assert plain is not None
    assert len(plain) == 64
    assert set(plain) <= set("0123456789abcdef")


def test_another_number_issuer_or_date_of_birth_is_another_patient() -> None:
    told: list[dict[str, object]] = [
        {"PatientID": "4711"},
        {"PatientID": "4712"},
        {"PatientID": "4711", "IssuerOfPatientID": "A"},
        {"PatientID": "4711", "PatientBirthDate": "20200131"},
        {"PatientID": "4711", "PatientBirthDate": "20200201"},
        {"PatientID": "711", "IssuerOfPatientID": "4"},
        {"PatientID": "a4711"},
        {"PatientID": "A4711"},
    ]
    assert len({pseudonym(**tags) for tags in told}) == len(told)


def test_a_date_of_birth_that_is_none_says_nothing() -> None:
    assert pseudonym(PatientID="4711", PatientBirthDate="20201399") == pseudonym(PatientID="4711")


def test_another_key_gives_another_and_no_key_none() -> None:
    apart = KEYED.model_copy(update={"pseudonym_key": SecretStr("a key of its own")})
    other = KEYED.model_copy(update={"secret_key": SecretStr("another key of letters")})
    found = {pseudonym(settings, PatientID="4711") for settings in (KEYED, apart, other)}
    assert len(found) == 3
    assert None not in found
    rotated = apart.model_copy(update={"secret_key": SecretStr("another key of letters")})
    assert pseudonym(rotated, PatientID="4711") == pseudonym(apart, PatientID="4711")
    assert pseudonym(Settings(), PatientID="4711") is None, "without a key anybody could make it"
    assert pseudonym(KEYED.model_copy(update={"match_patients": False}), PatientID="4711") is None


def test_what_other_pseudonyms_show_gives_nothing_of_it() -> None:
    names = KEYED.model_copy(update={"pseudonymise_names": True})
    kept = pseudonym(PatientID="4711")
    assert kept is not None
    for name in ("4711", '["", "4711", ""]', "patients/v1"):
        shown = {*conceal(name, names).split("/"), conceal_key(name, names)}
        assert not any(part in kept or kept.startswith(part[:20]) for part in shown)


# ---------------------------------------------------------------- the day


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"StudyDate": "20250315"}, date(2025, 3, 15)),
        ({"StudyDate": "20250315", "AcquisitionDate": "20250316"}, date(2025, 3, 16)),
        ({"StudyDate": "20250315", "AcquisitionDate": ""}, date(2025, 3, 15)),
        ({"StudyDate": "20250315", "AcquisitionDate": "20251340"}, date(2025, 3, 15)),
        ({"StudyDate": "2025.03.15"}, date(2025, 3, 15)),
        ({"StudyDate": "2025.0315"}, None),
        ({"StudyDate": "2025115"}, None),
        ({"StudyDate": "18950101"}, None),
        ({"StudyDate": "00010101"}, None),
        ({"StudyDate": "20990101"}, None),
        ({}, None),
    ],
)
def test_a_day_is_taken_where_it_can_be_one(tags: dict[str, object], expected: date | None) -> None:
    found = patient(PatientID="4711", **tags)
    assert found is not None
    assert found.taken_on == expected


def test_it_may_be_tomorrow_where_the_x_ray_was_taken() -> None:
    days = [datetime.now(UTC).date() + timedelta(days=ahead) for ahead in (1, 3)]
    found = [patient(PatientID="4711", StudyDate=f"{day:%Y%m%d}") for day in days]
    assert [it and it.taken_on for it in found] == [days[0], None]
