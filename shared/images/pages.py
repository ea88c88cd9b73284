"""Choose the only full page or frame of an image file, or refuse files with several.

Copies marked as reduced (thumbnails in TIFF, previews in MPO) are skipped at any position.
"""

from collections.abc import Iterator
from typing import IO, Final

from PIL import Image, MpoImagePlugin, TiffImagePlugin

from shared.errors import ImageRejected
from shared.refusals import Rejection

_MOST_PAGES: Final = 64
_WIDTH, _HEIGHT = 256, 257
_SUBFILE, _OLD_SUBFILE, _SUB_DIRECTORIES = 254, 255, 330  # TIFF 6.0, page 36 and 40; TIFF technical note 1
_REDUCED_OR_MASK: Final = 0b101
_OLD_REDUCED: Final = 2
_BIG_TIFF: Final = 0x2B


def choose_page(image: Image.Image, file: IO[bytes]) -> None:
    """Seek an opened image to its only full page; `file` is the one it was opened from. No pixel is decoded.

    Raises ImageRejected where there are several, or where the full one is in a sub-directory.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        page = _full_page(_pages(file))
        if page:
            image.seek(page)
    elif isinstance(image, MpoImagePlugin.MpoImageFile):
        _refuse_other_pictures(image)
    elif getattr(image, "n_frames", 1) > 1:
        count: int = image.n_frames  # type: ignore[attr-defined]  # checked above
        raise ImageRejected(Rejection.SEVERAL_IMAGES, case="frames", count=count)


def _pages(file: IO[bytes]) -> list[TiffImagePlugin.ImageFileDirectory_v2]:
    """Read the directories of a TIFF up to an invalid one: many writers leave a wrong address after the last."""
    found: list[TiffImagePlugin.ImageFileDirectory_v2] = []
    try:
        for directory in directories(file):
            if not (directory.get(_WIDTH) and directory.get(_HEIGHT)):
                break
            found.append(directory)
    except Exception:
        if not found:
            raise
    return found


def directories(file: IO[bytes]) -> Iterator[TiffImagePlugin.ImageFileDirectory_v2]:
    """Yield the directories of a TIFF, one per page; at most one more than is accepted.

    Raises what Pillow raises where they are damaged.
    """
    file.seek(0)
    head = file.read(8)
    if _BIG_TIFF in head[2:4]:
        head += file.read(8)
    directory = TiffImagePlugin.ImageFileDirectory_v2(head)
    seen: set[int] = set()
    while directory.next and directory.next not in seen and len(seen) <= _MOST_PAGES:
        seen.add(directory.next)
        file.seek(directory.next)
        directory = _read(head, file)
        yield directory


def _read(head: bytes, file: IO[bytes]) -> TiffImagePlugin.ImageFileDirectory_v2:
    directory = TiffImagePlugin.ImageFileDirectory_v2(head)
    directory.load(file)
    return directory


def _full_page(pages: list[TiffImagePlugin.ImageFileDirectory_v2]) -> int:
    full = [place for place, page in enumerate(pages) if not _is_reduced(page)]
    if not full and any(_SUB_DIRECTORIES in page for page in pages):
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="tiff_preview")
    if len(full or pages) > 1:
        raise ImageRejected(Rejection.SEVERAL_IMAGES, case="pages", count=len(full or pages))
    return full[0] if full else 0


def _is_reduced(page: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    kind = page.get(_SUBFILE, 0)
    return bool(isinstance(kind, int) and kind & _REDUCED_OR_MASK) or page.get(_OLD_SUBFILE) == _OLD_REDUCED


def _refuse_other_pictures(image: MpoImagePlugin.MpoImageFile) -> None:
    """Refuse an MPO (CIPA DC-007) with further pictures as large as its first.

    Phones add a smaller one (a gain map) with which some screens show the first one brighter.
    """
    width, height = image.size
    count = 1
    for place in range(1, min(image.n_frames, _MOST_PAGES)):
        try:
            image.seek(place)
        except (ValueError, OSError, SyntaxError, EOFError):
            break  # programs that strip files keep the index but drop the pictures
        count += not (image.size[0] < width and image.size[1] < height)
    image.seek(0)
    if count > 1:
        raise ImageRejected(Rejection.SEVERAL_IMAGES, case="pictures", count=count)
