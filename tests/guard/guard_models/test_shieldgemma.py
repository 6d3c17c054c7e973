"""ShieldGemma 2 on a tiny checkpoint of its real architecture, with random weights."""

from pathlib import Path

import pytest
import torch
import transformers
from inspect_ai.model import ChatMessageTool, ContentImage
from support.auxiliaries import build_shieldgemma
from support.checkpoints import checkpoint
from support.scripted import picture, user

from vlmguard.guard.defense.conversation import Conversation
from vlmguard.guard.errors import UserError
from vlmguard.guard.guard_models.base import Exchange, GuardModel
from vlmguard.guard.guard_models.formats import guard_format
from vlmguard.guard.images.prepare import from_data_uri

pytestmark = pytest.mark.slow

POLICIES = ("dangerous", "sexual", "violence")
RED, BLUE = picture("red"), picture("blue")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_shieldgemma(tmp_path_factory.mktemp("models") / "shieldgemma")


def guard(folder: Path, **options: object) -> GuardModel:
    return guard_format("shieldgemma", {"checkpoint": str(folder), "device": "cpu"} | options)


def probabilities(folder: Path, image: str) -> dict[str, float]:
    """P(Yes) of each policy, from the forward pass of one prompt at a time."""
    model = transformers.ShieldGemma2ForImageClassification.from_pretrained(folder).eval()
    processor = transformers.ShieldGemma2Processor.from_pretrained(folder)
    found = {}
    for policy in POLICIES:
        inputs = processor(images=[from_data_uri(image)], policies=[policy], return_tensors="pt")
        with torch.inference_mode():
            logits = model.model(**inputs).logits[0, -1]
        yes, no = logits[model.config.yes_token_index], logits[model.config.no_token_index]
        found[policy] = float(torch.sigmoid(yes - no))
    return found


async def test_the_score_is_the_highest_probability_of_yes(folder: Path) -> None:
    expected = probabilities(folder, RED)

    checked = await guard(folder).check(Exchange(Conversation([user("Hi", RED)])))

    assert checked.verdict.score == pytest.approx(max(expected.values()), abs=1e-4)
    assert {
        name: float(value)
        for name, value in zip(*[iter(checked.verdict.raw.split())] * 2, strict=True)
    } == pytest.approx(expected, abs=2e-4)
    over = tuple(name for name in POLICIES if expected[name] >= 0.5)
    assert (checked.verdict.label, checked.verdict.categories) == (
        "unsafe" if over else "safe",
        over,
    )
    assert [(stage.name, stage.role, stage.calls) for stage in checked.stages] == [
        ("guard_input", "guard", 3)
    ]


async def test_threshold_policies_and_images(folder: Path) -> None:
    red, blue = (probabilities(folder, image)["sexual"] for image in (RED, BLUE))
    assert abs(red - blue) > 1e-3
    between = (red + blue) / 2
    exchange = Exchange(Conversation([user("Hi", RED), user("And?", BLUE)]))

    checked = await guard(folder, policies="sexual", threshold=between).check(exchange)
    alone = await guard(folder, policies=["sexual"], threshold=between).check(
        Exchange(Conversation([user("Hi", RED if red < blue else BLUE)]))
    )

    assert (checked.verdict.label, checked.verdict.categories) == ("unsafe", ("sexual",))
    assert checked.verdict.score == pytest.approx(max(red, blue), abs=1e-4)
    assert len(checked.stages) == 2
    assert alone.verdict.label == "safe"


async def test_without_an_image_there_is_nothing_to_check(folder: Path) -> None:
    shown = ChatMessageTool(content=[ContentImage(image=RED)])

    assert guard(folder).skipped(Exchange(Conversation([user("Hi")]))) == "no_image"
    later = Exchange(Conversation([user("Hi"), shown, user("What was that?")]))
    assert guard(folder).skipped(later) == ""
    assert (await guard(folder).check(later)).verdict.parsed


async def test_faults_show_before_anything_is_paid_for(folder: Path) -> None:
    with pytest.raises(UserError, match=r"choose among dangerous, sexual, violence"):
        guard(folder, policies=["hate"])
    with pytest.raises(UserError, match="threshold=0"):
        guard(folder, threshold=0)
    with pytest.raises(UserError, match="no such folder"):
        await guard(folder / "absent").ready()
    with pytest.raises(UserError, match="not a ShieldGemma 2 but of the kind gemma3"):
        await guard(checkpoint("gemma3")).ready()
    with pytest.raises(UserError, match="needs the option checkpoint"):
        guard_format("shieldgemma")
