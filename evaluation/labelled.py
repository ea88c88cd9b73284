"""The films of an evaluation folder: class subfolders in, pixels, labels, patients and causes out."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.dataset import Film, group_films, name_film
from evaluation.errors import DataUnusable
from shared.errors import FilmRejected
from shared.images.preprocess import FORMATS, prepare
from shared.models.spec import FilmClass, Label, ModelSpec
from shared.refusals import explain

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many of it are done and how many there are."""


@dataclass(frozen=True)
class LabelledFilms:
    """The readable films of an evaluation folder."""

    pixels: np.ndarray
    """uint8 (films, size, size, 1)."""
    truth: np.ndarray
    """bool (films,), True for PNEUMONIA."""
    names: tuple[str, ...]
    unreadable: dict[str, str]
    """Why each file that was left out could not be read, by its name."""
    groups: tuple[str, ...]
    """Films of one patient, where the file names say whose they are, and of one content share a group."""
    causes: tuple[FilmClass | None, ...]
    """The cause of a pneumonia, where the file name says it."""
    named: int
    """How many file names say whose film it is."""


def class_folders(folder: Path) -> dict[Label, Path]:
    """Find the NORMAL and PNEUMONIA folders in `folder`, in whatever case they are written.

    Raises DataUnusable where the folder cannot be read, or one of the two is missing or there twice.
    """
    try:
        if not folder.is_dir():
            raise DataUnusable(f"There is no folder {folder}. Give a folder with the subfolders NORMAL and PNEUMONIA.")
        places = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name.upper() in Label.__members__]
    except OSError as error:
        raise DataUnusable(f"{folder} cannot be read: {error.strerror}. Check its permissions.") from error
    found = {label: path for label in Label for path in places if path.name.upper() == label}
    if len(found) < len(places):
        names = ", ".join(path.name for path in places)
        raise DataUnusable(f"{folder} holds a class twice ({names}). Keep one folder for NORMAL and one for PNEUMONIA.")
    if missing := [label for label in Label if label not in found]:
        held = ", ".join(found) or "neither"
        raise DataUnusable(
            f"{folder} has no subfolder {' and no '.join(missing)} (found: {held}). "
            "Recall and specificity need films of both classes: put each film in NORMAL or PNEUMONIA."
        )
    return found


def read_films(folder: Path, spec: ModelSpec, progress: Progress | None = None) -> LabelledFilms:
    """Read every file under the two class folders; files that are no films are named and left out.

    Memory: the pixels at input size, once; a film's file is let go when it is decoded.
    Raises DataUnusable where a class has no readable film.
    """
    places = class_folders(folder)
    files = {label: _files(place) for label, place in places.items()}
    total = sum(map(len, files.values()))
    # One array from the start: a list of films stacked at its end would hold every film twice.
    pixels = np.empty((total, spec.input_size, spec.input_size, 1), np.uint8)
    films: list[Film] = []
    digests: list[str] = []
    unreadable: dict[str, str] = {}
    for label, paths in files.items():
        read_before = len(films)
        for path in paths:
            try:
                data = path.read_bytes()
                pixels[len(films)] = prepare(data, spec)
            except FilmRejected as refusal:
                unreadable[str(path.relative_to(folder))] = explain(refusal.code, refusal.details).text
            except OSError as error:
                unreadable[str(path.relative_to(folder))] = str(error)
            else:
                films.append(_identify(path, label))
                digests.append(hashlib.sha256(data).hexdigest())
            if progress is not None:
                progress("Reading films", len(films) + len(unreadable), total)
        if len(films) == read_before:
            raise DataUnusable(_nothing_readable(places[label], len(paths), unreadable))
    return LabelledFilms(
        pixels=pixels[: len(films)],
        truth=np.array([film.film_class is not FilmClass.NORMAL for film in films]),
        names=tuple(str(film.path.relative_to(folder)) for film in films),
        unreadable=unreadable,
        groups=tuple(group_films(films, digests)),
        causes=tuple(_cause(film) for film in films),
        named=sum(bool(film.series) for film in films),
    )


def _files(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.is_file())


def _identify(path: Path, label: Label) -> Film:
    """Read patient and cause from a file name; a name that tells neither stands for a patient of its own."""
    try:
        return name_film(path)
    except DataUnusable:
        film_class = FilmClass.NORMAL if label is Label.NORMAL else FilmClass.PNEUMONIA
        return Film(path, film_class, patient=str(path), series="")


def _cause(film: Film) -> FilmClass | None:
    return film.film_class if film.film_class in {FilmClass.BACTERIAL, FilmClass.VIRAL} else None


def _nothing_readable(place: Path, tried: int, unreadable: dict[str, str]) -> str:
    formats = ", ".join((*FORMATS, "DICOM"))
    if not tried:
        return f"No film in {place} can be read: there is no file in it. Put films in it, as one of: {formats}."
    first = next(f"{name}: {reason}" for name, reason in reversed(unreadable.items()))
    return f"No film in {place} can be read ({tried} files were tried). The last: {first} Expected one of: {formats}."
