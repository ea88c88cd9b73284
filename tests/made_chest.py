"""A chest made of ellipsoids, as a CT would measure it: body, lungs, heart, spine, ribs and breastbone."""

import numpy as np

from training.projections import AIR

SHAPE = (90, 84, 108)
"""Down from the head, back from the breast, to the left."""


def made_chest() -> np.ndarray:
    """Return Hounsfield units, float32 SHAPE, of a patient who fills it but for a margin."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, count) for count in SHAPE), indexing="ij")
    y = y / 0.95

    def inside(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        places = zip((z, y, x), centre, radii, strict=True)
        return np.asarray(sum(((axis - middle) / radius) ** 2 for axis, middle, radius in places) < 1)

    def pillar(middle: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
        return np.asarray(((x - middle[0]) / radii[0]) ** 2 + ((y - middle[1]) / radii[1]) ** 2 < 1)

    volume = np.full(SHAPE, AIR, np.float32)
    body = pillar((0, 0), (0.92, 0.9))
    volume[body] = 20
    ribs = pillar((0, 0), (0.8, 0.78)) & ~pillar((0, 0), (0.74, 0.71)) & (np.sin((z - 0.35 * y) * 26) > 0.45)
    volume[ribs & (z > -0.8) & (z < 0.55)] = 350
    for side in (-0.36, 0.36):
        under_the_diaphragm = inside((0.95, -0.1, side), (0.62, 0.8, 0.45))
        volume[inside((-0.12, 0, side), (0.72, 0.66, 0.31)) & ~under_the_diaphragm] = -820
    volume[inside((0.18, -0.32, 0.1), (0.36, 0.33, 0.33))] = 40
    volume[(np.abs(x) < 0.16) & (y > -0.35) & (y < 0.5) & (z < 0.3) & body] = 30
    volume[pillar((0, 0.62), (0.1, 0.13)) & (np.sin(z * 40) > -0.7)] = 420
    volume[(np.abs(x) < 0.08) & (np.abs(y + 0.8) < 0.04) & (z > -0.6) & (z < 0.3)] = 300
    return volume
