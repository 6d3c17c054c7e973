import pytest
import torch
import transformers
from support.checkpoints import BUILDERS, checkpoint, checkpoint_fixture, picture

tiny = checkpoint_fixture("llava")


@pytest.mark.parametrize("name", BUILDERS)
def test_every_checkpoint_loads_like_a_downloaded_one(name):
    folder = checkpoint(name)
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert model.config.model_type == name
    assert tokenizer.chat_template
    text = "The answer is yes, 4 °C.\n\nTwo  spaces"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_the_greedy_answer_depends_on_the_image(tiny):
    model = transformers.AutoModelForImageTextToText.from_pretrained(tiny)
    processor = transformers.AutoProcessor.from_pretrained(tiny)
    answers = []
    for seed in range(3):
        inputs = processor(
            text="USER: <image>\nwhat ASSISTANT:", images=picture(seed), return_tensors="pt"
        )
        with torch.inference_mode():
            answers.append(model.generate(**inputs, max_new_tokens=8, do_sample=False).tolist())
    assert len({str(answer) for answer in answers}) == 3


def test_a_checkpoint_is_built_once():
    assert checkpoint("llava") is checkpoint("llava")
