"""Whose radiograph a DICOM file is, and of which day, by its header. What a room or a program fills in is nobody.

Two X-rays are taken for one patient's only where the number of the patient, who gave it out and the date of birth are
all the same: beside the wrong patient's X-ray a reader may err, without one nobody does.
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
"""Of a Long String (PS3.5, 6.2); in a damaged file other elements run into it."""
_FIRST_DAY: Final = date(1895, 11, 8)  # Röntgen's discovery
_AHEAD: Final = timedelta(days=1)
"""It may be tomorrow already where the X-ray was taken."""
_COUNTED_UP: Final = "01234567890"
_LEAST_COUNTED: Final = 4


@dataclass(frozen=True, repr=False)
class Patient:
    """Who a header names. It has no `repr`, so that no log shows it; only its pseudonym is kept."""

    issuer: str
    """Who gave the number out; empty where the header does not say."""
    number: str
    born: str
    """YYYY-MM-DD; empty where the header has no date of birth."""
    taken_on: date | None
    """The day of the acquisition, else of the study; None where the header has none that can be."""


def read_patient(header: "Dataset") -> Patient | None:
    """Return whose radiograph it is; None where the header names nobody, or what names nobody in particular."""
    number, issuer = _line(header, "PatientID"), _line(header, "IssuerOfPatientID")
    if not number or issuer is None or _is_nobody(number):
        return None
    born = day(header, "PatientBirthDate")
    return Patient(issuer, number, born.isoformat() if born else "", _taken_on(header))


def _line(header: "Dataset", name: str) -> str | None:
    """Return a Long String in one form; None where there are several, or it cannot be read as it was written."""
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
    """Leave letters and digits alone, small and without accents."""
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
"""What stands for a number that nobody knew or that was taken out, in the languages of the pages."""
