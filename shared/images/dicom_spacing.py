"""DICOM: the aspect ratio and the spacing of a radiograph's pixels."""

from typing import TYPE_CHECKING, Final

from shared.images import full_depth
from shared.images.dicom_numbers import numbers, word

if TYPE_CHECKING:
    from pydicom import Dataset

_MOST_STRETCHED: Final = 4.0
_LEAST_STRETCHED: Final = 1.01  # smaller ratios are rounding errors of the spacings
_PIXEL_SHAPES: Final = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
_FINEST: Final = 0.001
_COARSEST: Final = 10.0
"""In mm: detectors have pixels of 0.05 to 0.2; outside these bounds the header is wrong and lengths are unknown."""


def shown_size(header: "Dataset") -> tuple[int, int]:
    """Return the width and height at which a radiograph's pixels are square: the longer side of each is kept."""
    columns, rows = int(header.Columns), int(header.Rows)
    for keyword in _PIXEL_SHAPES:
        sides = numbers(header, keyword)
        if len(sides) != 2 or sides[0] is None or sides[1] is None or min(sides[0], sides[1]) <= 0:
            continue
        ratio = sides[0] / sides[1]
        if not _LEAST_STRETCHED <= max(ratio, 1 / ratio) <= _MOST_STRETCHED:
            break
        return (columns, round(rows * ratio)) if ratio > 1 else (round(columns / ratio), rows)
    return columns, rows


def read_spacing(header: "Dataset", size: tuple[int, int]) -> full_depth.Spacing | None:
    """Return the pixel spacing of an image shown at `size` (PS3.3, 10.7.1); None where the header has none.

    Pixel Spacing that differs from Imager Pixel Spacing was corrected for the body's distance from the detector, or a
    calibration type says so. Otherwise lengths are in the detector plane, where the body appears larger.
    """
    plain = {name: sides for name in _PIXEL_SHAPES[:3] if (sides := _sides(header, name)) is not None}
    name = next(
        (name for name in plain if name != "PixelSpacing" or plain[name] != plain.get("ImagerPixelSpacing")), ""
    )
    if not name:
        return None
    kind = word(header, "PixelSpacingCalibrationType") if name == "PixelSpacing" else ""
    is_corrected = name == "PixelSpacing" and (kind in {"GEOMETRY", "FIDUCIAL"} or "ImagerPixelSpacing" in plain)
    down, across = plain[name]
    return full_depth.Spacing(
        down=down * int(header.Rows) / size[1],
        across=across * int(header.Columns) / size[0],
        source=name,
        is_corrected=is_corrected,
    )


def _sides(header: "Dataset", keyword: str) -> tuple[float, float] | None:
    """Return the distance of rows and of columns in mm; None where they are impossible."""
    sides = numbers(header, keyword)
    if len(sides) != 2 or sides[0] is None or sides[1] is None or not _FINEST <= min(sides[0], sides[1]) <= _COARSEST:
        return None
    return sides[0], sides[1]
