"""Behaviour of real checkpoints' processors that the six tiny ones lack."""

import json
import shutil
import threading

import pytest
import torch
from inspect_ai.model import GenerateConfig
from support.checkpoints import checkpoint, data_uri, picture

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.messages import Conversation
from vlmguard.guard.hf_vlm.processor import PromptMaker

CONFIG = GenerateConfig(max_tokens=6)


@pytest.fixture
def maker(llava):
    return PromptMaker(str(llava), {})


def conversation(text, seeds=()):
    images = [data_uri(picture(seed)) for seed in seeds]
    content = [{"type": "image"} for _ in images] + [{"type": "text", "text": text}]
    return Conversation([{"role": "user", "content": content}], images)


async def test_a_tokenizer_without_padding_token(load, ask, llava, tmp_path, caplog):
    """Its end-of-text token pads; requests can still be joined one by one."""
    folder = tmp_path / "unpadded"
    shutil.copytree(llava, folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["pad_token"]
    path.write_text(json.dumps(config))
    model = load(folder)
    assert not model.api._replicas.vlms[0].maker.whole_batches
    assert "no padding token" in caplog.text
    want = await load(llava).generate(ask(), config=CONFIG)
    assert (await model.generate(ask(), config=CONFIG)).completion == want.completion


def test_whole_batches_leave_the_shared_tokenizer_alone(llava, monkeypatch):
    """Padding is a state of the tokenizer: another thread would get padded ids, or an error."""
    monkeypatch.setattr("vlmguard.guard.hf_vlm.processor.collate", lambda given, pad: given[0])
    maker = PromptMaker(str(llava), {})
    assert maker.whole_batches
    texts = ["x " * (1 + 7 * i % 50) for i in range(16)]
    want = [maker.prepare(conversation(text)) for text in texts]
    wrong = []

    def prepare():
        while not stop.is_set():
            for text, request in zip(texts, want, strict=True):
                if maker.prepare(conversation(text)).ids != request.ids:
                    wrong.append(text)

    stop = threading.Event()
    others = [threading.Thread(target=prepare) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for _ in range(20):
            batch = maker.collate(want)
            assert maker.tokenizer.backend_tokenizer.padding is None
            assert batch["input_ids"].shape == (16, max(len(request.ids) for request in want))
    finally:
        stop.set()
        for other in others:
            other.join()
    assert not wrong


def test_what_a_processor_refuses_is_a_clear_error(maker, monkeypatch):
    def refuses(*args, **kwargs):
        raise ValueError("absolute aspect ratio must be smaller than 200")

    monkeypatch.setattr(type(maker.processor), "__call__", refuses)
    with pytest.raises(UserError, match=r"processor of .*64 x 64\): absolute aspect ratio"):
        maker.prepare(conversation("what?", [1]))


def test_a_real_refusal_names_the_image():
    maker = PromptMaker(str(checkpoint("qwen2_vl")), {})
    request = conversation("what?")
    request.images.append(data_uri(picture(0, (1000, 2))))
    request.turns[0]["content"].insert(0, {"type": "image"})
    with pytest.raises(UserError, match=r"images: 1000 x 2.*aspect ratio"):
        maker.prepare(request)


def test_output_that_cannot_be_passed_on_is_refused_and_not_dropped(llava, maker, monkeypatch):
    kind = type(maker.processor)
    call = kind.__call__

    def with_lists(self, *args, **kwargs):
        result = call(self, *args, **kwargs)
        result["grids"] = [[1, 2]]
        return result

    monkeypatch.setattr(kind, "__call__", with_lists)
    with pytest.raises(UserError, match=r"its processor gives grids as lists.*openai-api"):
        PromptMaker(str(llava), {})


def test_what_no_model_takes_is_left_out(maker, monkeypatch):
    kind = type(maker.processor)
    call = kind.__call__

    def with_metadata(self, *args, **kwargs):
        result = call(self, *args, **kwargs)
        result["video_metadata"] = None
        return result

    monkeypatch.setattr(kind, "__call__", with_metadata)
    inputs = maker.prepare(conversation("what?", [1])).inputs
    assert all(isinstance(value, torch.Tensor) for value in inputs.values())
