"""The real images that the benchmarks run on."""

from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def originals(count: int) -> list[Path]:
    """Return images at their original size, about 1.4 megapixels and 250 KB each."""
    return _take(DATA / "originals", count)


def small(count: int) -> list[Path]:
    """Return distinct images of 224 x 224 pixels, about 7 KB each."""
    return _take(DATA / "chest_xray" / "train", count)


def _take(folder: Path, count: int) -> list[Path]:
    paths = sorted(folder.rglob("*.jp*g"))
    if len(paths) < count:
        raise SystemExit(f"The benchmark needs {count} images in {folder}; there are {len(paths)}.")
    # Evenly spaced, so that both classes are included.
    return [paths[index * len(paths) // count] for index in range(count)]
