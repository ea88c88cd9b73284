"""How many images a worker takes at a time."""

import pytest

from worker.screening.batch_size import BATCH_SECONDS, FIRST_IMAGES, BatchSize


@pytest.mark.parametrize(("most", "taken"), [(128, FIRST_IMAGES), (1, 1)])
def test_the_first_batch_is_small(most: int, taken: int) -> None:
    assert BatchSize(most).images() == taken


@pytest.mark.parametrize(
    ("seconds_per_image", "taken"),
    [(0.001, 128), (0.005, 50), (BATCH_SECONDS, 1), (60.0, 1), (0.0, 128)],
    ids=["many", "some", "one", "slower still", "no time at all"],
)
def test_a_batch_takes_as_long_as_a_single_image_may_wait(seconds_per_image: float, taken: int) -> None:
    batch_size = BatchSize(128)
    batch_size.note(8, 8 * seconds_per_image)
    assert batch_size.images() == taken


def test_a_single_image_with_its_round_trips_hardly_slows_what_follows() -> None:
    batch_size = BatchSize(128)
    for _ in range(5):
        batch_size.note(128, 0.128)
    batch_size.note(1, 0.03)
    assert batch_size.images() == 128


def test_a_change_of_speed_is_followed_within_a_few_batches() -> None:
    batch_size = BatchSize(128)
    for _ in range(5):
        batch_size.note(128, 0.128)
    for _ in range(6):
        batch_size.note(batch_size.images(), batch_size.images() * 0.05)
    assert batch_size.images() <= 8
