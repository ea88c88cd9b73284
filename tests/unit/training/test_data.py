"""Films, patients, groups and the split."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shared.models.spec import FilmClass
from training.data import Film, class_indices, group_films, list_films, name_film, near_duplicates, split_by_group
from training.errors import DataUnusable


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


def test_a_folder_without_a_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "NORMAL").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "NORMAL" / "IM-0001-0001.jpeg")
    with pytest.raises(DataUnusable, match="PNEUMONIA"):
        list_films(tmp_path)


def make_film(patient: str, film_class: FilmClass = FilmClass.NORMAL) -> Film:
    return Film(Path(f"{patient}.jpeg"), film_class, patient, "IM")


@pytest.mark.parametrize(
    ("classes", "places"),
    [
        ((FilmClass.NORMAL, FilmClass.BACTERIAL, FilmClass.VIRAL), [0, 1, 2]),
        ((FilmClass.VIRAL, FilmClass.NORMAL, FilmClass.BACTERIAL), [1, 2, 0]),
        ((FilmClass.NORMAL, FilmClass.PNEUMONIA), [0, 1, 1]),
    ],
)
def test_a_cause_that_a_model_does_not_tell_apart_is_pneumonia(
    classes: tuple[FilmClass, ...], places: list[int]
) -> None:
    films = [make_film(name, name) for name in (FilmClass.NORMAL, FilmClass.BACTERIAL, FilmClass.VIRAL)]
    assert class_indices(films, classes).tolist() == places


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


def test_near_duplicates_are_found_and_other_films_are_not() -> None:
    rng = np.random.default_rng(0)
    films = rng.integers(0, 256, (6, 8, 8), dtype=np.uint8)
    large = np.stack([np.asarray(Image.fromarray(film).resize((192, 192))) for film in films])[..., np.newaxis]
    brighter = (large[2] * 0.8 + 30).astype(np.uint8)
    grainy = (large[4] + rng.normal(0, 4, large[4].shape)).clip(0, 255).astype(np.uint8)
    assert near_duplicates(np.concatenate([large, [brighter], [grainy]])) == [(2, 6), (4, 7)]


GROUPED = st.lists(
    st.tuples(st.sampled_from(["normal", "bacterial", "viral"]), st.integers(0, 60)), min_size=1, max_size=300
)


@given(films=GROUPED, share=st.floats(0.05, 0.5), seed=st.integers(0, 99))
def test_no_group_is_on_both_sides_of_the_split(films: list[tuple[str, int]], share: float, seed: int) -> None:
    classes, groups = [name for name, _ in films], [str(number) for _, number in films]
    held = split_by_group(classes, groups, share, seed)
    inside = {group for group, out in zip(groups, held, strict=True) if out}
    outside = {group for group, out in zip(groups, held, strict=True) if not out}
    assert not inside & outside
    assert np.array_equal(held, split_by_group(classes, groups, share, seed))


def test_every_class_gives_about_its_share() -> None:
    rng = np.random.default_rng(3)
    classes = ["normal"] * 300 + ["bacterial"] * 600 + ["viral"] * 300
    groups = [f"{name}{rng.integers(0, 120)}" for name in classes]
    held = split_by_group(classes, groups, 0.1, seed=1)
    counts = Counter(name for name, out in zip(classes, held, strict=True) if out)
    assert 27 <= counts["normal"] <= 33
    assert 56 <= counts["bacterial"] <= 64
    assert 27 <= counts["viral"] <= 33
    assert not np.array_equal(held, split_by_group(classes, groups, 0.1, seed=2))
