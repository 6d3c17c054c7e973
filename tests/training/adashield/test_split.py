"""Drawing of training and validation samples."""

import pytest
from inspect_ai.dataset import Sample
from support.scripted import picture, user

from vlmguard.guard.errors import UserError
from vlmguard.training.adashield.split import draw_split


def samples(*sizes: int) -> list[Sample]:
    return [
        Sample(id=f"s/{group}/{n:03}", input=[user("?", picture())], metadata={"category": group})
        for group, size in enumerate(sizes)
        for n in range(size)
    ]


def test_shares_are_those_of_the_authors_lists() -> None:
    # Their first two scenarios: 9, 4 and 84 of 97; 16, 8 and 139 of 163.
    split = draw_split(samples(97, 163), 0.1, 0.05, 0)
    assert [len(each) for each in split.train.values()] == [9, 16]
    assert [len(each) for each in split.validation.values()] == [4, 8]
    assert len(split.rest) == 84 + 139
    ids = split.ids()
    assert len({*ids["train"], *ids["validation"], *ids["rest"]}) == 97 + 163


def test_the_seed_decides_and_not_the_order() -> None:
    given = samples(20, 30)
    one = draw_split(given, 0.1, 0.1, 0).ids()
    assert draw_split(reversed(given), 0.1, 0.1, 0).ids() == one
    assert draw_split(given, 0.1, 0.1, 1).ids() != one


def test_a_small_scenario_has_one_of_each() -> None:
    split = draw_split(samples(3), 0.1, 0.05, 0)
    assert [len(part) for part in split.ids().values()] == [1, 1, 1]


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(UserError, match="leave none to evaluate on"):
        draw_split(samples(5, 2), 0.1, 0.05, 0)


def test_only_one_image_and_one_request_can_be_used() -> None:
    several = [
        Sample(id="a", input=[user("?", picture(), picture("blue"))], metadata={"category": "c"}),
        Sample(id="b", input="?", metadata={"category": "c"}),
    ]
    split = draw_split([*samples(3), *several], 0.1, 0.05, 0)
    assert "c" not in split.train
    with pytest.raises(UserError, match="no sample has one image"):
        draw_split(several, 0.1, 0.05, 0)
