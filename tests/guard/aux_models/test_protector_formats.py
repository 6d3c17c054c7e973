"""MLLM-Protector's checkpoint formats, on random weights of each."""

import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
import transformers
from support.auxiliaries import (
    build_adapter,
    build_causal_lm,
    build_classifier,
    drop_weights,
    merge_adapter,
)

from vlmguard.guard.aux_models.base import Checkpoint
from vlmguard.guard.aux_models.protector import (
    check_detoxifier,
    complete,
    prepare_detector,
    probability_harmless,
)
from vlmguard.guard.errors import UserError

TEXT = "a good bad fine ."


def at(folder: Path, base: Path | None = None) -> Checkpoint:
    return Checkpoint(str(folder), base=None if base is None else str(base))


def expected_probability(model: torch.nn.Module, base: Path) -> float:
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    with torch.no_grad():
        logit = model.eval()(**tokenizer(TEXT, return_tensors="pt")).logits
    return 1 / (1 + torch.exp(-logit).item())


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return build_causal_lm(tmp_path / "base")


async def test_an_adapter_with_a_classifier_head_on_a_causal_base(
    base: Path, tmp_path: Path
) -> None:
    adapter = build_adapter(tmp_path / "detector", base, "SEQ_CLS")
    reading = await probability_harmless(at(adapter), TEXT)
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    wanted = expected_probability(peft.PeftModel.from_pretrained(plain, adapter), base)
    assert reading.values == pytest.approx([wanted], abs=1e-6)
    assert (reading.calls, reading.input_tokens) == (1, 5)


async def test_the_merged_classifier_says_the_same(base: Path, tmp_path: Path) -> None:
    adapter = build_adapter(tmp_path / "detector", base, "SEQ_CLS")
    merged = merge_adapter(tmp_path / "merged", base, adapter, "SEQ_CLS")
    one = await probability_harmless(at(adapter), TEXT)
    other = await probability_harmless(at(merged), TEXT)
    assert one.values == pytest.approx(other.values, abs=1e-5)
    assert 0 < one.values[0] < 1
    assert one.values[0] != pytest.approx(0.5, abs=1e-3)


async def test_an_adapter_on_another_copy_of_its_base(base: Path, tmp_path: Path) -> None:
    adapter = build_adapter(tmp_path / "detector", base, "SEQ_CLS")
    wanted = await probability_harmless(at(adapter), TEXT)
    moved = base.rename(tmp_path / "moved")
    config = adapter / "adapter_config.json"
    config.write_text(config.read_text().replace("/base", "/gone"))
    reading = await probability_harmless(at(adapter, moved), TEXT)
    assert reading.values == pytest.approx(wanted.values, abs=1e-6)
    lost = shutil.copytree(adapter, tmp_path / "lost")
    with pytest.raises(UserError, match="gone: no such folder"):
        await prepare_detector(at(lost))


async def test_a_long_text_is_read_in_pieces_and_the_worst_counts(tmp_path: Path) -> None:
    short = at(build_classifier(tmp_path / "short", length=16))
    words = ("good bad a b c . " * 4).strip()  # 24 tokens, of which 16 are read at once
    reading = await probability_harmless(short, words)
    middle = words.index(" ", len(words) // 2)
    halves = [await probability_harmless(short, each) for each in (words[:middle], words[middle:])]
    assert reading.values == [min(half.values[0] for half in halves)]
    assert (reading.calls, reading.input_tokens) == (2, 24)
    assert (await probability_harmless(short, "good " * 16)).calls == 1


async def test_an_empty_answer_has_nothing_to_judge(tmp_path: Path) -> None:
    reading = await probability_harmless(at(build_classifier(tmp_path / "detector")), "")
    assert reading.values == [1.0]
    assert reading.calls == 0


async def test_a_causal_adapter_is_no_detector(base: Path, tmp_path: Path) -> None:
    adapter = build_adapter(tmp_path / "detector", base, "CAUSAL_LM")
    with pytest.raises(UserError, match="trained for CAUSAL_LM, SEQ_CLS is needed"):
        await prepare_detector(at(adapter))


async def test_an_adapter_without_its_trained_head_is_no_detector(
    base: Path, tmp_path: Path
) -> None:
    adapter = drop_weights(build_adapter(tmp_path / "detector", base, "SEQ_CLS"), "score")
    with pytest.raises(UserError, match=r"trained classifier head.*score\.weight"):
        await prepare_detector(at(adapter))


async def test_a_causal_lm_is_no_detector(base: Path) -> None:
    with pytest.raises(UserError, match=r"not a harm classifier: it has no weights for score"):
        await prepare_detector(at(base))


async def test_two_labels_are_no_detector(tmp_path: Path) -> None:
    folder = build_classifier(tmp_path / "two", labels=2)
    with pytest.raises(UserError, match="2 labels, one logit is needed"):
        await prepare_detector(at(folder))


async def test_an_adapter_on_a_base_of_another_size_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = build_adapter(tmp_path / "detector", base, "SEQ_CLS")
    wide = transformers.LlamaConfig.from_pretrained(base)
    wide.hidden_size, wide.head_dim = 32, 16
    other = tmp_path / "wide"
    transformers.LlamaForCausalLM(wide).save_pretrained(other)
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(other)
    with pytest.raises(
        UserError, match=r"does not fit .*wide: it was made for .*base\. .*detector_base="
    ):
        await prepare_detector(at(adapter, other))


async def test_an_adapter_that_names_no_base(base: Path, tmp_path: Path) -> None:
    adapter = build_adapter(tmp_path / "detector", base, "SEQ_CLS")
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": None}))
    with pytest.raises(UserError, match="names no base"):
        await prepare_detector(at(adapter))


def greedy(folder: Path, prompt: str, adapter: Path | None = None, limit: int = 8) -> list[str]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    if adapter is not None:
        model = peft.PeftModel.from_pretrained(model, adapter)
    model.eval()
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    start = ids.shape[1]
    with torch.no_grad():
        for _ in range(limit):
            best = model(input_ids=ids).logits[0, -1].argmax()
            ids = torch.cat([ids, best[None, None]], dim=1)
    return str(tokenizer.decode(ids[0, start:], skip_special_tokens=True)).split()


async def test_a_merged_detoxifier_continues_the_raw_prompt_greedily(base: Path) -> None:
    written = await complete(at(base), "a b good", 1024)
    assert written.text.split()[:8] == greedy(base, "a b good")
    assert written.input_tokens == 3
    assert written.output_tokens == 256 - 3  # this model never ends, but its context does
    assert not written.finished


async def test_a_detoxifier_ends_at_its_end_of_text(base: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    words = greedy(base, "a b good")
    config = base / "generation_config.json"
    end = tokenizer.convert_tokens_to_ids(words[-1])
    config.write_text(json.dumps(json.loads(config.read_text()) | {"eos_token_id": end}))
    written = await complete(at(base), "a b good", 1024)
    assert written.output_tokens == words.index(words[-1]) + 1
    assert written.finished


async def test_an_adapter_detoxifier_continues_as_its_merged_form(
    base: Path, tmp_path: Path
) -> None:
    adapter = build_adapter(tmp_path / "detoxifier", base, "CAUSAL_LM")
    written = await complete(at(adapter), "a b good", 1024)
    assert written.text.split()[:8] == greedy(base, "a b good", adapter)
    assert written.text.split()[:8] != greedy(base, "a b good")
    merged = merge_adapter(tmp_path / "merged", base, adapter, "CAUSAL_LM")
    assert (await complete(at(merged), "a b good", 1024)).text == written.text


async def test_as_many_tokens_are_written_as_an_answer_may_have(base: Path) -> None:
    written = await complete(at(base), "a b good", 40)
    assert (written.output_tokens, written.finished) == (40, False)


async def test_a_prompt_that_fills_the_context_gives_nothing(tmp_path: Path) -> None:
    folder = build_causal_lm(tmp_path / "short", length=16)
    written = await complete(at(folder), "good " * 40, 1024)
    assert (written.text, written.input_tokens, written.output_tokens) == ("", 40, 0)


async def test_a_classifier_adapter_is_no_detoxifier(base: Path, tmp_path: Path) -> None:
    adapter = build_adapter(tmp_path / "detector", base, "SEQ_CLS")
    with pytest.raises(UserError, match=r"not a detoxifier.*CAUSAL_LM is needed"):
        await check_detoxifier(at(adapter))


async def test_a_classifier_is_no_detoxifier(tmp_path: Path) -> None:
    folder = build_classifier(tmp_path / "one")
    with pytest.raises(UserError, match="not a causal LM"):
        await complete(at(folder), "a", 1024)
