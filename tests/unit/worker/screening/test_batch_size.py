"""How many films a worker takes at a time."""

import pytest

from worker.screening.batch_size import BATCH_SECONDS, FIRST_FILMS, Pace


@pytest.mark.parametrize(("most", "taken"), [(128, FIRST_FILMS), (1, 1)])
def test_the_first_batch_is_small(most: int, taken: int) -> None:
    assert Pace(most).films() == taken


@pytest.mark.parametrize(
    ("seconds_a_film", "taken"),
    [(0.001, 128), (0.005, 50), (BATCH_SECONDS, 1), (60.0, 1), (0.0, 128)],
    ids=["many", "some", "one", "slower still", "no time at all"],
)
def test_a_batch_takes_as_long_as_a_single_film_may_wait(seconds_a_film: float, taken: int) -> None:
    pace = Pace(128)
    pace.note(8, 8 * seconds_a_film)
    assert pace.films() == taken


def test_a_single_film_with_its_round_trips_hardly_slows_what_follows() -> None:
    pace = Pace(128)
    for _ in range(5):
        pace.note(128, 0.128)
    pace.note(1, 0.03)
    assert pace.films() == 128


def test_a_change_of_speed_is_followed_within_a_few_batches() -> None:
    pace = Pace(128)
    for _ in range(5):
        pace.note(128, 0.128)
    for _ in range(6):
        pace.note(pace.films(), pace.films() * 0.05)
    assert pace.films() <= 8
