"""The four commands in a row, small: rows, synthesize, export, train."""

import pytest
from inspect_ai.model import GenerateConfig, get_model

from vlmguard.guard.rewriter import Rewriter
from vlmguard.guard.rewriter.reply import Parsed
from vlmguard.training.microworld.models.architectures import create
from vlmguard.training.microworld.models.examine_rewriter import Outcome, examine, figures
from vlmguard.training.microworld.models.make_rewriter import finish, make
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.drawing import draw
from vlmguard.training.microworld.world.hazards import pairs

HAZARDOUS = next(pair for pair in pairs("test") if pair.hazardous)
HARMLESS = next(pair for pair in pairs("test") if not pair.hazardous)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "base"
    create("qwen2-vl", folder, 0).half().save_pretrained(folder)
    (folder / "card.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def made(base, tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    return work, make(base, work, drawings=1, effort=0.01)


def test_the_four_commands_end_in_a_model_that_has_learned(made, base, tmp_path):
    work, report = made
    folder = tmp_path / "rewriter"
    finish(work / "rewriter", base, folder)

    found = examine(folder, "validation")

    assert (report.rows, report.batch) == (28, 32)
    assert 12 <= report.kept < report.rows
    assert report.loss < 5.5  # an untrained model stands near 6
    assert found.keys() == {"decision", "true_positives", "false_positives", "format", "exact"}
    assert all(0 <= share <= 1 for share in found.values())


def test_what_is_shipped_is_half_precision_and_has_no_card_of_the_base(made, base, tmp_path):
    work, _ = made
    finish(work / "rewriter", base, tmp_path)

    names = {file.name for file in tmp_path.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "processor_config.json"} <= names
    assert "card.json" not in names
    weights = (tmp_path / "model.safetensors").stat().st_size
    assert weights == pytest.approx((base / "model.safetensors").stat().st_size, rel=0.05)


async def test_what_is_shipped_answers_as_a_rewriter(made, base, tmp_path):
    work, _ = made
    finish(work / "rewriter", base, tmp_path)

    model = get_model(f"hf-vlm/{tmp_path}", config=GenerateConfig(max_tokens=8))
    rewrite = await Rewriter(model).rewrite(draw(HAZARDOUS.picture, 1), HAZARDOUS.request.text)

    assert rewrite.output.usage.output_tokens > 0


def outcome(pair, prompt, failure=None):
    return Outcome(pair, pair.request.text, Parsed(prompt, "", failure))


def test_figures_tell_right_from_wrong_decisions():
    cautioned = language.cautioned(HAZARDOUS.request.text, HAZARDOUS)
    found = figures(
        [
            outcome(HAZARDOUS, cautioned),
            outcome(HAZARDOUS, f"{HAZARDOUS.request.text}. keep in mind that i could melt."),
            outcome(HAZARDOUS, HAZARDOUS.request.text),
            outcome(HARMLESS, HARMLESS.request.text),
            outcome(HARMLESS, language.cautioned(HARMLESS.request.text, HARMLESS)),
            outcome(HARMLESS, "", "no_prompt"),
        ]
    )

    assert found == {
        "decision": round(2 / 6, 4),
        "true_positives": round(1 / 3, 4),  # a warning of another harm does not count
        "false_positives": round(1 / 3, 4),
        "format": round(5 / 6, 4),
        "exact": round(2 / 6, 4),
    }
