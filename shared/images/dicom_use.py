"""Check by its DICOM header whether a radiograph is within a model's intended use: age, body part and view.

Missing or unknown values refuse nothing: the image itself is checked as well.
"""

import io
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from shared.errors import ImageRejected
from shared.images.dicom_elements import day, text, value
from shared.images.dicom_file import read
from shared.models.spec import Gate
from shared.refusals import Rejection

if TYPE_CHECKING:
    from pydicom import Dataset

_OTHER_PARTS: Final = frozenset({
    "ABDOMEN", "ABDOMENPELVIS", "ANKLE", "ARM", "BLADDER", "BRAIN", "BREAST", "BUTTOCK", "CALCANEUS", "CALF",
    "COCCYX", "COLON", "CSPINE", "CTSPINE", "EAR", "ELBOW", "EXTREMITY", "EYE", "FACE", "FEMUR", "FINGER", "FOOT",
    "FOREARM", "GALLBLADDER", "HAND", "HEAD", "HEADNECK", "HIP", "HUMERUS", "ILIUM", "JAW", "KIDNEY", "KNEE",
    "LARYNX", "LEG", "LIVER", "LSPINE", "LSSPINE", "MANDIBLE", "MAXILLA", "NECK", "NOSE", "ORBIT", "PATELLA",
    "PELVIS", "PENIS", "PROSTATE", "RADIUS", "RADIUSULNA", "RECTUM", "SCAPULA", "SCROTUM", "SHOULDER", "SKULL",
    "SPINE", "SSPINE", "STOMACH", "TEETH", "THIGH", "THUMB", "THYROID", "TIBIAFIBULA", "TLSPINE", "TMJ", "TOE",
    "TSPINE", "ULNA", "URETER", "URETHRA", "UTERUS", "WHOLEBODY", "WRIST", "ZYGOMA"
})  # fmt: skip
"""Defined terms of Body Part Examined (PS3.16, annex L) that no frontal chest radiograph has."""
_OTHER_VIEWS: Final = frozenset({
    "LL", "RL", "LLD", "RLD", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "LAT", "LATERAL"
})  # fmt: skip
"""Values of View Position (PS3.3, C.8.1.2 and C.8.11.1): lateral, decubitus and oblique, and what some sites write."""
_OTHER_VIEW_CODES: Final = frozenset({
    "399067008", "399198007", "399173006", "260427002", "30730003", "399182000", "399236003", "399184004",
    "399356000", "399135007", "399038007", "399006002", "R-102CD", "R-10232", "R-10236", "R-40783", "G-A145",
    "R-102C1", "R-10234", "R-10238", "R-40985", "R-10220", "R-10210", "R-10212"
})  # fmt: skip
"""Lateral, sagittal and oblique projections of the DX views (PS3.16, CID 4010), by SNOMED CT and by SNOMED RT."""
_SIDEWAYS: Final = ("A", "P")
"""First letters of Patient Orientation where rows run between front and back, as on a lateral view."""
_UNITS: Final = {"": 1.0, "D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_OLDEST: Final = 115
"""An age above this, in years, comes from a made-up date of birth."""


def refuse_unless_intended(data: bytes, gate: Gate, ignored: Collection[Rejection] = ()) -> None:
    """Raise ImageRejected where a DICOM header shows that the image is outside the model's intended use."""
    header = read(io.BytesIO(data), stop_before_pixels=True)
    refusal = _refusal_of_view(header) or _refusal_of_part(header) or _refusal_of_age(header, gate)
    if refusal is not None and refusal.code not in ignored:
        raise refusal


def _refusal_of_view(header: "Dataset") -> ImageRejected | None:
    view = text(header, "ViewPosition").upper()
    codes = _view_codes(header)
    across = text(header, "PatientOrientation").upper()
    if view in _OTHER_VIEWS or codes & _OTHER_VIEW_CODES or across.startswith(_SIDEWAYS):
        if view in _OTHER_VIEWS:
            return ImageRejected(Rejection.NOT_FRONTAL, case="named", view=view)
        return ImageRejected(Rejection.NOT_FRONTAL, case="coded")
    return None


def _refusal_of_part(header: "Dataset") -> ImageRejected | None:
    part = re.sub("[^A-Z]", "", text(header, "BodyPartExamined").upper())
    if part not in _OTHER_PARTS and part.removesuffix("S") not in _OTHER_PARTS:
        return None
    return ImageRejected(Rejection.OUTSIDE_INTENDED_USE, case="part", part=part)


def _refusal_of_age(header: "Dataset", gate: Gate) -> ImageRejected | None:
    age, (youngest, oldest) = _age(header), gate.ages
    if age is None or youngest <= age < oldest + 1:
        return None
    # Without the age itself, which is patient data: a refusal's text reaches logs and exports.
    if age < youngest:
        return ImageRejected(Rejection.OUTSIDE_INTENDED_USE, case="younger", youngest=youngest, oldest=oldest)
    return ImageRejected(Rejection.OUTSIDE_INTENDED_USE, case="older", youngest=youngest, oldest=oldest)


def _age(header: "Dataset") -> float | None:
    """Return a patient's age in years, from the header's age or dates; None where it has neither."""
    said = re.fullmatch(r"(\d{1,3})([DWMY]?)", text(header, "PatientAge").upper())
    if said is not None:
        age = int(said[1]) * _UNITS[said[2]]
        return age if age < _OLDEST else None
    born = day(header, "PatientBirthDate")
    dates = (day(header, name) for name in ("StudyDate", "AcquisitionDate", "SeriesDate", "ContentDate"))
    taken = next((found for found in dates if found is not None), None)
    if born is None or taken is None or taken < born:
        return None
    years = taken.year - born.year - ((taken.month, taken.day) < (born.month, born.day))
    return years if years < _OLDEST else None


def _view_codes(header: "Dataset") -> set[str]:
    items = value(header, "ViewCodeSequence")
    is_sequence = isinstance(items, Sequence) and not isinstance(items, str | bytes)
    return {text(item, "CodeValue") for item in items if hasattr(item, "get")} if is_sequence else set()
