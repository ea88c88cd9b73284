"""The codes of refusals, as used in tables, API, pages and docs, and the form of their parameters."""

from enum import StrEnum
from typing import Final

Scalar = str | int | float | bool | None
Details = dict[str, Scalar]

CASE: Final = "case"
"""The parameter that chooses a sentence."""


class Rejection(StrEnum):
    """Why a file cannot be screened; the value is the code in tables, API, pages and docs."""

    EMPTY_FILE = "empty_file"
    UNKNOWN_FORMAT = "unknown_format"
    UNREADABLE_IMAGE = "unreadable_image"
    TRUNCATED_IMAGE = "truncated_image"
    DAMAGED_SCAN = "damaged_scan"
    SEVERAL_IMAGES = "several_images"
    UNSUPPORTED_FORM = "unsupported_form"
    NO_CONTENT = "no_content"
    TOO_LARGE = "too_large"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SMALL = "too_small"
    DICOM_UNSUPPORTED = "dicom_unsupported"
    NOT_A_RADIOGRAPH = "not_a_radiograph"
    NO_LUNGS = "no_lungs"
    NOT_CHEST = "not_chest"
    NOT_FRONTAL = "not_frontal"
    ROTATED = "rotated"
    INVERTED = "inverted"
    CUT_OFF = "cut_off"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    OUTSIDE_INTENDED_USE = "outside_intended_use"
    IMAGE_MISSING = "image_missing"
    IMAGE_DAMAGED = "image_damaged"
    ZIP_UNREADABLE = "zip_unreadable"
    ZIP_TOO_MANY_ENTRIES = "zip_too_many_entries"
    ZIP_TOO_LARGE = "zip_too_large"
    ZIP_EMPTY = "zip_empty"
    ZIP_ENTRY_BOMB = "zip_entry_bomb"
    ZIP_ENTRY_ENCRYPTED = "zip_entry_encrypted"
    ZIP_ENTRY_NESTED = "zip_entry_nested"
    ZIP_ENTRY_UNSAFE_NAME = "zip_entry_unsafe_name"
    ZIP_ENTRY_DAMAGED = "zip_entry_damaged"
    ZIP_ENTRY_UNSUPPORTED = "zip_entry_unsupported"


OF_THE_GATE: Final = frozenset({
    Rejection.NOT_CHEST, Rejection.NOT_FRONTAL, Rejection.ROTATED, Rejection.INVERTED, Rejection.CUT_OFF,
    Rejection.TOO_DARK, Rejection.TOO_BRIGHT, Rejection.OUTSIDE_INTENDED_USE,
})  # fmt: skip
"""Images that can be shown, but that the model is not made for; a site may let them pass."""
MAY_CHANGE: Final = frozenset({Rejection.IMAGE_MISSING, Rejection.IMAGE_DAMAGED})
"""Refusals because of the stored copy, which sending the same image again repairs. Every other refusal of a stored
image is due to the image itself and would recur."""


class Failure(StrEnum):
    """Why an X-ray was set aside after several attempts, though nothing is known to be wrong with the image."""

    WORKER_LOST = "worker_lost"
    IMAGE_UNREADABLE = "image_unreadable"
