"""Why an X-ray has no result: the one table of codes, and the only place where their texts are made."""

from shared.refusals.codes import CASE, MAY_CHANGE, OF_THE_GATE, Details, Failure, Rejection, Scalar
from shared.refusals.explanation import Explanation, explain
from shared.refusals.texts import REFUSALS, TERMS, Case, Refusal

__all__ = [
    "CASE",
    "MAY_CHANGE",
    "OF_THE_GATE",
    "REFUSALS",
    "TERMS",
    "Case",
    "Details",
    "Explanation",
    "Failure",
    "Refusal",
    "Rejection",
    "Scalar",
    "explain",
]
