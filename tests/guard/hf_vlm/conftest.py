import os
from pathlib import Path

import pytest
import torch
import transformers
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentText,
    get_model,
)
from support.adapters import make_adapter
from support.checkpoints import BUILDERS, checkpoint, checkpoint_fixture, data_uri, picture

from vlmguard.guard.hf_vlm.hosts import HOST

llava = checkpoint_fixture("llava")
qwen = checkpoint_fixture("qwen2_vl")


@pytest.fixture(autouse=True, scope="session")
def _few_threads():
    # Other tests share the cores, and such small matrices do not need a second thread.
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Load weights in this process, so that tests can look at what goes on inside."""
    monkeypatch.setattr(HOST, "apart", False)


@pytest.fixture
def load(tmp_path_factory):
    """Load a model for one test, on the CPU by default, and close it afterwards."""
    models = []
    links = {}

    def load(folder, **model_args):
        folder = Path(folder)
        if folder.is_dir():
            # Weights are shared by path, and Inspect keeps models of earlier tests. So each test
            # has its own path, and with it its own queue.
            if folder not in links:
                links[folder] = tmp_path_factory.mktemp("own") / folder.name
                links[folder].symlink_to(folder)
            folder = links[folder]
        placed = {} if "device_map" in model_args else {"device": "cpu"}
        model = get_model(f"hf-vlm/{folder}", memoize=False, **(placed | model_args))
        models.append(model)
        model.api.load()
        return model

    yield load
    for model in models:
        model.api.close()


@pytest.fixture(scope="session")
def adapter(llava, tmp_path_factory):
    """A LoRA adapter for `llava`."""
    return make_adapter(llava, tmp_path_factory.mktemp("adapter") / "one")


@pytest.fixture
def patient(monkeypatch):
    """Wait for requests that are being prepared, even on a slow machine."""
    monkeypatch.setattr("vlmguard.guard.hf_vlm.batching.MIN_PREPARE_WINDOW", 60)
    monkeypatch.setattr("vlmguard.guard.hf_vlm.batching.PREPARE_WINDOW", 60)


@pytest.fixture
def loads(monkeypatch):
    """Notes each reading of weights from disk."""
    count = []
    load = transformers.AutoModelForImageTextToText.from_pretrained

    def counted(*args, **kwargs):
        count.append(args)
        return load(*args, **kwargs)

    monkeypatch.setattr(transformers.AutoModelForImageTextToText, "from_pretrained", counted)
    return count


@pytest.fixture(params=BUILDERS)
def any_checkpoint(request):
    return checkpoint(request.param)


@pytest.fixture
def ask():
    """Build a conversation: images (seeds), text, and optionally a system turn and a prefix."""

    def ask(text="Describe the picture", images=(0,), system=None, prefix=None, size=(64, 64)):
        parts = [ContentImage(image=data_uri(picture(seed, size))) for seed in images]
        messages = [ChatMessageUser(content=[*parts, ContentText(text=text)])]
        if system is not None:
            messages.insert(0, ChatMessageSystem(content=system))
        if prefix is not None:
            messages.append(ChatMessageAssistant(content=prefix))
        return messages

    return ask
