"""Interpret messages of libjpeg and Pillow: the only place that depends on their wording.

simplejpeg raises a ValueError with libjpeg's message and no code, and imagecodecs ignores warnings.
"""

from typing import Final

from PIL import ImageFile

DAMAGE: Final = (
    "Corrupt JPEG data",  # JWRN_EXTRANEOUS_DATA, _HIT_MARKER, _HUFF_BAD_CODE, _MUST_RESYNC, _ARITH_BAD_CODE
    "Premature end of JPEG",  # JWRN_JPEG_EOF
    "Inconsistent progression sequence",  # JWRN_BOGUS_PROGRESSION: a scan that others refine is missing
)
_NO_DAMAGE: Final = "Corrupt JPEG data: bad ICC marker"  # JWRN_BOGUS_ICC: in a colour profile, not in pixels
"""Prefixes of libjpeg-turbo 3.1's warnings (src/jerror.h) of lost data; the others concern versions and parameters."""
_SIXTEEN_BITS_A_SAMPLE: Final = (";16B", ";16L", ";16N")
"""Ends of Pillow's raw modes (PngImagePlugin._MODES, TiffImagePlugin.OPEN_INFO) whose samples have 16 bits. "BGR;16" of
BMP is not one of them: there a pixel has 16."""


def tells_of_damage(error: ValueError) -> bool:
    """Tell whether simplejpeg failed because scan data are lost, rather than because it does not support the format."""
    return str(error).startswith(DAMAGE) and str(error) != _NO_DAMAGE


def has_sixteen_bit_samples(image: ImageFile.ImageFile) -> bool:
    """Tell from how Pillow is about to read an opened image whether its samples have 16 bits."""
    arguments = (tile.args for tile in image.tile)
    modes = (given[0] if isinstance(given, tuple) else given for given in arguments)
    return any(str(mode).endswith(_SIXTEEN_BITS_A_SAMPLE) for mode in modes)
