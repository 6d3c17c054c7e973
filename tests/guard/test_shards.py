"""Which samples fall to which shard, and what a log notes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.guard.shards import SHARD, Shard, missing_shards, place_of, shards_of

GOLDEN = [1, 1, 4, 2, 1, 1, 4, 2]
IDS = st.lists(st.one_of(st.text(min_size=1), st.integers()), unique_by=str, max_size=60)


@given(IDS, st.integers(1, 9))
def test_each_sample_falls_to_one_shard(ids: list[int | str], count: int) -> None:
    found = shards_of(ids, count)
    assert [sum(shard.holds(each) for shard in found) for each in ids] == [1] * len(ids)
    for shard in found:
        assert shard.sizes[shard.number - 1] == sum(map(shard.holds, ids)) > 0
        assert sum(shard.sizes) == len(ids)
        assert [ids[place] for place in shard.places] == list(filter(shard.holds, ids))
        assert Shard.noted_in({SHARD: shard.noted()}) == shard


def test_a_sample_stays_in_its_shard_whatever_else_there_is() -> None:
    # Golden: a resumed run of another version must find the same samples.
    assert [place_of(f"siuo/{number}", 4) for number in range(1000, 1008)] == GOLDEN
    assert place_of(7, 4) == place_of("7", 4)


@pytest.mark.parametrize(
    "noted",
    [
        *(3, {}, {"number": 1}),
        *({"number": 3, "sizes": [1, 2], "places": []}, {"number": 1, "sizes": [-1], "places": []}),
        {"number": 1, "sizes": [0, 1], "places": []},
        {"number": 1, "sizes": [2], "places": [0]},
        {"number": "one", "sizes": [2], "places": []},
    ],
)
def test_other_metadata_are_refused(noted: object) -> None:
    with pytest.raises(ValueError, match="is no shard"):
        Shard.noted_in({SHARD: noted})


def test_missing_shards_are_named() -> None:
    found = shards_of([f"siuo/{number}" for number in range(1000, 1008)], 4)
    assert [each.name for each in found] == ["1-of-4", "2-of-4", "4-of-4"]
    assert missing_shards(found, 4) == []  # the third has no samples
    assert missing_shards(found[1:2], 4) == ["1-of-4", "4-of-4"]
    assert missing_shards([], 2) == ["1-of-2", "2-of-2"]


def test_a_whole_benchmark_has_no_shard() -> None:
    assert Shard.noted_in(None) is None
    assert Shard.noted_in({"benchmark": "SIUO"}) is None
