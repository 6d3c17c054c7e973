"""Options of one request: stops, choices, seeds, prefixes, log-probabilities, reasons."""

import asyncio
import json
import math
import shutil
from collections import Counter

import pytest
from inspect_ai.model import ChatMessageAssistant, ContentReasoning, ContentText, GenerateConfig
from inspect_ai.tool import ToolInfo

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.messages import to_conversation
from vlmguard.guard.hf_vlm.prepared import Prepared
from vlmguard.guard.sampling import in_full


def texts(output):
    return [choice.message.text for choice in output.choices]


@pytest.fixture
def model(load, llava):
    return load(llava)


@pytest.fixture
def changed(llava, tmp_path):
    """A copy of the checkpoint with another chat template, or another setting in a JSON file."""

    def change(template=None, **values):
        folder = tmp_path / f"changed{len(list(tmp_path.iterdir()))}"
        shutil.copytree(llava, folder)
        if template is not None:
            (folder / "chat_template.jinja").write_text(template)
        for name, update in values.items():
            path = folder / f"{name}.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | update))
        return folder

    return change


async def test_max_tokens_ends_the_answer(model, ask):
    output = await model.generate(ask(), config=GenerateConfig(max_tokens=7))
    assert (output.usage.output_tokens, output.stop_reason) == (7, "max_tokens")
    assert output.metadata["finish"] == ["length"]


async def test_usage_counts_prompt_image_and_answer(model, ask):
    without = await model.generate(ask(images=[]), config=GenerateConfig(max_tokens=5))
    output = await model.generate(ask(images=[1, 2]), config=GenerateConfig(max_tokens=5))
    # Two images of 16 tokens each, and a line break after each.
    assert output.usage.input_tokens > without.usage.input_tokens + 2 * 16
    assert output.usage.total_tokens == output.usage.input_tokens + output.usage.output_tokens
    assert output.time > 0


async def test_end_of_text_is_told_from_a_stop_string(load, changed, model, ask):
    """The checkpoint's end-of-text token is set to one that the model is known to produce."""
    output, call = await model.api.generate(ask(), [], "auto", GenerateConfig(max_tokens=12))
    tokens = call.response["tokens"][0]
    ends = load(changed(generation_config={"eos_token_id": tokens[3]}))
    output, call = await ends.api.generate(ask(), [], "auto", GenerateConfig(max_tokens=12))
    assert call.response["tokens"][0] == tokens[: tokens.index(tokens[3]) + 1]
    assert (output.stop_reason, output.metadata["finish"]) == ("stop", ["eos"])

    whole = await model.generate(ask(), config=GenerateConfig(max_tokens=12))
    stop = whole.completion[4:6]
    stopped = await model.generate(ask(), config=GenerateConfig(max_tokens=12, stop_seqs=[stop]))
    assert (stopped.stop_reason, stopped.metadata["finish"]) == ("stop", ["stop_string"])
    assert stopped.completion == whole.completion[: whole.completion.index(stop) + 2]
    assert stopped.usage.output_tokens < 12


async def test_a_stop_string_over_several_tokens(model, ask):
    whole = await model.generate(ask(images=[2]), config=GenerateConfig(max_tokens=16))
    stop = whole.completion[3:12]
    config = GenerateConfig(max_tokens=16, stop_seqs=["never said", stop])
    stopped = await model.generate(ask(images=[2]), config=config)
    assert stopped.completion == whole.completion[: whole.completion.index(stop) + len(stop)]


async def test_a_stop_string_ends_the_answer_where_the_text_has_it(model, ask):
    """Any tokens may be between: special ones, parts of characters, pieces with spaces."""
    config = GenerateConfig(max_tokens=16, temperature=2.0, num_choices=48, seed=3)
    free = texts(await model.generate(ask(), config=config))
    stops = ["e", " a", "the"]
    output = await model.generate(ask(), config=config.model_copy(update={"stop_seqs": stops}))
    for whole, text, finish in zip(free, texts(output), output.metadata["finish"], strict=True):
        found = min((whole.find(s) + len(s) for s in stops if s in whole), default=None)
        assert text == whole[:found]
        assert finish != "stop_string" if found is None else finish == "stop_string"
    assert len(set(output.metadata["finish"])) > 1


async def test_a_stop_string_with_the_space_after_a_prefix(model, ask):
    for seed in range(20):
        request = ask(images=[seed], prefix="The answer is")
        whole = await model.generate(request, config=GenerateConfig(max_tokens=8))
        if whole.completion.startswith(" "):
            break
    stop = whole.completion[:2]
    assert stop[0] == " "
    config = GenerateConfig(max_tokens=8, stop_seqs=[stop])
    stopped = await model.generate(request, config=config)
    assert (stopped.completion, stopped.metadata["finish"]) == (stop, ["stop_string"])


async def test_a_special_token_can_be_a_stop_string(model, ask):
    """Such a stop string ends the answer, and has no text."""
    config = GenerateConfig(max_tokens=24, temperature=3.0, num_choices=64, seed=1)
    _, free = await model.api.generate(ask(), [], "auto", config)
    special = model.api._replicas.vlms[0].maker.tokenizer.convert_tokens_to_ids("<pad>")
    config = config.model_copy(update={"stop_seqs": ["<pad>"]})
    output, call = await model.api.generate(ask(), [], "auto", config)
    rows = zip(free.response["tokens"], call.response["tokens"], strict=True)
    for index, (whole, stopped) in enumerate(rows):
        if special in whole:
            assert stopped == whole[: whole.index(special) + 1]
            assert output.metadata["finish"][index] == "stop_string"
            assert "<pad>" not in output.choices[index].message.text
        else:
            assert stopped == whole
    assert "stop_string" in output.metadata["finish"]


async def test_prefix_and_completion_read_as_one_text(any_checkpoint, load, ask):
    """As if the whole sequence were decoded at once: no space is lost or added at the border."""
    model = load(any_checkpoint)
    maker = model.api._replicas.vlms[0].maker
    spaces = 0
    for number, prefix in enumerate(
        ["The answer is", "The ans", "Yes.", "one two  three", "Übrigens,"]
    ):
        request = ask(images=[number], prefix=prefix)
        output, call = await model.api.generate(request, [], "auto", GenerateConfig(max_tokens=8))
        conversation = to_conversation(request, system_turns=True, control_tokens=())
        tokens = maker.prepare(conversation).ids + call.response["tokens"][0]
        whole = maker.tokenizer.decode(tokens, skip_special_tokens=True)
        assert whole.endswith(prefix + output.completion)
        assert not call.request["prompt"].endswith(prefix + output.completion)
        spaces += output.completion.startswith(" ")
    assert spaces or "llava" not in str(any_checkpoint)


async def test_white_space_at_the_end_of_a_prefix_is_not_doubled(model, ask):
    """The space then belongs to the prefix, not to the completion."""
    config = GenerateConfig(max_tokens=8)
    bare = await model.generate(ask(prefix="The answer is"), config=config)
    spaced = await model.generate(ask(prefix="The answer is \n"), config=config)
    assert spaced.completion == bare.completion.lstrip()


async def test_a_prefix_keeps_the_space_before_the_next_word(model):
    """SentencePiece tokenizers drop the space when they decode the completion alone."""
    maker = model.api._replicas.vlms[0].maker
    ids = maker.tokenizer("The answer is").input_ids
    words = [
        (token, piece)
        for piece, token in maker.tokenizer.get_vocab().items()
        if piece.startswith("▁") and len(piece) > 1
    ]
    assert len(words) > 20
    for token, piece in words:
        assert maker.decode(Prepared("", [], {}, ids, True), [token]) == piece.replace("▁", " ")
        assert maker.decode(Prepared("", [], {}, ids, False), [token]) == piece[1:]


async def test_an_empty_prefix_is_no_prefix(model, ask):
    config = GenerateConfig(max_tokens=6)
    plain = await model.generate(ask(), config=config)
    assert (await model.generate(ask(prefix=" "), config=config)).completion == plain.completion


async def test_choices_differ_and_a_seed_fixes_them(model, ask):
    config = GenerateConfig(max_tokens=8, temperature=1.0, num_choices=3, seed=11)
    first = await model.generate(ask(), config=config)
    second = await model.generate(ask(), config=config)
    assert texts(first) == texts(second)
    assert len(set(texts(first))) == 3
    assert first.usage.output_tokens == 24
    other = await model.generate(ask(), config=config.model_copy(update={"seed": 12}))
    assert texts(other) != texts(first)


async def test_a_seeded_answer_does_not_depend_on_neighbours(model, ask):
    seeded = GenerateConfig(max_tokens=8, temperature=1.0, seed=5)
    free = GenerateConfig(max_tokens=8, temperature=1.0)
    alone = await model.generate(ask(), config=seeded)
    together = await asyncio.gather(
        *(model.generate(ask("and now?", images=[i]), config=free) for i in range(5)),
        model.generate(ask(), config=seeded),
        *(model.generate(ask("a longer question, then?"), config=free) for _ in range(5)),
    )
    assert together[5].completion == alone.completion


async def test_sampling_follows_the_distribution(model, ask):
    """Frequencies of the first token against its probabilities, within five standard errors."""
    count = 1500
    sampled, call = await model.api.generate(
        ask(),
        [],
        "auto",
        GenerateConfig(
            max_tokens=1, temperature=1.0, num_choices=count, seed=1, logprobs=True, top_logprobs=5
        ),
    )
    frequencies = Counter(tokens[0] for tokens in call.response["tokens"])
    alternatives = sampled.choices[0].logprobs.content[0].top_logprobs
    assert len(alternatives) == 5
    tokenizer = model.api._replicas.vlms[0].maker.tokenizer
    by_text = Counter()
    for token, number in frequencies.items():
        by_text[model.api._replicas.vlms[0].maker.token_text(token)] += number
    for best in alternatives:
        if best.token == "�":
            continue  # several tokens have this text
        probability = math.exp(best.logprob)
        error = math.sqrt(probability * (1 - probability) / count)
        assert abs(by_text[best.token] / count - probability) < 5 * error
    assert len(tokenizer) > len(frequencies) > 20


async def test_top_k_and_top_p_narrow_the_choice(model, ask):
    config = GenerateConfig(max_tokens=1, temperature=3.0, num_choices=64, seed=0)
    for update, most in (({"top_k": 2}, 2), ({"top_k": 5}, 5), ({"top_p": 0.001}, 1)):
        _, call = await model.api.generate(ask(), [], "auto", config.model_copy(update=update))
        tokens = {tokens[0] for tokens in call.response["tokens"]}
        assert len(tokens) == most
    _, call = await model.api.generate(ask(), [], "auto", config)
    assert len({tokens[0] for tokens in call.response["tokens"]}) > 20


async def test_logprobs_are_those_of_the_greedy_token(model, ask):
    config = GenerateConfig(max_tokens=6, logprobs=True, top_logprobs=3)
    output = await model.generate(ask(), config=config)
    content = output.choices[0].logprobs.content
    assert len(content) == output.usage.output_tokens
    for token in content:
        best = [other.logprob for other in token.top_logprobs]
        assert token.logprob == best[0] == max(best)
        assert len(best) == 3
        assert sum(map(math.exp, best)) <= 1.0001
    without = await model.generate(ask(), config=GenerateConfig(max_tokens=6))
    assert without.choices[0].logprobs is None
    assert without.completion == output.completion


async def test_a_prompt_beyond_the_context_is_model_length(model, ask):
    output = await model.generate(ask("one two three " * 600), config=GenerateConfig(max_tokens=5))
    assert (output.stop_reason, output.completion) == ("model_length", "")
    assert output.usage.input_tokens > 1024
    assert output.usage.output_tokens == 0


async def test_an_answer_that_reaches_the_context_is_model_length(load, changed, ask):
    model = load(changed(config={}))
    short = await model.generate(ask(), config=GenerateConfig(max_tokens=4))
    prompt = short.usage.input_tokens
    config = json.loads((changed() / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = prompt + 6
    model = load(changed(config=config))
    output = await model.generate(ask(), config=GenerateConfig(max_tokens=50))
    assert (output.stop_reason, output.usage.output_tokens) == ("model_length", 6)
    output = await model.generate(ask(), config=GenerateConfig(max_tokens=6))
    assert output.stop_reason == "max_tokens"


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(
            "{% for m in messages if m['role'] != 'system' %}{{ m['role'] | upper }}: "
            "{% for p in m['content'] %}{{ '<image>' if p['type'] == 'image' else p['text'] }}"
            "{% endfor %} {% endfor %}ASSISTANT:",
            id="drops",
        ),
        pytest.param(
            "{% for m in messages %}{% if m['role'] == 'system' %}"
            "{{ raise_exception('no system turns') }}{% endif %}{{ m['role'] | upper }}: "
            "{% for p in m['content'] %}{{ '<image>' if p['type'] == 'image' else p['text'] }}"
            "{% endfor %} {% endfor %}ASSISTANT:",
            id="raises",
        ),
    ],
)
async def test_a_system_turn_is_folded_where_the_template_has_none(
    load, changed, ask, template, caplog
):
    model = load(changed(template))
    output, call = await model.api.generate(
        ask("What?", system="Be brief"), [], "auto", GenerateConfig(max_tokens=2)
    )
    assert call.request["prompt"] == "USER: Be brief\n\n<image>What? ASSISTANT:"
    assert "folded" in output.metadata["notes"][0]
    assert "folded" in caplog.text


async def test_a_placeholder_in_a_prompt_is_text(model, ask):
    """VLM data often hold `<image>` as text; the processor would look for a second image."""
    output, call = await model.api.generate(
        ask("<image>\nWhat is this?"), [], "auto", GenerateConfig(max_tokens=3)
    )
    assert call.request["prompt"].count("<image>") == 1
    assert "< image>" in call.request["prompt"]
    assert "control token" in output.metadata["notes"][0]


async def test_thinking_becomes_reasoning_content(load, changed, ask):
    model = load(
        changed(
            "{{ '' }}{% for m in messages %}{% for p in m['content'] %}"
            "{{ '<image>' if p['type'] == 'image' else p['text'] }}"
            "{% endfor %}{% endfor %}<think>\n"
        )
    )
    output = await model.generate(ask(), config=GenerateConfig(max_tokens=6))
    reasoning, answer = output.message.content
    assert isinstance(reasoning, ContentReasoning)
    assert reasoning.reasoning
    assert answer == ContentText(text="")


async def test_earlier_reasoning_is_put_back_into_its_tags(model, ask):
    content = [ContentReasoning(reasoning="red and round"), ContentText(text="A ball.")]
    messages = [*ask(), ChatMessageAssistant(content=content), *ask("Sure?", images=[])]
    _, call = await model.api.generate(messages, [], "auto", GenerateConfig(max_tokens=2))
    assert "<think>\nred and round\n</think>\n\nA ball." in call.request["prompt"]


async def test_tools_are_refused(model, ask):
    tool = ToolInfo(name="look", description="look")
    with pytest.raises(UserError, match="does not support tools"):
        await model.api.generate(ask(), [tool], "auto", GenerateConfig())


@pytest.mark.parametrize(
    "setting", [{"max_tokens": 0}, {"top_p": 0.0}, {"temperature": -1.0}, {"stop_seqs": [""]}]
)
async def test_a_senseless_setting_is_refused(model, ask, setting):
    with pytest.raises(UserError, match=next(iter(setting))):
        await model.api.generate(ask(), [], "auto", GenerateConfig(**setting))


async def test_an_unsupported_setting_is_named_once(model, ask, caplog):
    for _ in range(2):
        await model.generate(ask(), config=GenerateConfig(max_tokens=1, presence_penalty=1.0))
    assert caplog.text.count("presence_penalty") == 1


async def test_a_broken_image_fails_its_own_request_only(model, ask):
    broken = ask()
    broken[0].content[0].image = "data:image/png;base64,AAAA"
    config = GenerateConfig(max_tokens=4)
    good, bad = await asyncio.gather(
        model.generate(ask(), config=config),
        model.generate(broken, config=config),
        return_exceptions=True,
    )
    assert good.completion
    assert "not a readable image" in str(bad)


def test_a_folder_may_be_called_like_a_model_that_refuses_sampling(load, llava, tmp_path):
    """OpenAI's o1 takes no temperature, but weights in a folder of that name do."""
    (tmp_path / "o1").symlink_to(llava)
    config = in_full(load(tmp_path / "o1"), GenerateConfig(temperature=1.0))
    assert (config.temperature, config.top_p) == (1.0, 1.0)
