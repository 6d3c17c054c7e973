"""Tests that need a GPU: bfloat16, memory that really runs out, and the speed of a 7B model.

The last one writes 16 GB of random weights and runs only on request:

    VLMGUARD_7B=1 pytest -s tests/guard/hf_vlm/test_cuda.py
"""

import asyncio
import gc
import os
import shutil
import time

import pytest
import torch
import transformers
from bench.gpu.scale import FULL
from inspect_ai.model import GenerateConfig, get_model
from support.adapters import CONFIG, answers, make_adapter
from support.checkpoints import build_llava, checkpoint

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

DEVICE = "cuda"

QWEN_7B_VISION = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 3584,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}


def enlarge(folder, text, vision):
    """Qwen2.5-VL of other sizes with random bfloat16 weights, made on the device."""
    shutil.copytree(checkpoint("qwen2_5_vl"), folder)
    (folder / "model.safetensors").unlink()
    values = transformers.AutoConfig.from_pretrained(folder).to_dict()
    values["text_config"] |= text
    values["vision_config"] |= vision
    config = transformers.Qwen2_5_VLConfig.from_dict(values)
    with torch.device(DEVICE):
        model = transformers.AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    model.generation_config = transformers.GenerationConfig.from_pretrained(folder)
    model.save_pretrained(folder)
    return folder


async def tokens_of(model, requests, config=CONFIG):
    """The tokens of requests that arrive together."""
    calls = await asyncio.gather(
        *(model.api.generate(request, [], "auto", config) for request in requests)
    )
    return [call.response["tokens"][0] for _, call in calls]


async def test_bfloat16_by_default_and_mostly_the_same_tokens(load, qwen, ask, capsys):
    model = load(qwen, device="auto")
    weights = model.api._replicas.vlms[0].engine.weights.model
    assert (weights.device.type, weights.dtype) == (DEVICE, torch.bfloat16)
    requests = [ask(images=[seed]) for seed in range(16)]
    config = GenerateConfig(max_tokens=1)
    got = await tokens_of(model, requests, config)
    want = await tokens_of(load(qwen), requests, config)
    agreement = sum(a == b for a, b in zip(got, want, strict=True)) / 16
    with capsys.disabled():
        print(f"\nfirst tokens that bfloat16 on CUDA and float32 agree on: {agreement:.0%} of 16")
    assert agreement >= 0.75


async def test_a_batch_of_32_gives_what_single_requests_give(load, any_checkpoint, ask):
    model = load(any_checkpoint, device=DEVICE, dtype="float32")
    requests = [ask(f"What colour? {seed}", images=[seed]) for seed in range(32)]
    alone = [(await tokens_of(model, [request]))[0] for request in requests]
    assert await tokens_of(model, requests) == alone


async def test_two_adapters_on_one_base(load, loads, llava, adapter, tmp_path, ask):
    other = make_adapter(llava, tmp_path / "two", seed=1)
    folders = [{}, {"adapter": str(adapter)}, {"adapter": str(other)}]
    models = [load(llava, device=DEVICE, dtype="float32", **given) for given in folders]
    assert len(loads) == 1 + 1  # our load, and the one for making the second adapter
    alone = [await answers(model, ask) for model in models]
    assert len({str(each) for each in alone}) == 3
    together = await asyncio.gather(*(answers(model, ask) for model in models))
    assert together == alone


async def test_a_cancelled_request_makes_room(load, llava, ask):
    model = load(llava, device=DEVICE)
    want = await answers(model, ask)
    long = GenerateConfig(max_tokens=900, temperature=1.0)
    running = asyncio.create_task(model.generate(ask(), config=long))
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await answers(model, ask) == want


def test_closing_frees_the_memory_of_the_device(llava):
    gc.collect()
    before = torch.cuda.memory_allocated()
    model = get_model(f"hf-vlm/{llava}", memoize=False, device=DEVICE)
    model.api.load()
    assert torch.cuda.memory_allocated() > before
    model.api.close()
    for _ in range(50):  # the worker thread may still be ending
        gc.collect()
        if torch.cuda.memory_allocated() <= before:
            break
        time.sleep(0.1)
    assert torch.cuda.memory_allocated() <= before


async def test_real_out_of_memory_halves_the_batch(load, tmp_path, ask, caplog):
    """The limit is between the memory of eight and of thirty-two rows."""
    folder = build_llava(tmp_path / "large", hidden=512, layers=8)
    model = load(folder, device=DEVICE, dtype="float32")
    requests = [ask("one two three " * 60 + str(seed), images=[seed]) for seed in range(32)]

    async def peak(count):
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        tokens = await tokens_of(model, requests[:count])
        return torch.cuda.max_memory_reserved(), tokens

    await peak(32)  # workspaces and kernels, which stay
    few, _ = await peak(8)
    many, want = await peak(32)
    assert many > 1.2 * few
    total = torch.cuda.get_device_properties(0).total_memory
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((few + many) / 2 / total)
    try:
        assert await tokens_of(model, requests) == want
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "Out of memory with" in caplog.text


@pytest.mark.skipif(os.environ.get("VLMGUARD_7B") != "1", reason="only with VLMGUARD_7B=1")
async def test_a_7b_configuration(load, tmp_path, ask, capsys, record_property):
    """32 requests with an image of 448 x 448 (256 tokens), 64 new tokens each."""
    folder = enlarge(tmp_path / "qwen2.5-vl-7b", FULL.text, QWEN_7B_VISION)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    model = load(folder, device=DEVICE, max_pixels=448 * 448)
    loading = time.perf_counter() - start
    parameters = sum(
        each.numel() for each in model.api._replicas.vlms[0].engine.weights.model.parameters()
    )
    config = GenerateConfig(max_tokens=64)
    requests = [ask(f"Describe picture {i}", images=[i], size=(448, 448)) for i in range(32)]
    await tokens_of(model, requests[:1], config)
    start = time.perf_counter()
    count = sum(map(len, await tokens_of(model, requests, config)))
    figures = {
        "parameters_billion": round(parameters / 1e9, 2),
        "loading_seconds": round(loading, 1),
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1),
        "tokens_per_second": round(count / (time.perf_counter() - start)),
    }
    for name, value in figures.items():
        record_property(name, value)
    with capsys.disabled():
        print(f"\n{torch.cuda.get_device_name()}: {figures}")
    assert count > 32
