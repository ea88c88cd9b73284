"""Read the patient and the date of a radiograph from its DICOM header; placeholders count as no patient.

Two X-rays count as one patient's only where patient ID, issuer and date of birth are all the same: showing the wrong
patient's X-ray can mislead a reader, showing none cannot.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from shared.images.dicom_elements import day, value

if TYPE_CHECKING:
    from pydicom import Dataset

_MOST_CHARACTERS: Final = 64
"""The longest Long String (PS3.5, 6.2); in a damaged file other elements may run into it."""
_FIRST_DAY: Final = date(1895, 11, 8)  # Röntgen's discovery
_AHEAD: Final = timedelta(days=1)
"""Where the X-ray was taken it may already be tomorrow."""
_COUNTED_UP: Final = "01234567890"
_LEAST_COUNTED: Final = 4


@dataclass(frozen=True, repr=False)
class Patient:
    """The patient in a header. It has no `repr`, so that no log shows it; only a pseudonym is stored."""

    issuer: str
    """Issuer of the patient ID; empty where the header has none."""
    number: str
    born: str
    """YYYY-MM-DD; empty where the header has no date of birth."""
    taken_on: date | None
    """The day of the acquisition, else of the study; None where the header has no plausible one."""


def read_patient(header: "Dataset") -> Patient | None:
    """Return the patient of a radiograph; None where the header names none, or only a placeholder."""
    number, issuer = _line(header, "PatientID"), _line(header, "IssuerOfPatientID")
    if not number or issuer is None or _is_nobody(number):
        return None
    born = day(header, "PatientBirthDate")
    return Patient(issuer, number, born.isoformat() if born else "", _taken_on(header))


def _line(header: "Dataset", name: str) -> str | None:
    """Return a normalised Long String; None where there are several, or it cannot be decoded."""
    found = value(header, name)
    if found is None:
        return ""
    if not isinstance(found, str):
        return None
    line = unicodedata.normalize("NFKC", found).strip(" \0")
    is_whole = len(line) <= _MOST_CHARACTERS and line.isprintable() and "\N{REPLACEMENT CHARACTER}" not in line
    return line if is_whole else None


def _is_nobody(number: str) -> bool:
    plain = _plain(number)
    counts_up = len(plain) >= _LEAST_COUNTED and plain in _COUNTED_UP
    return len(set(plain)) <= 1 or counts_up or plain in _NOBODY


def _plain(number: str) -> str:
    """Keep only letters and digits, lower case and without accents."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKD", number.casefold()))


def _taken_on(header: "Dataset") -> date | None:
    latest = datetime.now(UTC).date() + _AHEAD
    days = (day(header, name) for name in ("AcquisitionDate", "StudyDate"))
    return next((found for found in days if found is not None and _FIRST_DAY <= found <= latest), None)


_NOBODY: Final = frozenset(map(_plain, (
    "anon", "anonym", "anonyme", "anonymise", "anonymised", "anonymized", "anonymous", "anonimo", "anonimizado",
    "blank", "confidential", "deidentified", "default", "demo", "desconhecido", "desconocido", "doe", "dummy",
    "emergency", "empty", "error", "hidden", "id", "inconnu", "invalid", "janedoe", "johndoe", "masked", "missing",
    "na", "name", "nan", "new", "newpatient", "nil", "no", "nobody", "noid", "noname", "none", "nopatientid",
    "notapplicable", "notavailable", "notknown", "null", "pat", "patient", "patientid", "patientname", "phantom",
    "pid", "private", "pseudonym", "qa", "qc", "redacted", "removed", "sample", "sinid", "temp", "test", "testid",
    "testpatient", "tmp", "trauma", "unassigned", "unbekannt", "undefined", "unidentified", "unk", "unknown",
    "unnamed", "unspecified", "void", "xray", "अज्ञात", "مجهول", "匿名", "未知"
)))  # fmt: skip
"""Placeholders for an unknown or removed patient ID, in the languages of the pages."""
