"""Drawing from groups in proportion: exact numbers, the largest remainders, a fixed draw."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.guard.errors import UserError
from vlmguard.tasks.data.strata import draw_in_proportion


def drawn(items: list[str], n: int, seed: int = 0) -> list[str]:
    return draw_in_proportion(items, lambda item: item[0], n, seed, "-T n")


def test_the_largest_remainders_get_what_is_left() -> None:
    items = [f"a{n}" for n in range(6)] + [f"b{n}" for n in range(3)] + ["c0"]
    # Of 5: 3, 1.5 and 0.5. The last one goes to b, the first by name of equal remainders.
    found = drawn(items, 5)
    assert Counter(each[0] for each in found) == {"a": 3, "b": 2}
    assert found == sorted(found)
    assert found == drawn(items, 5)
    assert any(found != drawn(items, 5, seed) for seed in range(1, 9))


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=60), st.data())
def test_exactly_so_many_and_no_share_is_off_by_one(groups: list[str], data: st.DataObject) -> None:
    items = [f"{group}{place}" for place, group in enumerate(groups)]
    n = data.draw(st.integers(1, len(items)))
    found = drawn(items, n)
    assert len(set(found)) == n
    assert [each for each in items if each in set(found)] == found
    for group, count in Counter(groups).items():
        share = n * count / len(items)
        assert abs(sum(each[0] == group for each in found) - share) < 1


def test_more_than_there_are_cannot_be_drawn() -> None:
    with pytest.raises(UserError, match="-T n: 3 cannot be drawn, choose between 1 and 2"):
        drawn(["a", "b"], 3)
