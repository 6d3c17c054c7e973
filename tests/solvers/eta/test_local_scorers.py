"""CLIP and reward model, loaded like real ones."""

import json
import socket
import sys
import threading
from pathlib import Path

import anyio
import pytest
import torch
import transformers
from support.auxiliaries import (
    build_causal_lm,
    build_classifier,
    build_clip,
    build_gated_reward,
    build_word_reward,
    word_tokenizer,
)
from support.scripted import picture

from vlmguard.guard.aux_models import base
from vlmguard.guard.aux_models.base import Checkpoint, Reading, in_worker
from vlmguard.guard.aux_models.clip import clip_similarity
from vlmguard.guard.aux_models.reward import ARMORM, prepare_reward, rewards
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import from_data_uri


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_clip(tmp_path_factory.mktemp("clip"))


async def test_clip_gives_the_cosine_of_image_and_text(clip: Path) -> None:
    texts = ["a red thing", "nothing at all"]
    reading = await clip_similarity(Checkpoint(str(clip)), [picture("red")], texts)

    model = transformers.CLIPModel.from_pretrained(clip).eval()
    processor = transformers.CLIPProcessor.from_pretrained(clip)
    inputs = processor(
        text=texts, images=[from_data_uri(picture("red"))], return_tensors="pt", padding=True
    )
    with torch.no_grad():
        expected = (model(**inputs).logits_per_image / model.logit_scale.exp())[0]
    assert reading.values == pytest.approx(expected.tolist(), abs=1e-5)
    assert abs(reading.values[0] - reading.values[1]) > 1e-3
    assert reading.calls == 1
    assert reading.input_tokens == int(inputs["attention_mask"].sum())
    assert reading.seconds is not None
    assert reading.seconds > 0


async def test_of_several_images_the_closest_counts(clip: Path) -> None:
    at = Checkpoint(str(clip))
    texts = ["a red thing", "nothing at all"]
    red = (await clip_similarity(at, [picture("red")], texts)).values
    blue = (await clip_similarity(at, [picture("blue")], texts)).values
    both = (await clip_similarity(at, [picture("blue"), picture("red")], texts)).values
    assert both == pytest.approx([max(pair) for pair in zip(red, blue, strict=True)], abs=1e-5)
    assert red != pytest.approx(blue, abs=1e-4)


async def test_clip_runs_in_float32_where_other_models_do_not(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where `place` gives bfloat16: no cosine near the threshold may change."""
    texts = ["a red thing", "nothing at all"]
    expected = (await clip_similarity(Checkpoint(str(clip)), [picture()], texts)).values
    monkeypatch.setattr(base, "place", lambda device: (torch.device("cpu"), torch.bfloat16))
    half = Checkpoint(str(clip), device="cuda")  # another key, so that it is loaded again
    assert (await clip_similarity(half, [picture()], texts)).values == expected


async def test_text_beyond_77_tokens_is_cut(clip: Path) -> None:
    at = Checkpoint(str(clip))
    long = "abcdefghij" * 20
    reading = await clip_similarity(at, [picture()], [long, long + "xyz"])
    assert reading.values[0] == pytest.approx(reading.values[1], abs=1e-6)
    assert reading.input_tokens == 2 * 77
    assert reading.cut == 2


async def test_what_is_no_clip_model_is_refused(tmp_path: Path) -> None:
    folder = build_causal_lm(tmp_path / "llama")
    with pytest.raises(UserError, match="not a CLIP model but of the kind llama"):
        await clip_similarity(Checkpoint(str(folder)), [picture()], ["a"])


async def test_a_reward_model_with_its_own_code_is_read_by_its_score(tmp_path: Path) -> None:
    folder = build_gated_reward(tmp_path / "gated")
    at = Checkpoint(str(folder), trust_remote_code=True)
    reading = await rewards(at, "a b", ["good .", "bad ."])

    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, trust_remote_code=True
    ).eval()
    ids = word_tokenizer()("[user] a b [assistant] good .", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = model(ids).score.item()
    assert reading.values[0] == pytest.approx(expected, abs=1e-6)
    assert reading.values[0] != pytest.approx(reading.values[1], abs=1e-4)
    assert (reading.calls, reading.input_tokens, reading.output_tokens) == (2, 12, 0)


async def test_rewards_by_hand(tmp_path: Path) -> None:
    folder = build_word_reward(tmp_path / "words", {"good": 0.5, "bad": -0.25, "a": 0.125})
    at = Checkpoint(str(folder), trust_remote_code=True)
    reading = await rewards(at, "a", ["good good bad", "bad", ""])
    assert reading.values == pytest.approx([0.875, -0.125, 0.125])


async def test_at_most_4096_tokens_are_read(tmp_path: Path) -> None:
    folder = build_word_reward(tmp_path / "words", {"good": 1.0})
    at = Checkpoint(str(folder), trust_remote_code=True)
    reading = await rewards(at, "a", ["good " * 5000])
    assert reading.input_tokens == 4096
    assert reading.values == pytest.approx([4096 - 3])  # [user] a [assistant]


async def test_own_code_needs_consent(tmp_path: Path) -> None:
    folder = build_gated_reward(tmp_path / "gated")
    with pytest.raises(UserError, match="trust_remote_code=true"):
        await rewards(Checkpoint(str(folder)), "a", ["b"])


async def test_armorm_without_consent_is_refused_without_asking_the_hub(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def unreachable(host: object, *args: object, **kwargs: object) -> None:
        asked.append(host)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    with pytest.raises(UserError, match="reward=NAME@COMMIT"):
        await prepare_reward(Checkpoint(ARMORM))
    assert asked == []


async def test_a_plain_classifier_with_one_logit_is_a_reward_model(tmp_path: Path) -> None:
    folder = build_classifier(tmp_path / "one")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    tokenizer.save_pretrained(folder)
    reading = await rewards(Checkpoint(str(folder)), "a", ["good"])
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model(**tokenizer("a good", return_tensors="pt")).logits.item()
    assert reading.values == pytest.approx([expected], abs=1e-6)


async def test_what_is_no_reward_model_is_refused(tmp_path: Path) -> None:
    lm = build_causal_lm(tmp_path / "lm")
    with pytest.raises(UserError, match="no chat template"):
        await prepare_reward(Checkpoint(str(lm)))
    tokenizer = transformers.AutoTokenizer.from_pretrained(lm)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    tokenizer.save_pretrained(lm)
    with pytest.raises(UserError, match=r"not a reward model: it has no weights for score\.weight"):
        await prepare_reward(Checkpoint(str(lm)))

    two = build_classifier(tmp_path / "two", labels=2)
    tokenizer.save_pretrained(two)
    with pytest.raises(UserError, match="2 figures"):
        await rewards(Checkpoint(str(two)), "a", ["b"])


async def test_a_checkpoint_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        await prepare_reward(Checkpoint(str(tmp_path / "absent")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="cannot be loaded"):
        await prepare_reward(Checkpoint(str(tmp_path / "empty")))
    broken = build_classifier(tmp_path / "broken")
    (broken / "config.json").write_text(json.dumps({"model_type": "llama"})[:-3])
    with pytest.raises(UserError, match="broken cannot be loaded"):
        await prepare_reward(Checkpoint(str(broken)))


async def test_the_event_loop_goes_on_while_a_model_works() -> None:
    gate = threading.Event()

    async def tick() -> None:
        for _ in range(10):
            await anyio.sleep(0.01)
        gate.set()

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        assert await in_worker(gate.wait, 60)  # a blocked loop would never open the gate


def test_a_figure_that_is_none_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="nan"):
        Reading([float("nan")], 1, 0, 0, 0.0)


def test_solvers_import_without_torch() -> None:
    import subprocess

    code = "import sys, vlmguard._registry; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
