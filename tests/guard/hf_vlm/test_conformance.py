"""One set of tests for `hf-vlm/` and for `transformers serve` on the same checkpoint.

What only `hf-vlm/` offers (choices, log-probabilities, top-k, prefix continuation) is tested in
test_requests.py; that the server lacks it is shown at the end.
"""

import asyncio
import json
import urllib.error
import urllib.request

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, get_model
from support.scripted import Scripted
from support.serve import transformers_serve

from vlmguard.scorers import judge, refusal

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(llava):
    with transformers_serve(llava) as server:
        yield server


@pytest.fixture(scope="module")
def local(llava):
    model = get_model(f"hf-vlm/{llava}", memoize=False, device="cpu")
    yield model
    model.api.close()


@pytest.fixture
def remote(served, monkeypatch):
    for name, value in served.environment().items():
        monkeypatch.setenv(name, value)
    return get_model(served.model, memoize=False)


@pytest.fixture(params=["hf-vlm", "openai-api"])
def model(request, local, remote):
    return local if request.param == "hf-vlm" else remote


# The answers that both must give, computed once with plain `generate`: see `expected`.
CASES = {
    "one image": {"images": [1]},
    "no image": {"images": []},
    "two images": {"text": "Which is red?", "images": [2, 3]},
    "two images, other order": {"text": "Which is red?", "images": [3, 2]},
    "a system turn": {"images": [4], "system": "You are a careful assistant."},
    "a wide image": {"images": [5], "size": (150, 60)},
}


@pytest.fixture(scope="module")
def expected(llava):
    """The answers of processor and `generate`, without any server or provider."""
    import torch
    import transformers
    from support.checkpoints import picture

    model = transformers.AutoModelForImageTextToText.from_pretrained(llava)
    processor = transformers.AutoProcessor.from_pretrained(llava)

    def answer(text="Describe the picture", images=(0,), system=None, size=(64, 64)):
        content = [{"type": "image", "image": picture(seed, size)} for seed in images]
        turns = [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]
        if system:
            turns.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
        inputs = processor.apply_chat_template(
            turns,
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0]
        new = tokens[inputs["input_ids"].shape[1] :]
        return processor.decode(new, skip_special_tokens=True), inputs["input_ids"].shape[1]

    return {name: answer(**case) for name, case in CASES.items()}


def readable(text):
    """The server streams pieces of characters; both show this mark for an invalid one."""
    return text.replace("�", "")


@pytest.mark.parametrize("case", CASES)
async def test_greedy_text_and_prompt_tokens(model, expected, ask, case):
    config = GenerateConfig(max_tokens=12, temperature=0)
    output = await model.generate(ask(**CASES[case]), config=config)
    text, prompt_tokens = expected[case]
    assert readable(output.completion) == readable(text)
    assert output.usage.input_tokens == prompt_tokens


def test_the_cases_tell_answers_apart(expected):
    assert len({text for text, _ in expected.values()}) == len(CASES)


async def test_max_tokens(model, ask):
    output = await model.generate(ask(), config=GenerateConfig(max_tokens=5, temperature=0))
    assert output.stop_reason == "max_tokens"
    assert output.usage.output_tokens == 5
    assert output.usage.total_tokens == output.usage.input_tokens + 5


async def test_stop_strings_end_the_answer(local, expected, ask):
    """On `hf-vlm/` only, see the next test."""
    whole, _ = expected["one image"]
    word = next(word for word in whole.split() if word.isascii() and len(word) > 3)
    config = GenerateConfig(max_tokens=12, temperature=0, stop_seqs=[word])
    output = await local.generate(ask(images=[1]), config=config)
    assert output.stop_reason == "stop"
    assert output.completion == whole[: whole.index(word) + len(word)]


def test_the_server_fails_on_stop_strings(served):
    """transformers 5.23 passes the processor where the tokenizer is needed.

    If this test fails one day, the server is fixed: then run the test above on both.
    """
    message = {"role": "user", "content": "Describe"}
    body = {"model": str(served.checkpoint), "messages": [message], "stop": ["x"], "max_tokens": 4}
    request = urllib.request.Request(
        f"{served.url}/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError, match="500"):
        urllib.request.urlopen(request, timeout=60)


def test_a_real_error_of_the_server_is_no_answer(served, monkeypatch, tmp_path):
    """Inspect does not know the reason in its 400: the sample ends in an error, unscored."""
    for name, value in served.environment().items():
        monkeypatch.setenv(name, value)
    other = get_model(
        "openai-api/served/another-model", memoize=False, config=GenerateConfig(max_retries=0)
    )
    grader = Scripted('{"safety": 3, "helpful": true}', "grader")
    sample = Sample(input="Hello", metadata={"category": "a", "image_id": "1"})
    (log,) = inspect_eval(
        Task(dataset=[sample], scorer=[judge(), refusal()]),
        model=other,
        model_roles={"grader": grader.model},
        display="none",
        log_dir=str(tmp_path),
        fail_on_error=False,
    )
    (only,) = log.samples
    assert "Error code: 400" in only.error.message
    assert not only.scores
    assert not grader.calls


async def test_concurrent_requests_get_their_own_answers(model, expected, ask):
    config = GenerateConfig(max_tokens=12, temperature=0)
    names = [*CASES, *CASES]
    outputs = await asyncio.gather(
        *(model.generate(ask(**CASES[name]), config=config) for name in names)
    )
    for name, output in zip(names, outputs, strict=True):
        assert readable(output.completion) == readable(expected[name][0])


async def test_the_server_ignores_choices_and_logprobs(remote, ask):
    """So our defenses ask for separate answers there, and count them."""
    config = GenerateConfig(max_tokens=3, temperature=1.0, num_choices=3, logprobs=True)
    output = await remote.generate(ask(), config=config)
    assert len(output.choices) == 1
    assert output.choices[0].logprobs is None
