"""What file names say: class, patient, cause and which films are one group."""

from pathlib import Path

import pytest

from evaluation.dataset import Film, group_films, name_film
from evaluation.errors import DataUnusable
from shared.models.spec import FilmClass


@pytest.mark.parametrize(
    ("path", "film_class", "patient", "series"),
    [
        ("NORMAL/IM-0115-0001.jpeg", FilmClass.NORMAL, "IM-0115", "IM"),
        ("NORMAL/IM-0429-0001-0002.jpeg", FilmClass.NORMAL, "IM-0429", "IM"),
        ("NORMAL/NORMAL2-IM-1427-0001.jpeg", FilmClass.NORMAL, "NORMAL2-IM-1427", "NORMAL2-IM"),
        ("NORMAL/NORMAL2-IM-0435-0001-0002.jpeg", FilmClass.NORMAL, "NORMAL2-IM-0435", "NORMAL2-IM"),
        ("PNEUMONIA/person1000_bacteria_2931.jpeg", FilmClass.BACTERIAL, "person1000", "bacteria"),
        ("PNEUMONIA/person1000_virus_1681.jpeg", FilmClass.VIRAL, "person1000", "virus"),
        ("PNEUMONIA/person23_virus_56_2.jpeg", FilmClass.VIRAL, "person23", "virus"),
    ],
)
def test_a_films_name_says_its_class_and_patient(path: str, film_class: FilmClass, patient: str, series: str) -> None:
    film = name_film(Path(path))
    assert (film.film_class, film.patient, film.series) == (film_class, patient, series)


@pytest.mark.parametrize(
    "path",
    ["NORMAL/holiday.jpeg", "PNEUMONIA/IM-0115-0001.jpeg", "PNEUMONIA/person1_fungus_2.jpeg", "OTHER/IM-1-1.png"],
)
def test_a_name_that_says_no_patient_is_refused(path: str) -> None:
    with pytest.raises(DataUnusable, match=Path(path).name):
        name_film(Path(path))


def make_film(patient: str, film_class: FilmClass = FilmClass.NORMAL) -> Film:
    return Film(Path(f"{patient}.jpeg"), film_class, patient, "IM")


def test_films_of_one_patient_one_content_or_one_look_are_one_group() -> None:
    films = [make_film(name) for name in ("a", "a", "b", "c", "d", "e")]
    digests = ["1", "2", "2", "3", "4", "5"]
    groups = group_films(films, digests, pairs=[(3, 4)])
    assert groups == ["a", "a", "a", "c", "c", "e"]


def test_joins_reach_through_a_chain() -> None:
    films = [make_film(name) for name in "dcba"]
    assert group_films(films, list("1234"), pairs=[(0, 1), (2, 3), (1, 2)]) == ["a"] * 4


def test_both_series_of_normal_films_with_one_number_are_one_group() -> None:
    films = [make_film("IM-0500"), make_film("NORMAL2-IM-0500"), make_film("IM-0501")]
    first, second, other = group_films(films, list("123"))
    assert first == second != other
