"""What is special about the pages beside the code: training/, tasks/, guard/, CONTRIBUTING."""

import json
from pathlib import Path

from support.folders import draw_image, write_figstep, write_json
from support.howtos.manual import (
    GUARD,
    MODELS,
    TRAINED_HERE,
    rewriter,
)
from support.howtos.pages import NotRun, Serves, Tables, Yaml
from support.howtos.world import World
from support.howtos.yamls import as_guardrails, as_policy, as_preset
from support.recordings import recorded
from support.siuo_folder import write_siuo
from support.synthesis import draw_image as draw_row

PRODUCT = """\
for number in 1 2 3; do
    curl -s http://127.0.0.1:8900/v1/chat/completions -H 'Content-Type: application/json' \\
        -H 'Authorization: Bearer sk-product' --data-binary @"request-$number.json"
done
"""
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)


def trainer(folder: Path, world: World) -> None:
    """Rows, an adapter, recorded traffic, train splits of others, and a set with scenarios."""
    rewriter(folder, world)
    recorded(folder / "records/week1", ["pass", "rewrite", "block", "pass"])
    figstep = write_figstep(folder / "data/figstep", per_category=3) / "data"
    # As the whole set, the one that is taken where nobody says which.
    (figstep / "question/SafeBench-Tiny.csv").rename(figstep / "question/safebench.csv")
    (figstep / "images/SafeBench-Tiny").rename(figstep / "images/SafeBench")
    siuo = write_siuo(folder / "data/siuo", 2)
    # Plain pictures are all alike to the leak check.
    for number, picture in enumerate(sorted(siuo.rglob("*.png"))):
        draw_row(picture, 20 + number)


def talks(folder: Path, world: World) -> None:
    """Two dialogues about a picture."""
    turns = ["What is this?", "And how do I open it?"]
    draw_image(folder / "pear.png", 40)
    rows = [{"dialogue": turns, "img": "pear.png"} for _ in range(2)]
    (folder / "talks.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in rows))


def product(folder: Path, world: World) -> None:
    """A photo, and requests of a product."""
    draw_image(folder / "photo.jpg", 80)
    for number in range(1, 4):
        parts = [
            {"type": "image_url", "image_url": {"url": PIXEL}},
            {"type": "text", "text": f"How do I climb ladder {number}?"},
        ]
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": parts}]}
        write_json(folder / f"request-{number}.json", body)


def kitchen(folder: Path, world: World) -> None:
    """The folder that the new benchmark reads."""
    items = []
    for number in range(2):
        draw_image(folder / "FOLDER/images" / f"{number}.png", 40 * number)
        request = {"question": "How do I clean this pan?", "category": "cleaning"}
        items.append({"id": number, "image": f"{number}.png", **request})
    write_json(folder / "FOLDER/items.json", items)


def make(target: str, why: str, covered: str) -> NotRun:
    """A target of the Makefile."""
    return NotRun(f"make {target}", why, covered)


SEVERAL = (
    "tests/training/finetune/test_sharded.py"
    "::test_processes_that_end_at_different_lengths_rewrite_together"
)
GRPO = (
    "tests/training/finetune/test_grpo_runs.py"
    "::test_a_run_that_was_killed_pays_for_nothing_twice_and_ends_as_one_that_was_not"
)
AGENT = (
    "tests/integrations/test_langchain.py"
    "::test_the_model_gets_the_rewrite_and_the_history_keeps_the_request"
)
SHOT = "tests/docs/test_screenshot.py::test_the_picture_is_of_todays_page"
POOL = (
    "tests/training/adashield/test_pool_making.py"
    "::test_a_static_prompt_that_works_is_only_validated"
)
STEPS = "tests/test_new.py::test_the_steps_ship_a_defense_and_a_benchmark"
CARDS = "tests/test_cards.py::test_the_readmes_tables_are_made_of_cards"
BENCH = "Makefile: tests/support/benchmarks.py"
PARTS: dict[str, Tables] = {
    "training/README.md": Tables(
        bindings={
            **MODELS,
            "LLM": "openai/gpt-4o-mini",
        },
        not_run=(
            TRAINED_HERE,
            NotRun(
                "inspect eval vlmguard/synthesize -T data=vlguard,spa_vl:DIR",
                "thousands of rows of gated sets; the dots are models of the reader",
                "tests/training/synthesis/test_sources.py::test_the_mix_can_be_drawn_by_source",
            ),
            *(
                NotRun(begins, "the sets here are cut to a variant that is not the usual one", POOL)
                for begins in (
                    "inspect eval vlmguard/adashield_pool",
                    "vlmguard pool logs/pool",
                    "inspect eval vlmguard/figstep --solver adashield",
                )
            ),
            NotRun("accelerate launch", "several GPUs", SEVERAL),
            NotRun(
                "vlmguard train --config qwen2-vl-7b-grpo",
                "500 steps in bfloat16 on a GPU",
                GRPO,
            ),
        ),
        environment={"VLMGUARD_DATA": "data"},
        prepare=trainer,
    ),
    "tasks/README.md": Tables(
        bindings=MODELS,
        yamls=(Yaml("each_row_gives", as_preset),),
        prepare=talks,
    ),
    "guard/serving/README.md": Tables(
        bindings={
            "MODEL": "openai/gpt-4o-mini",
            "ANOTHER": "openai/gpt-4o",
            "NEXT": "openai/gpt-4.1",
            "URL": "https://api.openai.com/v1",
        },
        not_run=(
            NotRun(
                "from langchain.agents import create_agent",
                "LangChain is in an environment of its own",
                AGENT,
            ),
        ),
        serves=(
            Serves(GUARD, 8900),
            Serves("vlmguard serve --demo", 8900),
            Serves("vlmguard serve --microworld", 8900),
            Serves("vlmguard serve --upstream URL", 8900, PRODUCT),
        ),
        yamls=(Yaml("guardrails:", as_guardrails),),
        prepare=product,
    ),
    "guard/attacks/README.md": Tables(
        bindings={"M": "openai/gpt-4o-mini", **MODELS},
    ),
    "guard/guard_models/README.md": Tables(yamls=(Yaml("definition:", as_policy),)),
    "results/README.md": Tables(
        not_run=(NotRun("python tests/bench/", "each takes many minutes of a processor", BENCH),),
    ),
    "CONTRIBUTING.md": Tables(
        bindings={"M": "openai/gpt-4o-mini", **MODELS},
        not_run=(
            make(
                "test ARGS=",
                "makes an environment",
                "tests/test_new.py::test_the_steps_ship_a_defense_and_a_benchmark",
            ),
            make("test-integrations", "makes an environment", ".ci/run: make test-integrations"),
            make("test", "this is one of its tests", ".ci/run: make test"),
            make("check", "makes an environment", ".ci/run: make check"),
            make(
                "pyright",
                "makes an environment",
                "Makefile: .venv/check/bin/pyright",
            ),
            make("bench-gpu", "it needs a GPU", "Makefile: tests/bench/gpu.sh"),
            make("bench", "it takes an hour", BENCH),
            make(
                "readme",
                "makes an environment",
                "tests/test_cards.py::test_the_readmes_tables_are_made_of_cards",
            ),
            make("screenshot", "makes an environment", SHOT),
            make("gate", "makes an environment", ".ci/run: make gate"),
        ),
        prepare=kitchen,
    ),
}
"""By path of the page."""
