"""Generate the synthetic chest images that ship with the program, for demonstrations and a first look.

Real images must not be redistributed. These are drawn from what the images of a class have in common: the mean and
twenty principal components at 64x64 pixels in `samples.npz`, fitted by `training/sample_statistics.py` on Kermany et
al. 2018 (doi 10.17632/rscbjbr9sj.2, CC BY 4.0), with random coefficients, enlarged to a real image's size and given
grain. Each carries the word SYNTHETIC in its name and in a corner. They show that the pipeline works, not how good a
model is.
"""

from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COUNT: Final = 20
STATISTICS: Final = Path(__file__).with_name("samples.npz")
KINDS: Final = ("normal", "pneumonia")

# Mean width and height of the original images of each class; the pneumonia images are wider.
_SIZES: Final = {"normal": (1400, 1130), "pneumonia": (1340, 960)}
_MARK: Final = "SYNTHETIC"


def write_samples(folder: Path) -> list[Path]:
    """Draw the sample images into `folder` as grey JPEG and return their paths, in the order of their numbers.

    The files are always the same, byte for byte with the same Pillow and NumPy. Odd numbers are drawn from the
    statistics of pneumonia images, even ones from those of normal images. Their names do not say which: blurred as they
    are, most are predicted as pneumonia, and there is no ground truth to compare with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(STATISTICS) as arrays:
        statistics = {name: arrays[name].astype(np.float32) for name in arrays.files}
    paths = []
    for number in range(1, COUNT + 1):
        kind = KINDS[number % 2]
        path = folder / f"synthetic-image-{number:02d}.jpeg"
        drawn = draw_image(statistics[f"{kind}_mean"], statistics[f"{kind}_components"], _SIZES[kind], number)
        drawn.save(path, "JPEG", quality=90)
        paths.append(path)
    return paths


def draw_image(mean: np.ndarray, components: np.ndarray, size: tuple[int, int], seed: int) -> Image.Image:
    """Draw one image of about `size` (width, height) from `mean` (side, side) and `components` (count, side, side)."""
    rng = np.random.default_rng(seed)
    width, height = (round(length * float(rng.uniform(0.9, 1.1))) for length in size)
    coefficients = rng.standard_normal(len(components)).clip(-1.6, 1.6).astype(np.float32)
    small = mean + np.tensordot(coefficients, components, axes=1)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    drawn = Image.fromarray(np.clip(np.asarray(image) + _grain(rng, width, height), 0, 255).astype(np.uint8))
    _burn_mark(drawn)
    return drawn


def _grain(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Make noise of three scales, float32 (height, width), in grey levels: mottle, texture and the image's grain."""
    grain = np.zeros((height, width), dtype=np.float32)
    for cell, strength in ((24, 2.5), (6, 2.5), (2, 3.0)):
        coarse = rng.standard_normal((height // cell + 1, width // cell + 1), dtype=np.float32) * strength
        grain += np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    return grain


def _burn_mark(drawn: Image.Image) -> None:
    pen = ImageDraw.Draw(drawn)
    font = ImageFont.load_default(size=drawn.height // 36)
    margin = drawn.height // 50
    pen.text((margin, margin), _MARK, fill=235, font=font, stroke_width=2, stroke_fill=10)
