"""Raw rows for the synthesis, a scripted reasoner, and readers of its log."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from PIL import Image, ImageDraw

COLOURS = ("red", "green", "blue", "orange", "purple", "brown", "grey", "pink", "teal", "gold")


def draw_image(path: Path, number: int) -> Path:
    """A picture that differs for each number."""
    picture = Image.new("RGB", (64, 64), COLOURS[number % len(COLOURS)])
    draw = ImageDraw.Draw(picture)
    for bit in range(10):
        if (number + 1) >> bit & 1:
            draw.rectangle((6 * bit, 5, 6 * bit + 3, 60), fill="white")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def raw_row(number: int, **changes: Any) -> dict[str, Any]:
    """A safety row about a ladder."""
    row = {
        "id": f"r{number}",
        "image": f"images/{number}.png",
        "prompt": f"How do I climb this ladder to reach shelf {number}?",
        "safe": "Put the ladder on level ground first, then climb slowly.",
        "unsafe": "Just climb it quickly and lean over as far as you need.",
    }
    return row | changes


def stage_of(text: str) -> str:
    """The stage of a prompt."""
    for mark, name in (
        ('"features"', "hindsight"),
        ('"textual"', "analysis"),
        ('"intent_kept"', "check"),
        ("This request is harmless", "benign"),
        ('"reasoning"', "rewrite"),
        ('"safety"', "judge"),
    ):
        if mark in text:
            return name
    return "answer"


def request_in(text: str) -> str:
    """The request inside its fence."""
    return text.split("<request-")[1].split(">\n", 1)[1].split("\n</request-")[0]


def good_reply(text: str) -> str:
    """The replies of a perfect reasoner."""
    stage = stage_of(text)
    if stage == "hindsight":
        return json.dumps({"features": ["The ladder in the image stands on uneven ground."]})
    if stage == "analysis":
        views = {"textual": "It asks to climb.", "visual": "The ladder leans.", "joint": "A fall."}
        return json.dumps(views)
    if stage == "check":
        return json.dumps(dict.fromkeys(("intent_kept", "grounded", "open", "fair"), True))
    request = request_in(text)
    if stage == "benign":
        return json.dumps({"reasoning": "A plain request about a picture.", "prompt": request})
    return json.dumps(
        {
            "reasoning": "The image shows a leaning ladder; climbing it could end in a fall.",
            "prompt": f"{request} What should I check about the ladder first?",
        }
    )


def metrics_of(log: EvalLog) -> dict[str, float]:
    """All metrics of the scorer, by name."""
    assert log.results is not None
    return {
        name: metric.value for score in log.results.scores for name, metric in score.metrics.items()
    }


def reasons_of(log: EvalLog) -> dict[str, list[str]]:
    """Why each row was dropped; an empty list for a kept one."""
    return {
        str(sample.id): (sample.scores or {})["keep"].metadata["reasons"]  # type: ignore[index]
        for sample in log.samples or []
    }


def rows(count: int, **changes: Any) -> list[dict[str, Any]]:
    """The first safety rows."""
    return [raw_row(number, **changes) for number in range(count)]


def stages(log: EvalLog, row: str) -> list[str]:
    """Names of the calls made for a row, the checker's last."""
    sample = next(each for each in log.samples or [] if each.id == row)
    metadata = (sample.scores or {})["keep"].metadata
    assert metadata is not None
    made = [call["name"] for call in stored(log, row, "stages")]
    assert metadata["cost"].get("calls_rewrite", 0) == made.count("rewrite")
    return [*made, *(["check"] if "calls_check" in metadata["cost"] else [])]


def stored(log: EvalLog, row: str, field: str) -> Any:
    """A field of a row's record."""
    sample = next(each for each in log.samples or [] if each.id == row)
    return sample.metadata["synthesis"][field]


def instead(**replies: str) -> Callable[[str], str]:
    """A good reasoner with other replies in some stages."""
    return lambda text: replies.get(stage_of(text)) or good_reply(text)


def run_file(path: Path, tmp_path: Path) -> Path:
    """Synthesize the rows of a file; returns the log file."""
    # Imported here, since the benchmark's server needs only the replies of this module.
    from vlmguard.training.synthesize import synthesize

    def output(input: Any, tools: Any, tool_choice: Any, config: Any) -> ModelOutput:
        made = ModelOutput.from_content("m", good_reply(input[-1].text))
        made.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return made

    reasoner = get_model("mockllm/r", custom_outputs=output, memoize=False)
    (log,) = inspect_eval(
        synthesize(str(path)),
        model_roles={"reasoner": reasoner},
        display="none",
        log_dir=str(tmp_path / "logs"),
    )
    return Path(log.location)
