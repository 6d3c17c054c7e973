"""`chat_template_kwargs`, `processor_kwargs`, and token types of processors."""

import shutil

import pytest
import transformers
from inspect_ai.model import GenerateConfig
from support.checkpoints import checkpoint

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.processor import PromptMaker

ONE = GenerateConfig(max_tokens=1)
DONE = "<think>\n\n</think>\n\n"
SWITCH = (
    "{%- if enable_thinking is defined and not enable_thinking -%}{{ DONE }}{%- endif -%}".replace(
        "DONE", repr(DONE)
    )
)


async def prompt_of(model, messages):
    """The rendered prompt, and its length in tokens."""
    output, call = await model.api.generate(messages, [], "auto", ONE)
    return call.request["prompt"], output.usage.input_tokens


@pytest.fixture
def thinking(tmp_path):
    """A checkpoint whose template can switch thinking off, as Qwen3's does."""
    folder = shutil.copytree(checkpoint("llava"), tmp_path / "thinking")
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text() + SWITCH)
    return folder


async def test_variables_reach_the_template(thinking, load, loads, ask):
    """They are for this model only: another model on the same weights keeps its own prompts."""
    off = load(thinking, chat_template_kwargs={"enable_thinking": False})
    plain = load(thinking)
    prompt, _ = await prompt_of(off, ask())
    assert prompt == (await prompt_of(plain, ask()))[0] + DONE
    assert len(loads) == 1


async def test_settings_reach_the_image_processor(load, loads, ask):
    """Tiles of InternVL: a wide image is cut into two and their overview."""
    whole = load(checkpoint("internvl"), processor_kwargs={"crop_to_patches": False})
    tiles = load(
        checkpoint("internvl"), processor_kwargs={"crop_to_patches": True, "max_patches": 2}
    )
    wide = ask(size=(112, 56))
    _, few = await prompt_of(whole, wide)
    _, many = await prompt_of(tiles, wide)
    assert many - few == 2 * 4
    assert len(loads) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chat_template_kwargs": {"think": False}}, "does not read think"),
        ({"chat_template_kwargs": {"add_generation_prompt": False}}, "is set by hf-vlm/"),
        ({"chat_template_kwargs": "enable_thinking"}, "names with values are needed"),
        ({"processor_kwargs": {1: 2}}, "names with values are needed"),
        ({"processor_kwargs": {"size": {1, 2}}}, "Use numbers, texts, lists"),
        ({"processor_kwargs": {"max_tiles": 2}}, "has no max_tiles. It has: .*crop_size"),
        ({"processor_kwargs": {"max_pixels": 2}}, "use -M max_pixels=2 itself"),
        ({"processor_kwargs": {"return_tensors": "np"}}, "has no return_tensors"),
        ({"processor_kwargs": {"do_resize": "certainly"}}, "refuses them .*do_resize"),
    ],
)
def test_what_nothing_reads_is_refused(arguments, message, llava, load):
    with pytest.raises(UserError, match=message):
        load(llava, **arguments)


async def test_token_types_are_asked_for_where_the_processor_names_them(
    qwen, load, ask, monkeypatch
):
    """Cosmos has token types but returns them only on request; here Qwen2-VL does the same."""
    monkeypatch.setattr(transformers.Qwen2VLProcessor, "return_mm_token_type_ids", False)
    assert "mm_token_type_ids" in PromptMaker(str(qwen), {}).processor.model_input_names
    output = await load(qwen).generate(ask(), config=GenerateConfig(max_tokens=3))
    assert output.usage.output_tokens == 3
