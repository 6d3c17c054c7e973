"""Inspect's output from generated tokens."""

import asyncio
import json
import shutil
import threading

import pytest
from inspect_ai.model import ChatMessageAssistant, GenerateConfig
from support.checkpoints import checkpoint, data_uri, picture


@pytest.fixture
def with_rules(tmp_path):
    """Copies of checkpoints with other values in `generation_config.json`."""

    def change(name, **values):
        folder = tmp_path / name
        shutil.copytree(checkpoint(name), folder)
        path = folder / "generation_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
        return folder

    return change


async def test_every_choice_of_an_overlong_prompt_is_there(load, llava, ask):
    config = GenerateConfig(max_tokens=5, num_choices=3)
    output = await load(llava).generate(ask("one two three " * 600), config=config)
    assert [choice.stop_reason for choice in output.choices] == ["model_length"] * 3
    assert output.metadata["finish"] == ["length"] * 3
    assert output.usage.output_tokens == 0


async def test_log_probabilities_are_decoded_beside_the_event_loop(load, llava, ask, monkeypatch):
    """With thousands of tokens per request, each token is decoded once."""
    model = load(llava)
    tokenizer = model.api._replicas.vlms[0].maker.tokenizer
    decode, decoded = tokenizer.decode, []

    def noted(ids, **kwargs):
        if len(ids) == 1:
            decoded.append((ids[0], threading.current_thread()))
        return decode(ids, **kwargs)

    monkeypatch.setattr(tokenizer, "decode", noted)
    config = GenerateConfig(max_tokens=20, logprobs=True, top_logprobs=20)
    output = await model.generate(ask(), config=config)
    assert len(output.choices[0].logprobs.content[0].top_logprobs) == 20
    assert threading.current_thread() not in {thread for _, thread in decoded}
    before = len(decoded)
    assert before == len({token for token, _ in decoded}) > 20
    again = await model.generate(ask(), config=config)
    assert len(decoded) == before
    assert again.choices[0].logprobs == output.choices[0].logprobs


async def test_a_part_of_a_character_gets_no_wrong_bytes(load, qwen, ask):
    config = GenerateConfig(max_tokens=40, logprobs=True, top_logprobs=5)
    output = await load(qwen).generate(ask(), config=config)
    content = output.choices[0].logprobs.content
    assert any(entry.token == "�" for entry in content)
    assert all(entry.bytes is None for entry in content)
    assert all(other.bytes is None for entry in content for other in entry.top_logprobs)


async def test_the_checkpoints_own_rules_are_in_the_log(load, with_rules, llava, ask):
    config = GenerateConfig(max_tokens=12, logprobs=True)
    plain, call = await load(llava).api.generate(ask(), [], "auto", config)
    assert call.request["checkpoint_settings"] == {}
    assert "notes" not in plain.metadata

    avoided = call.response["tokens"][0][0]
    model = load(with_rules("llava", suppress_tokens=[avoided], repetition_penalty=1.5))
    output, call = await model.api.generate(ask(), [], "auto", config)
    assert call.request["checkpoint_settings"] == {
        "repetition_penalty": 1.5,
        "suppress_tokens": [avoided],
    }
    assert avoided not in call.response["tokens"][0]
    assert "repetition_penalty, suppress_tokens" in output.metadata["notes"][0]


async def test_a_repetition_penalty_is_that_of_plain_generate(load, with_rules, ask):
    import torch
    import transformers

    folder = with_rules("llava", repetition_penalty=1.3)
    own = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    processor = transformers.AutoProcessor.from_pretrained(folder)
    text = "USER: <image>\nDescribe the picture ASSISTANT:"
    inputs = processor(text=text, images=picture(1), return_tensors="pt")
    with torch.inference_mode():
        tokens = own.generate(**inputs, max_new_tokens=16, do_sample=False)[0]
    _, call = await load(folder).api.generate(
        ask(images=[1]), [], "auto", GenerateConfig(max_tokens=16)
    )
    assert call.response["tokens"][0] == tokens[inputs["input_ids"].shape[1] :].tolist()


async def test_a_repetition_penalty_does_not_count_the_padding(load, with_rules, ask):
    """It would make the padding token less likely in a short row of a batch."""
    model = load(with_rules("qwen2_vl", repetition_penalty=0.1))
    config = GenerateConfig(max_tokens=4, logprobs=True)
    requests = [ask("no", images=[]), ask("a much longer question, then? " * 3, images=[])]
    alone = [await model.generate(request, config=config) for request in requests]
    together = await asyncio.gather(*(model.generate(r, config=config) for r in requests))
    for one, other in zip(alone, together, strict=True):
        assert one.completion == other.completion
        for a, b in zip(
            one.choices[0].logprobs.content, other.choices[0].logprobs.content, strict=True
        ):
            assert a.logprob == pytest.approx(b.logprob, abs=1e-4)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"extra_body": {"a": 1}}, "extra_body"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"effort": "low"}, "effort"),
        ({"reasoning_tokens": 5}, "reasoning_tokens"),
        ({"verbosity": "low"}, "verbosity"),
        ({"top_logprobs": 3}, "no effect without logprobs"),
    ],
)
async def test_a_setting_without_effect_is_named(load, llava, ask, caplog, setting, named):
    await load(llava).generate(ask(), config=GenerateConfig(max_tokens=1, **setting))
    assert named in caplog.text


async def test_images_in_two_turns(any_checkpoint, load, ask):
    """Each turn has its own image; another image in either turn is another prompt."""
    model = load(any_checkpoint)
    config = GenerateConfig(max_tokens=8, logprobs=True)

    async def answer(first, second):
        messages = [
            *ask("What colour?", images=[first]),
            ChatMessageAssistant(content="It is red."),
            *ask("And this one?", images=[second], size=(120, 60)),
        ]
        output, call = await model.api.generate(messages, [], "auto", config)
        assert call.request["images"] == 2
        return [entry.logprob for entry in output.choices[0].logprobs.content]

    alone = [await answer(first, second) for first, second in ((1, 2), (2, 1), (1, 3), (3, 2))]
    assert len({tuple(each) for each in alone}) == 4
    together = await asyncio.gather(
        *(answer(first, second) for first, second in ((1, 2), (2, 1), (1, 3), (3, 2)))
    )
    for one, other in zip(alone, together, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    assert data_uri(picture(1)) != data_uri(picture(2))
