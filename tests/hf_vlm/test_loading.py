"""Model arguments, adapters, and weights that are shared in the process."""

import asyncio
import gc
import json
import logging
import shutil
import threading

import peft
import pytest
import torch
import transformers
from inspect_ai import Task, eval, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import Score, accuracy, scorer
from inspect_ai.solver import solver
from support.checkpoints import build_llava, checkpoint

from vlmguard.errors import UserError
from vlmguard.hf_vlm import engine

CONFIG = GenerateConfig(max_tokens=8)


@pytest.fixture
def loads(monkeypatch):
    """How often weights are read from disk."""
    count = []
    load = transformers.AutoModelForImageTextToText.from_pretrained

    def counted(*args, **kwargs):
        count.append(args)
        return load(*args, **kwargs)

    monkeypatch.setattr(transformers.AutoModelForImageTextToText, "from_pretrained", counted)
    return count


def make_adapter(base, folder, seed=0, targets=("q_proj", "v_proj", "down_proj")):
    """A LoRA adapter with random weights in both halves, saved as PEFT and TRL save it."""
    model = transformers.AutoModelForImageTextToText.from_pretrained(base)
    config = peft.LoraConfig(r=4, lora_alpha=16, target_modules=list(targets))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tuned = peft.get_peft_model(model, config)
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    tuned.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(llava, tmp_path_factory):
    return make_adapter(llava, tmp_path_factory.mktemp("adapter") / "one")


@pytest.fixture(scope="module")
def other_adapter(llava, tmp_path_factory):
    return make_adapter(llava, tmp_path_factory.mktemp("adapter") / "two", seed=1)


async def answers(model, ask, seeds=range(3)):
    outputs = await asyncio.gather(
        *(model.generate(ask(images=[seed]), config=CONFIG) for seed in seeds)
    )
    return [output.completion for output in outputs]


# --- sharing ------------------------------------------------------------------------------------


async def test_target_and_rewriter_share_one_load(load, loads, llava, adapter, ask):
    target = load(llava)
    rewriter = load(llava, adapter=str(adapter))
    assert len(loads) == 1
    assert target.api._engine is rewriter.api._engine
    assert await answers(target, ask) != await answers(rewriter, ask)


async def test_the_base_answers_as_before_beside_an_adapter(load, llava, adapter, ask):
    target = load(llava)
    before = await answers(target, ask)
    rewriter = load(llava, adapter=str(adapter))
    await answers(rewriter, ask)
    assert await answers(target, ask) == before


async def test_an_adapter_answers_as_under_plain_peft(load, llava, adapter, ask):
    from support.checkpoints import picture

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


async def test_other_settings_are_other_weights(load, loads, llava):
    load(llava)
    load(llava, dtype="bfloat16")
    assert len(loads) == 2


def test_the_last_user_frees_the_weights(load, llava):
    first, second = load(llava), load(llava)
    key = first.api._key
    first.api.close()
    assert key in engine._engines
    second.api.close()
    assert key not in engine._engines


def test_a_model_may_be_collected_while_another_one_is_loaded(load, llava, monkeypatch):
    """The garbage collector runs at any moment, also while the lock is held."""
    first = load(llava)
    key = first.api._key
    read = transformers.AutoModelForImageTextToText.from_pretrained

    def collected_meanwhile(*args, **kwargs):
        first.api.close()
        return read(*args, **kwargs)

    monkeypatch.setattr(
        transformers.AutoModelForImageTextToText, "from_pretrained", collected_meanwhile
    )
    loading = threading.Thread(target=load, args=(llava,), kwargs={"dtype": "float16"}, daemon=True)
    loading.start()
    loading.join(timeout=60)
    assert not loading.is_alive()
    assert key not in engine._engines


def test_a_model_that_nobody_holds_frees_the_weights(llava):
    model = get_model(f"hf-vlm/{llava}", memoize=False, dtype="float16")
    key = model.api._key
    assert key in engine._engines
    del model
    gc.collect()
    assert key not in engine._engines


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


# --- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"adaptor": "x"}, r"-M adaptor is not known.*adapter.*revision"),
        ({"dtype": "int3"}, r"-M dtype=int3"),
        ({"max_batch_size": 0}, r"max_batch_size=0"),
        ({"max_pixels": 10_000}, r"no max_pixels.*Leave -M max_pixels out"),
        ({"load_in_4bit": True}, r"pip install bitsandbytes"),
    ],
)
def test_a_bad_argument_is_a_clear_error(load, llava, arguments, message):
    with pytest.raises(UserError, match=message):
        load(llava, **arguments)


def test_a_failed_load_keeps_no_weights(llava):
    count = len(engine._engines)
    with pytest.raises(UserError):
        get_model(f"hf-vlm/{llava}", memoize=False, max_pixels=10_000)
    assert len(engine._engines) == count


def test_a_missing_checkpoint_is_named(load, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OSError, match="nowhere"):
        load(tmp_path / "nowhere")


def test_a_checkpoint_without_chat_template_is_refused(load, llava, tmp_path):
    folder = tmp_path / "mute"
    shutil.copytree(llava, folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="no chat template"):
        load(folder)


async def test_pixel_bounds_change_the_number_of_image_tokens(load, loads, qwen, ask):
    config = GenerateConfig(max_tokens=1)
    request = ask(size=(140, 140))
    small = load(qwen, max_pixels=56 * 56)
    large = load(qwen, max_pixels=140 * 140)
    counts = [(await m.generate(request, config=config)).usage.input_tokens for m in (small, large)]
    assert counts[1] - counts[0] == (140 * 140 - 56 * 56) // 28**2
    assert len(loads) == 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
async def test_dtypes(load, llava, dtype, ask):
    model = load(llava, dtype=dtype)
    assert model.api._engine.weights.model.dtype == getattr(torch, dtype)
    output = await model.generate(ask(), config=CONFIG)
    assert output.usage.output_tokens == 8


async def test_bfloat16_tokens_mostly_agree_with_float32(load, qwen, ask, record_property):
    """Reported, not required to be equal: the first token of eight requests."""
    config = GenerateConfig(max_tokens=1)
    firsts = []
    for dtype in ("float32", "bfloat16"):
        model = load(qwen, dtype=dtype)
        requests = [ask(images=[seed]) for seed in range(16)]
        calls = [await model.api.generate(r, [], "auto", config) for r in requests]
        firsts.append([call.response["tokens"][0][0] for _, call in calls])
    agreement = sum(a == b for a, b in zip(*firsts, strict=True)) / 16
    record_property("bfloat16_first_token_agreement", agreement)
    assert agreement >= 0.75


async def test_attention_implementations_agree(load, loads, llava, ask):
    eager = load(llava, attn_implementation="eager")
    assert await answers(eager, ask) == await answers(load(llava), ask)
    assert len(loads) == 2


def test_the_batch_size_is_the_smallest_that_anybody_asks_for(load, llava):
    large = load(llava, max_batch_size=48)
    assert large.api._engine.batcher.max_rows == 48
    first = load(llava)
    assert first.api._engine.batcher.max_rows == 32
    assert first.api.max_connections() == 64
    assert load(llava, max_batch_size=4).api.max_connections() == 8
    assert first.api._engine.batcher.max_rows == 4


async def test_tokenize(load, llava):
    model = load(llava)
    ids = await model.api.tokenize("The answer is yes.")
    assert model.api._maker.tokenizer.decode(ids) == "The answer is yes."


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
async def test_cuda_is_bfloat16_by_default(load, llava, ask):
    model = load(llava)
    weights = model.api._engine.weights
    assert (weights.model.device.type, weights.model.dtype) == ("cuda", torch.bfloat16)
    assert len(set(await answers(model, ask))) == 3


# --- a whole evaluation -------------------------------------------------------------------------


@scorer(metrics=[accuracy()])
def answered():
    async def score(state, target):
        rewriter = state.metadata["rewritten"]
        return Score(value=float(min(state.output.usage.output_tokens, rewriter) > 0))

    return score


@solver
def rewrite_and_answer():
    async def solve(state, generate):
        output = await get_model(role="rewriter", required=True).generate(state.messages)
        state.metadata["rewritten"] = output.usage.output_tokens
        return await generate(state)

    return solve


def test_an_evaluation_with_target_and_rewriter_on_one_base(loads, llava, adapter, ask, tmp_path):
    @task
    def pictures():
        samples = [Sample(id=i, input=ask(images=[i]), target="x") for i in range(6)]
        return Task(dataset=samples, solver=rewrite_and_answer(), scorer=answered())

    base = f"hf-vlm/{llava}"
    [log] = eval(
        pictures(),
        model=base,
        model_roles={"rewriter": get_model(base, adapter=str(adapter), memoize=False)},
        max_tokens=6,
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success", log.error or log.samples[0].error
    assert log.results.scores[0].metrics["accuracy"].value == 1.0
    assert len(loads) == 1
    event = [event for event in log.samples[0].events if event.event == "model"][-1]
    assert event.output.metadata["finish"] == ["length"]
    assert event.call.request["prompt"].startswith("USER: <image>")
    assert log.stats.role_usage["rewriter"].output_tokens > 0
