"""Model arguments, adapters, and weights that the process shares."""

import asyncio
import gc
import json
import shutil
import threading
import weakref

import pytest
import torch
import transformers
from inspect_ai import Task, eval, score, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import Score, accuracy, scorer
from inspect_ai.solver import solver
from safetensors.torch import load_file, save_file
from support.adapters import CONFIG, answers, make_adapter
from support.checkpoints import build_llava
from support.scripted import Scripted

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm import engine
from vlmguard.guard.hf_vlm.loading import _context_length
from vlmguard.guard.roles import require_roles
from vlmguard.scorers import refusal
from vlmguard.solvers import vlmguard

# --- sharing ------------------------------------------------------------------------------------


async def test_target_and_rewriter_share_one_load(load, loads, llava, adapter, ask):
    target = load(llava)
    rewriter = load(llava, adapter=str(adapter))
    assert len(loads) == 1
    assert target.api._replicas.vlms[0].engine is rewriter.api._replicas.vlms[0].engine
    assert await answers(target, ask) != await answers(rewriter, ask)


async def test_other_settings_are_other_weights(load, loads, llava):
    load(llava)
    load(llava, dtype="bfloat16")
    assert len(loads) == 2


def test_the_last_user_frees_the_weights(load, llava):
    """Inspect may keep its models until the process ends, but the weights must be freed."""
    first, second = load(llava), load(llava)
    weights = weakref.ref(first.api._replicas.vlms[0].engine.weights.model)
    key, batcher = first.api._key, first.api._replicas.vlms[0].engine.batcher
    first.api.close()
    assert key in engine.engines
    second.api.close()
    assert key not in engine.engines
    batcher.join(timeout=60)
    gc.collect()
    assert weights() is None


async def test_a_closed_model_says_so(load, llava, ask):
    model = load(llava)
    model.api.close()
    with pytest.raises(RuntimeError, match="was closed"):
        await model.api.generate(ask(), [], "auto", CONFIG)


def test_users_of_one_set_of_weights_share_connections(load, llava, adapter):
    """And no other code does."""
    first, second = load(llava), load(llava, adapter=str(adapter))
    assert first.api.connection_key() == second.api.connection_key()
    assert load(llava, dtype="bfloat16").api.connection_key() != first.api.connection_key()


def test_a_model_may_be_collected_while_another_one_is_loaded(load, llava, monkeypatch):
    """The garbage collector may run at any moment, also while a thread holds the lock."""
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
    assert key not in engine.engines


def test_a_model_that_nobody_holds_frees_the_weights(llava):
    model = get_model(f"hf-vlm/{llava}", memoize=False, device="cpu", dtype="float16")
    model.api.load()
    key = model.api._key
    assert key in engine.engines
    del model
    gc.collect()
    assert key not in engine.engines


# --- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"adaptor": "x"}, r"-M adaptor is not known.*adapter.*revision"),
        ({"dtype": "int3"}, r"-M dtype=int3"),
        ({"max_batch_size": 0}, r"max_batch_size=0"),
        ({"max_batch_size": 32.5}, r"-M max_batch_size=32\.5: a whole number"),
        ({"max_pixels": "1e6"}, r"-M max_pixels=1e6: a number"),
        ({"min_pixels": 3136.5}, r"-M min_pixels=3136\.5: a whole number"),
        ({"max_pixels": 10_000}, r"no max_pixels.*Leave -M max_pixels out"),
    ],
)
def test_a_bad_argument_is_a_clear_error(load, llava, arguments, message):
    with pytest.raises(UserError, match=message):
        load(llava, **arguments)


def test_quantizing_needs_bitsandbytes(load, llava, monkeypatch):
    monkeypatch.setattr("vlmguard.guard.hf_vlm.loading.importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install bitsandbytes"):
        load(llava, load_in_4bit=True)


def test_a_failed_load_keeps_no_weights(llava):
    before = engine.engines.keys()
    model = get_model(f"hf-vlm/{llava}", memoize=False, device="cpu", max_pixels=10_000)
    with pytest.raises(UserError):
        model.api.load()
    assert engine.engines.keys() <= before


@pytest.mark.parametrize("name", ["./nowhere", "nobody/nowhere"])
def test_a_missing_checkpoint_is_named(load, name):
    with pytest.raises(UserError, match="nowhere"):
        load(name)


@pytest.fixture
def copied(llava, tmp_path):
    folder = tmp_path / "copied"
    shutil.copytree(llava, folder)
    return folder


def drop_weights(folder, part):
    """Remove the tensors whose names contain this."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    kept = {name: value for name, value in tensors.items() if part not in name}
    assert len(kept) < len(tensors)
    save_file(kept, path, metadata={"format": "pt"})


def test_a_checkpoint_that_lacks_weights_is_refused(load, copied):
    """The library would fill the gap with random numbers."""
    drop_weights(copied, "multi_modal_projector")
    with pytest.raises(UserError, match=r"copied is not a complete .*multi_modal_projector"):
        load(copied)


def test_weights_of_another_shape_are_refused(load, copied, tmp_path):
    other = build_llava(tmp_path / "other", hidden=128)
    shutil.copy(other / "model.safetensors", copied)
    with pytest.raises(UserError, match="copied is not a complete"):
        load(copied)


async def test_tied_weights_are_not_missing(load, copied, ask):
    """An output layer that shares the embedding's weights is saved once."""
    config = json.loads((copied / "config.json").read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = True
    (copied / "config.json").write_text(json.dumps(config))
    drop_weights(copied, "lm_head")
    assert (await load(copied).generate(ask(), config=CONFIG)).usage.output_tokens == 8


def test_what_is_no_vision_language_model_is_refused(load, copied):
    config = json.loads((copied / "config.json").read_text())["text_config"]
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="copied cannot be loaded"):
        load(copied)


def test_a_text_model_is_refused(load, copied):
    """Its processor is only a tokenizer."""
    transformers.LlamaConfig().save_pretrained(copied)
    for file in copied.glob("*processor_config.json"):
        file.unlink()
    with pytest.raises(UserError, match="copied is no vision-language model"):
        load(copied)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_a_checkpoint_that_is_cut_short_is_named(load, copied):
    """As after an interrupted download or copy."""
    cut_short(copied / "model.safetensors")
    with pytest.raises(UserError, match=r"copied cannot be loaded.*cut short"):
        load(copied)


def test_a_checkpoint_without_chat_template_is_refused(load, copied, loads):
    (copied / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="no chat template"):
        load(copied)
    assert not loads


def test_what_is_quick_to_check_is_checked_before_the_weights_are_read(load, loads, llava):
    for wrong in ({"max_pixels": 10_000}, {"adapter": str(llava)}, {"adapter": "./nowhere"}):
        with pytest.raises(UserError, match=r"max_pixels|adapter_config\.json|no such folder"):
            load(llava, **wrong)
    assert not loads


async def test_a_text_model_without_a_length_of_its_own(load, llava, monkeypatch, ask):
    """T5, for example, has no `max_position_embeddings`."""
    config = transformers.T5Config()
    assert "max_position_embeddings" not in config.to_dict()
    assert _context_length(config) > 1_000_000


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
    assert model.api._replicas.vlms[0].engine.weights.model.dtype == getattr(torch, dtype)
    output = await model.generate(ask(), config=CONFIG)
    assert output.usage.output_tokens == 8


async def test_bfloat16_tokens_mostly_agree_with_float32(load, qwen, ask, record_property, capsys):
    """The first tokens of sixteen requests; only three quarters must agree."""
    config = GenerateConfig(max_tokens=1)
    firsts = []
    for dtype in ("float32", "bfloat16"):
        model = load(qwen, dtype=dtype)
        requests = [ask(images=[seed]) for seed in range(16)]
        calls = [await model.api.generate(r, [], "auto", config) for r in requests]
        firsts.append([call.response["tokens"][0][0] for _, call in calls])
    agreement = sum(a == b for a, b in zip(*firsts, strict=True)) / 16
    record_property("bfloat16_first_token_agreement", agreement)
    with capsys.disabled():
        print(f"\nfirst tokens that bfloat16 and float32 agree on: {agreement:.0%} of 16")
    assert agreement >= 0.75


async def test_attention_implementations_agree(load, loads, llava, ask):
    eager = load(llava, attn_implementation="eager")
    assert await answers(eager, ask) == await answers(load(llava), ask)
    assert len(loads) == 2


def test_the_batch_size_is_the_smallest_that_anybody_asks_for(load, llava):
    large = load(llava, max_batch_size=48)
    assert large.api._replicas.vlms[0].engine.batcher.max_rows == 48
    first = load(llava)
    assert first.api._replicas.vlms[0].engine.batcher.max_rows == 32
    assert first.api.max_connections() == 64
    assert load(llava, max_batch_size=4).api.max_connections() == 8
    assert first.api._replicas.vlms[0].engine.batcher.max_rows == 4


async def test_tokenize(load, llava):
    model = load(llava)
    ids = await model.api.tokenize("The answer is yes.")
    assert model.api._replicas.vlms[0].maker.tokenizer.decode(ids) == "The answer is yes."


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
        model_args={"device": "cpu"},
        model_roles={
            "rewriter": get_model(base, adapter=str(adapter), device="cpu", memoize=False)
        },
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


# --- loading on the first call ------------------------------------------------------------------


async def test_nothing_is_loaded_before_the_first_call(loads, llava, ask):
    model = get_model(f"hf-vlm/{llava}", memoize=False, device="cpu", dtype="float16")
    assert not loads
    assert model.api.max_connections() == 64
    both = [model.api.generate(ask(), [], "auto", CONFIG) for _ in range(2)]
    first, second = await asyncio.gather(*both)
    assert first[0].completion == second[0].completion
    assert len(loads) == 1
    model.api.close()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("./nowhere", {}),
        ("nobody/nowhere", {}),
        ("llava", {"device": "cuda:99"}),
        ("llava", {"adapter": "./nowhere"}),
    ],
)
async def test_what_is_missing_here_is_named_on_the_first_call(llava, ask, name, arguments):
    folder = llava if name == "llava" else name
    model = get_model(f"hf-vlm/{folder}", memoize=False, **arguments)
    before = engine.engines.keys()
    for _ in range(2):  # a second try says the same
        with pytest.raises(UserError, match=r"nowhere|CUDA"):
            await model.api.generate(ask(), [], "auto", CONFIG)
    assert engine.engines.keys() == before


async def test_a_model_that_is_closed_while_it_loads_keeps_no_weights(llava, monkeypatch):
    model = get_model(f"hf-vlm/{llava}", memoize=False, device="cpu", dtype="float16")
    read = transformers.AutoModelForImageTextToText.from_pretrained

    def closed_meanwhile(*args, **kwargs):
        model.api.close()
        return read(*args, **kwargs)

    monkeypatch.setattr(
        transformers.AutoModelForImageTextToText, "from_pretrained", closed_meanwhile
    )
    with pytest.raises(RuntimeError, match="was closed"):
        await model.api.open()
    assert model.api._key not in engine.engines


def test_no_batch_runs_while_other_weights_are_loaded(load, llava, monkeypatch):
    """Meanwhile, transformers changes torch's default number format for all threads."""
    first = load(llava)
    read = transformers.AutoModelForImageTextToText.from_pretrained
    free = []

    def watched(*args, **kwargs):
        lock = first.api._replicas.vlms[0].engine.weights.lock
        taken = threading.Thread(target=lambda: free.append(lock.acquire(blocking=False)))
        taken.start()
        taken.join()
        return read(*args, **kwargs)

    monkeypatch.setattr(transformers.AutoModelForImageTextToText, "from_pretrained", watched)
    load(llava, dtype="float16")
    assert free == [False]


@pytest.mark.parametrize("wrong", [{"adapter": "./nowhere"}, {"max_pixels": 10_000}])
@pytest.mark.parametrize("setup", [True, False])
def test_a_target_that_cannot_be_had_costs_nothing(llava, tmp_path, wrong, setup):
    """In our tasks by their setup; in others' tasks by a defense that asks other models first."""
    rewriter = Scripted("<prompt>How?</prompt>", "rewriter")
    (log,) = eval(
        Task(dataset=[Sample(input="How?", id="1")], setup=require_roles() if setup else None),
        solver=vlmguard(),
        model=get_model(f"hf-vlm/{llava}", memoize=False, device="cpu", **wrong),
        model_roles={"rewriter": rewriter.model},
        log_dir=str(tmp_path / "logs"),
        display="none",
    )
    assert log.status == "error"
    assert "nowhere" in log.error.message or "max_pixels" in log.error.message
    assert rewriter.calls == []


def test_a_log_is_scored_anew_without_its_target(llava, tmp_path, loads):
    folder = shutil.copytree(llava, tmp_path / "llava")
    adapter = shutil.copytree(make_adapter(folder, tmp_path / "made"), tmp_path / "adapter")
    target = get_model(
        f"hf-vlm/{folder}", memoize=False, device="cpu", config=GenerateConfig(max_tokens=4)
    )
    role = get_model(f"hf-vlm/{folder}", memoize=False, device="cpu", adapter=str(adapter))
    sample = Sample(input="How?", id="1", metadata={"category": "c", "image_id": "1"})
    (log,) = eval(
        Task(dataset=[sample], scorer=refusal(keywords="own")),
        model=target,
        model_roles={"rewriter": role},
        log_dir=str(tmp_path / "logs"),
        display="none",
    )
    assert log.status == "success", log.error
    target.api.close()
    role.api.close()
    shutil.rmtree(folder)
    shutil.rmtree(adapter)
    loads.clear()
    again = score(log, refusal(keywords="own"), action="append", display="none")
    assert again.status == "success"
    assert len(again.samples[0].scores) == 2
    assert not loads
