"""How far training images are changed: the ranges that `augment.py` draws from. Free of TensorFlow, for the recipes."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Augmentation:
    """How far images are changed; each range is drawn from evenly, for every image apart."""

    untouched: float = 0.15
    """Share of images left as they are: without it, plain images came out as too healthy (calibration error 0.16)."""
    rotation: float = 10.0
    """Degrees to either side."""
    shift: float = 0.04
    """Part of the image's side, in each direction, beyond what keeps the crop inside the image."""
    area: tuple[float, float] = (0.1, 1.2)
    """Part of the image's area that is seen, as in Szegedy et al. 2014 (arXiv:1409.4842); above 1 leaves a black
    border. Normal images of the training set show more of the neck and twice as much black border as pneumonia images,
    so most crops leave both out, and each patch of lung has to be judged by itself."""
    aspect: float = 0.22
    """Natural logarithm of the change of width against height; images were stretched to squares."""
    flip: float = 0.5
    """Share of images mirrored left to right."""
    reframed: float = 0.0
    """Share of images shown where the lungs of the next image of the batch are, at their height and width. It is of
    either class, so that where lungs lie and how they are stretched tells nothing of the class."""
    flip_down: float = 0.0
    """Share of images mirrored top to bottom."""
    gamma: float = 0.5
    """Natural logarithm of the exponent of the tone curve."""
    contrast: tuple[float, float] = (-0.6, 0.6)
    """From a flat tone curve to a steep S-shaped one."""
    brightness: float = 0.12
    """Added to an image, as part of the full range; what leaves the range is cut off as overexposure does."""
    shading: float = 0.15
    """Brightness at the far edge of a slope across the image, as an uneven beam gives it."""
    bands: float = 0.8
    """Natural logarithm of the factor on each band of detail: makers' multi-scale processing lifts some and flattens
    others. Normal images of the training set are a third sharper than pneumonia images, which is no sign of health."""
    borrowed: float = 0.6
    """Share of images whose bands of detail are drawn towards the strength that they have in another image of the
    batch, of either class."""
    noise: float = 0.03
    """Largest standard deviation of added noise, as part of the full range."""
    corners: float = 0.5
    """Share of images with one corner blacked out, where side markers stand."""
    corner_side: float = 0.25
    """Largest side of such a corner, as part of the image's side."""

    @property
    def leaves_alone(self) -> bool:
        """Say whether every image is left as it is."""
        return not (self.reframes or self.retones or any((self.bands, self.borrowed, self.noise, self.corners)))

    @property
    def reframes(self) -> bool:
        """Say whether images are moved, turned, scaled, stretched or mirrored."""
        moves = (self.rotation, self.shift, self.aspect, self.flip, self.flip_down, self.reframed)
        return any(moves) or self.area != (1.0, 1.0)

    @property
    def retones(self) -> bool:
        """Say whether the grey levels of images are changed."""
        return any((self.gamma, *self.contrast, self.brightness, self.shading))


FRAMED: Final = Augmentation(area=(0.4, 1.25), shift=0.06, aspect=0.55, rotation=12.0)
"""For images whose lungs are framed: crops of two fifths of them upwards, height stretched by a third against width.
The box around the lungs is out by a few per cent, and no child's lungs are as wide as another's; of a smaller crop
nobody could say whether the child is ill."""

MOVED: Final = Augmentation(area=(0.7, 1.25), shift=0.05, aspect=0.2, reframed=0.6)
"""For whole images: no crop so small that it leaves out a lung, and most images in the framing of another."""
