"""Loading sends a first request: a model that cannot chat is refused before any costs."""

import pytest
from support.checkpoints import checkpoint
from support.no_chat import NO_CHAT

from vlmguard.guard.errors import UserError


@pytest.mark.parametrize("name", NO_CHAT)
def test_a_class_that_cannot_chat_is_refused_in_one_line(name, load, tmp_path):
    folder = NO_CHAT[name](tmp_path / name)
    with pytest.raises(UserError, match=r"cannot chat: .* Name an instruction-tuned") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_first_request_that_fails_is_said_in_one_line(llava, load, monkeypatch):
    def broken(self, pixel_values, **_):
        raise ValueError("a shape\nthat does not fit")

    monkeypatch.setattr("transformers.LlavaModel.get_image_features", broken)
    with pytest.raises(UserError, match=r"cannot chat: .*ValueError: a shape that does not fit"):
        load(llava)


def test_it_is_put_once_for_all_who_share_the_weights(qwen, load, monkeypatch):
    from vlmguard.guard.hf_vlm import loading

    asked = []
    first = loading.first_request

    def noted(model, maker, checkpoint):
        asked.append(checkpoint)
        return first(model, maker, checkpoint)

    monkeypatch.setattr(loading, "first_request", noted)
    load(qwen)
    load(qwen, max_pixels=112 * 112)
    assert len(asked) == 1


@pytest.mark.parametrize("name", ["qwen2_vl", "gemma3"])
def test_a_model_that_chats_is_left_alone(name, load):
    assert load(checkpoint(name)).api._replicas.vlms[0].engine.weights.sharing.prompts
