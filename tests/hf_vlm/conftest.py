import os

import pytest
import torch
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentText,
    get_model,
)
from support.checkpoints import BUILDERS, checkpoint, checkpoint_fixture, data_uri, picture

llava = checkpoint_fixture("llava")
qwen = checkpoint_fixture("qwen2_vl")


@pytest.fixture(autouse=True, scope="session")
def _few_threads():
    # Other tests share the cores; matrices this small gain nothing from a second thread.
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


@pytest.fixture
def load():
    """Load a model for one test and close it afterwards."""
    models = []

    def load(folder, **model_args):
        model = get_model(f"hf-vlm/{folder}", memoize=False, **model_args)
        models.append(model)
        return model

    yield load
    for model in models:
        model.api.close()


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
