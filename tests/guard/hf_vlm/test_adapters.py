"""PEFT adapters beside one base, and those that do not fit it."""

import asyncio
import json
import logging
import shutil
import threading

import peft
import pytest
import torch
import transformers
from peft.tuners.lora import LoraModel
from support.adapters import CONFIG, answers, make_adapter
from support.checkpoints import build_llava, checkpoint, picture

from vlmguard.guard.errors import UserError


@pytest.fixture(scope="module")
def other_adapter(llava, tmp_path_factory):
    return make_adapter(llava, tmp_path_factory.mktemp("adapter") / "two", seed=1)


async def test_the_base_answers_as_before_beside_an_adapter(load, llava, adapter, ask):
    target = load(llava)
    before = await answers(target, ask)
    rewriter = load(llava, adapter=str(adapter))
    await answers(rewriter, ask)
    assert await answers(target, ask) == before


async def test_an_adapter_answers_as_under_plain_peft(load, llava, adapter, ask):
    model = load(llava, adapter=str(adapter))
    base = transformers.AutoModelForImageTextToText.from_pretrained(llava)
    tuned = peft.PeftModel.from_pretrained(base, adapter).eval()
    processor = transformers.AutoProcessor.from_pretrained(llava)
    inputs = processor(
        text="USER: <image>\nDescribe the picture ASSISTANT:",
        images=picture(1),
        return_tensors="pt",
    )
    with torch.inference_mode():
        tokens = tuned.generate(**inputs, max_new_tokens=8, do_sample=False)[0]
    want = tokens[inputs["input_ids"].shape[1] :].tolist()
    _, call = await model.api.generate(ask(images=[1]), [], "auto", CONFIG)
    assert call.request["prompt"] == "USER: <image>\nDescribe the picture ASSISTANT:"
    assert call.response["tokens"][0] == want


async def test_adapters_never_share_a_batch(load, loads, llava, adapter, other_adapter, ask):
    """Three users of one base at once, each with its own answers."""
    models = [
        load(llava),
        load(llava, adapter=str(adapter)),
        load(llava, adapter=str(other_adapter)),
    ]
    alone = [await answers(model, ask) for model in models]
    assert len({str(each) for each in alone}) == 3
    together = await asyncio.gather(*(answers(model, ask) for model in models))
    assert together == alone
    assert len(loads) == 1


# --- adapters that do not fit -------------------------------------------------------------------


async def test_an_adapter_for_another_base_is_refused(load, llava, tmp_path, ask):
    bigger = build_llava(tmp_path / "bigger", hidden=128, layers=3)
    foreign = make_adapter(bigger, tmp_path / "foreign")
    model = load(llava)
    before = await answers(model, ask)
    with pytest.raises(UserError, match=r"does not fit .*made for .*bigger"):
        load(llava, adapter=str(foreign))
    assert await answers(model, ask) == before


async def test_a_refused_adapter_leaves_a_good_one_alone(load, llava, adapter, tmp_path, ask):
    good = load(llava, adapter=str(adapter))
    before = await answers(good, ask)
    foreign = make_adapter(build_llava(tmp_path / "b", hidden=128), tmp_path / "foreign")
    with pytest.raises(UserError, match="does not fit"):
        load(llava, adapter=str(foreign))
    assert await answers(good, ask) == before


def test_an_adapter_of_another_architecture_is_refused(load, llava, tmp_path):
    foreign = make_adapter(checkpoint("qwen2_vl"), tmp_path / "foreign", targets=("qkv",))
    with pytest.raises(UserError, match="does not fit"):
        load(llava, adapter=str(foreign))


def test_a_folder_without_adapter_is_refused(load, llava, tmp_path):
    with pytest.raises(UserError, match=r"adapter_config\.json"):
        load(llava, adapter=str(tmp_path))


def test_a_check_leaves_what_other_threads_build_alone(load, llava, adapter, monkeypatch):
    """PEFT's own way to make a copy without weights patches `torch.nn.Module` for all threads."""
    base = load(llava)
    create, devices = LoraModel._create_and_replace, []

    def build():
        devices.append(torch.nn.Linear(2, 2).weight.device.type)

    def meanwhile(*args, **kwargs):
        other = threading.Thread(target=build)
        other.start()
        other.join()
        return create(*args, **kwargs)

    monkeypatch.setattr(LoraModel, "_create_and_replace", meanwhile)
    base.api._replicas.vlms[0].engine.weights.check_adapter(str(adapter))
    assert set(devices) == {"cpu"}


def test_a_base_of_another_name_is_said(load, llava, adapter, tmp_path, caplog):
    moved = tmp_path / "moved"
    shutil.copytree(adapter, moved)
    config = json.loads((moved / "adapter_config.json").read_text())
    (moved / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": "somebody/other-base"})
    )
    with caplog.at_level(logging.WARNING):
        load(llava, adapter=str(moved))
    assert "somebody/other-base" in caplog.text


@pytest.fixture(scope="module")
def biased(tmp_path_factory):
    """A LLaVA whose attention layers have biases other than zero."""
    folder = build_llava(tmp_path_factory.mktemp("biased") / "base")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["attention_bias"] = True
    (folder / "config.json").write_text(json.dumps(config))
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    for name, parameter in model.named_parameters():
        if "bias" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("bias", ["all", "lora_only"])
async def test_an_adapter_that_would_change_the_base_is_refused(load, biased, tmp_path, ask, bias):
    """PEFT loads such biases into the shared layers."""
    folder = make_adapter(biased, tmp_path / "lora", bias=bias)
    base = load(biased)
    before = await answers(base, ask)
    with pytest.raises(UserError, match=f"bias='{bias}'.*merge_and_unload"):
        load(biased, adapter=str(folder))
    assert await answers(base, ask) == before


async def test_an_adapter_that_breaks_off_leaves_the_base_as_it_was(
    load, llava, adapter, other_adapter, ask, monkeypatch
):
    """Memory may run out after an adapter's layers are made and before its weights are loaded."""
    base = load(llava)
    before = await answers(base, ask)
    broken = load(llava, adapter=str(adapter))

    def exhausted(*args, **kwargs):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(peft.PeftModel, "load_adapter", exhausted)
        with pytest.raises(RuntimeError, match="Out of memory"):
            await broken.api.generate(ask(), [], "auto", CONFIG)
    assert await answers(base, ask) == before
    assert not any(
        "lora" in name
        for name, _ in base.api._replicas.vlms[0].engine.weights.model.named_modules()
    )
    good = load(llava, adapter=str(other_adapter))
    changed = await answers(good, ask)
    assert changed != before
    assert await answers(broken, ask) not in (before, changed)


async def test_an_adapter_is_checked_while_a_batch_runs(load, llava, tmp_path, ask):
    """Models are also made in the event loop, which must not wait for the end of a batch."""
    base = load(llava)
    foreign = make_adapter(build_llava(tmp_path / "b", hidden=128), tmp_path / "foreign")
    weights = base.api._replicas.vlms[0].engine.weights
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with weights.use(None):
            held.set()
            done.wait(60)

    batch = threading.Thread(target=hold)
    batch.start()
    held.wait()
    try:
        with pytest.raises(UserError, match="does not fit"):
            load(llava, adapter=str(foreign))
    finally:
        done.set()
        batch.join()
