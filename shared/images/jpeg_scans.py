"""Limit a JPEG's number of scans: each costs a pass over all pixels, and may take only fifty bytes."""

from itertools import islice
from typing import Final

from shared.errors import ImageRejected
from shared.images.codestreams import START_OF_SCAN
from shared.refusals import Rejection

MOST_SCANS: Final = 100
"""As many as libtiff accepts (LIBTIFF_JPEG_MAX_ALLOWED_SCAN_NUMBER). A progressive image has ten. One of 36 megapixels
took 0.4 s to decode, and 5.8 s with 100 more scans of 6 kB together; an image of 64 MiB could hold a million."""


def refuse_scan_bomb(data: bytes) -> None:
    """Raise ImageRejected where a JPEG would be decoded in more than MOST_SCANS passes."""
    if any(True for _ in islice(START_OF_SCAN.finditer(data), MOST_SCANS, None)):
        raise ImageRejected(Rejection.UNREADABLE_IMAGE, case="scans", most=MOST_SCANS)
