"""The order of file names."""

from itertools import permutations

import pytest

from shared.intake.natural_order import natural_key


@pytest.mark.parametrize(
    "names",
    [
        ["1.png", "2.png", "10.png", "010.png"],
        ["a/2.png", "a/10.png", "a-b/1.png", "b.png"],
        ["Image 9", "image 10"],
        ["scan1_view2", "scan1_view10", "scan2_view1"],
        ["7", "9" * 5000, "1" + "0" * 5000],
        ["", "/", "x"],
    ],
)
def test_people_find_names_where_they_expect_them(names: list[str]) -> None:
    found = sorted(sorted(names, reverse=True), key=natural_key)
    assert [natural_key(name)[0] for name in found] == [natural_key(name)[0] for name in names]


def test_names_that_are_alike_keep_one_order() -> None:
    orders = {tuple(sorted(alike, key=natural_key)) for alike in permutations(["b01", "B1", "b1", "B01"])}
    assert len(orders) == 1
