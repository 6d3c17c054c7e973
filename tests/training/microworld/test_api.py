"""Names of the provider: valid ones, and the errors of others."""

import pytest
from inspect_ai.model import get_model

from vlmguard.guard.errors import UserError
from vlmguard.training.microworld.models.api import REWRITERS, TARGETS
from vlmguard.training.microworld.models.oracle import REPLIES


@pytest.mark.parametrize("name", [*REPLIES, "rewriter", f"{TARGETS[0]}/high"])
def test_a_known_name_is_a_model(name: str) -> None:
    assert get_model(f"microworld/{name}", memoize=False).api.model_name == name


@pytest.mark.parametrize(
    ("name", "user"),
    [
        *(("detector", "mllm_protector"), ("detoxifier", "mllm_protector")),
        *(("reward", "eta"), ("clip", "eta"), ("clip/low", "eta")),
    ],
)
def test_an_auxiliary_model_is_no_chat_model(name: str, user: str) -> None:
    with pytest.raises(UserError, match=f"microworld/{name} is no chat model.*flags {user}"):
        get_model(f"microworld/{name}", memoize=False)


def test_the_error_lists_all_that_works() -> None:
    with pytest.raises(UserError) as raised:
        get_model("microworld/gpt", memoize=False)
    for name in (*TARGETS, *REWRITERS, *REPLIES):
        assert name in str(raised.value)


@pytest.mark.parametrize("name", ["rewriter/high", "base/low", "rewriter/"])
def test_only_targets_have_levels(name: str) -> None:
    with pytest.raises(UserError, match="only targets have levels"):
        get_model(f"microworld/{name}", memoize=False)


@pytest.mark.parametrize("name", ["llava/middling", "llava/"])
def test_an_unknown_level_is_named(name: str) -> None:
    with pytest.raises(UserError, match=r"no such level\. Choose: low, high"):
        get_model(f"microworld/{name}", memoize=False)
