"""How many scans a JPEG is built of: each costs a pass over all of its pixels, and may be written in fifty bytes."""

from typing import Final

from shared.errors import FilmRejected, Rejection

MOST_SCANS: Final = 100
"""As many as libtiff takes (LIBTIFF_JPEG_MAX_ALLOWED_SCAN_NUMBER). A progressive film has ten. One of 36 megapixels
took 0.4 s to decode, and 5.8 s with 100 scans more, which are 6 kB; a film of 64 MiB could hold a million."""
_START_OF_SCAN: Final = b"\xff\xda"  # inside a scan 0xFF is followed by 0 (ITU T.81, B.1.1.5)


def refuse_scan_bomb(data: bytes) -> None:
    """Raise FilmRejected where a JPEG would be decoded in more than MOST_SCANS passes."""
    scans = data.count(_START_OF_SCAN)
    if scans > MOST_SCANS:
        raise FilmRejected(
            Rejection.UNREADABLE_IMAGE,
            f"The JPEG is made of {scans:,} scans; at most {MOST_SCANS} are decoded. Export the film again.",
        )
