"""The ranges that `augment.py` draws augmentations from. Free of TensorFlow, so that recipes can import it."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Augmentation:
    """Ranges of augmentations; each is drawn from uniformly and independently for every image."""

    untouched: float = 0.15
    """Share of images left unchanged: without it, plain images were judged too healthy (calibration error 0.16)."""
    rotation: float = 10.0
    """Degrees to either side."""
    shift: float = 0.04
    """Fraction of the image's side, in each direction, by which the crop may exceed the image."""
    area: tuple[float, float] = (0.1, 1.2)
    """Fraction of the image's area that is cropped, as in Szegedy et al. 2014 (arXiv:1409.4842); above 1 leaves a black
    border. Normal images of the training set show more of the neck and twice as much black border as pneumonia images,
    so most crops exclude both, and each patch of lung must be judged by itself."""
    aspect: float = 0.22
    """Natural logarithm of the change of aspect ratio; images were stretched to squares."""
    flip: float = 0.5
    """Share of images mirrored left to right."""
    reframed: float = 0.0
    """Share of images whose lungs are moved to the place, height and width of those of the next image of the batch.
    That one is of either class, so that place and stretch of the lungs do not reveal the class."""
    flip_down: float = 0.0
    """Share of images mirrored top to bottom."""
    gamma: float = 0.5
    """Natural logarithm of the exponent of the tone curve."""
    contrast: tuple[float, float] = (-0.6, 0.6)
    """From a flat tone curve to a steep S-shaped one."""
    brightness: float = 0.12
    """Added to an image, as a fraction of the full range; values are clipped, as by overexposure."""
    shading: float = 0.15
    """Brightness at the far edge of a gradient across the image, as from an uneven beam."""
    bands: float = 0.8
    """Natural logarithm of the factor on each band of detail: vendors' multi-scale processing boosts some and
    attenuates others. Normal images of the training set are a third sharper than pneumonia images, which is no sign of
    health."""
    borrowed: float = 0.6
    """Share of images whose bands of detail are adjusted towards their strength in another image of the batch, of
    either class."""
    noise: float = 0.03
    """Largest standard deviation of added noise, as a fraction of the full range."""
    corners: float = 0.5
    """Share of images with one corner blacked out, where side markers are."""
    corner_side: float = 0.25
    """Largest side of such a corner, as a fraction of the image's side."""

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
The box around the lungs is off by a few per cent, and children's lungs differ in width; from a smaller crop nobody
could diagnose pneumonia."""

MOVED: Final = Augmentation(area=(0.7, 1.25), shift=0.05, aspect=0.2, reframed=0.6)
"""For whole images: no crop small enough to leave out a lung, and most images in the framing of another."""
