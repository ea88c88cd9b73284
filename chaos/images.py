"""Make thousands of distinct images from a few dozen pictures: images of one picture must get the same prediction."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from chaos.injector import POISON, UNREADABLE
from cli.client.images import LocalFile
from shared.images.samples import KINDS, STATISTICS, draw_image

PICTURES: Final = 48
_SIZE: Final = (224, 200)  # about so wide and high in pixels, above the network's input


@dataclass(frozen=True)
class ChaosImage:
    """One image to send, and which picture it shows."""

    name: str
    picture: int
    data: bytes
    is_poison: bool = False
    """It fails by design in every worker."""

    def write(self, folder: Path) -> LocalFile:
        """Write the image to a file, as the client reads it."""
        path = folder / self.name
        path.write_bytes(self.data)
        return LocalFile(path, self.name, len(self.data), is_zip=False, modified_ns=0)


class Pictures:
    """The pictures of one run, and the images made from them."""

    def __init__(self, seed: int) -> None:
        self._jpegs = [_draw(seed * PICTURES + number) for number in range(PICTURES)]
        self._made = 0

    def plain(self) -> list[ChaosImage]:
        """Return each picture once, unchanged; its prediction is the one expected of every image made from it."""
        return [ChaosImage(f"picture-{n:02d}.jpeg", n, data) for n, data in enumerate(self._jpegs)]

    def image(self, *, poison: bool = False, unreadable: bool = False) -> ChaosImage:
        """Make the next image: bytes after a JPEG's end change its sha256 but no pixel."""
        self._made += 1
        picture = self._made % PICTURES
        kind, mark = ("poison", POISON) if poison else ("unreadable", UNREADABLE) if unreadable else ("image", b"")
        data = self._jpegs[picture] + f"image {self._made}".encode() + mark
        return ChaosImage(f"{kind}-{self._made:06d}.jpeg", picture, data, is_poison=poison or unreadable)


def _draw(seed: int) -> bytes:
    """Draw a synthetic chest X-ray unique to a seed; anything plainer is refused as showing nothing."""
    kind = KINDS[seed % len(KINDS)]
    with np.load(STATISTICS) as arrays:
        mean, components = (arrays[f"{kind}_{part}"].astype(np.float32) for part in ("mean", "components"))
    out = io.BytesIO()
    draw_image(mean, components, _SIZE, seed).save(out, "JPEG", quality=85)
    return out.getvalue()
