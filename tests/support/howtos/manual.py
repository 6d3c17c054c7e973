"""What is special about the pages of the manual: README.md and docs/."""

import json
import socket
from pathlib import Path
from tempfile import gettempdir

from support.adapters import make_adapter
from support.checkpoints import checkpoint
from support.folders import draw_image
from support.howtos.pages import Ends, NotRun, Serves, Tables, Yaml
from support.howtos.world import World
from support.howtos.yamls import as_guardrails, beside_a_suite
from support.synthesis import draw_image as draw_row
from support.synthesis import raw_row

MATRIX = (
    "tests/training/microworld/test_matrix.py::test_two_targets_at_two_levels_from_the_command_line"
)
FOUR = (
    "tests/training/microworld/test_make_rewriter.py"
    "::test_the_four_commands_end_in_a_model_that_has_learned"
)
PIPELINE = (
    "tests/training/finetune/test_pipeline.py::test_four_commands_lead_to_an_evaluated_adapter"
)
INSTALLS = (
    NotRun(
        "python3 -m venv .venv/use",
        "an environment takes minutes and a network",
        "Makefile: $(PYTHON) -m venv .venv/$*",
    ),
    NotRun(
        "pip install -c constraints.txt -e .",
        "packages come from a network",
        "Makefile: pip install $(PIP_FLAGS) -e '.[train,ray,dev]'",
    ),
)
MAKES = (
    NotRun(
        "make demo",
        "five minutes; it makes an environment first",
        MATRIX,
    ),
    NotRun("make test", "this is one of its tests", ".ci/run: make test"),
    NotRun(
        "make matrix",
        "an hour",
        MATRIX,
    ),
)
FEW = {"INSPECT_EVAL_LIMIT": "4"}
SMALL_WORLD = Ends("inspect eval tasks/microworld.py", "412 samples take minutes", 0, FEW)
MODELS = {
    # Any model of Inspect; which one makes no difference to the command.
    "MODEL": "openai/gpt-4o-mini",
    "TARGET": "openai/gpt-4o-mini",
    "JUDGE": "openai/gpt-4o",
    "G": "openai/gpt-4o",
    "R": "openai/gpt-4o-mini",
}
GUARD = "vlmguard serve --rewriter openai/gpt-4o-mini"


def figstep_logs(folder: Path, world: World) -> None:
    """`logs/` with a benchmark undefended, and behind the rewriter."""
    world.put_logs(folder / "logs")


def own_rows(folder: Path, world: World) -> None:
    """A set of the reader's own, with a label, and pictures."""
    lines = []
    table = ["prompt,img,verdict"]
    for number in range(3):
        draw_image(folder / "pictures" / f"{number}.png", 40 * number)
        lines.append(json.dumps({"prompt": f"Pick pear {number}?", "img": f"{number}.png"}))
        table.append(f"Pick pear {number}?,{number}.png,{'harmful' if number else 'fine'}")
    (folder / "rows.jsonl").write_text("\n".join(lines))
    (folder / "rows.csv").write_text("\n".join(table) + "\n")


def raw_rows(folder: Path, world: World) -> None:
    """Rows with a safe and an unsafe response."""
    lines = []
    for number in range(4):
        draw_row(folder / "images" / f"{number}.png", number)
        lines.append(json.dumps(raw_row(number, benign=number % 2 == 1)))
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")


def adapter(folder: Path, world: World) -> None:
    """An adapter for the checkpoint that stands for Qwen2-VL, and logs."""
    figstep_logs(folder, world)
    make_adapter(checkpoint("qwen2_vl"), folder / "out/lora")


def taxonomy(folder: Path, world: World) -> None:
    """The copy of our rules that the page tells to make."""
    text = (folder / "solvers/policy_route/taxonomy.yaml").read_text()
    (folder / "rules.yaml").write_text(text)


def ladder(folder: Path, world: World) -> None:
    """The picture of the example."""
    draw_image(folder / "ladder.jpg", 80)


TRAINED_HERE = NotRun(
    "vlmguard train --config qwen2-vl-7b-lora",
    "bfloat16 on a GPU of 40 GB",
    PIPELINE,
)
MICROWORLD_ROWS = NotRun(
    "vlmguard microworld rows",
    "four minutes with the synthesis",
    FOUR,
)


def rewriter(folder: Path, world: World) -> None:
    """The adapter that the third command would have made, and the rows for the first."""
    raw_rows(folder, world)
    make_adapter(checkpoint("qwen2_vl"), folder / "out/rewriter")


LABELLING = """sed -i 's/"","",""/"8","1","0"/' sheet/labels.csv"""
"""What a person does to the sheet: safe, helpful, not refused."""


def free_port() -> str:
    """A port that nobody has, in the place of one that a page names."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


MISSING = "the plan names what is missing, which the page on running says is status 2"
MANUAL: dict[str, Tables] = {
    "README.md": Tables(
        not_run=(
            *INSTALLS,
            *MAKES[:2],
            MICROWORLD_ROWS,
            NotRun(
                "inspect eval vlmguard/synthesize -T data=out/rows/rows.jsonl",
                "needs the rows of the command before",
                FOUR,
            ),
        ),
        serves=(Serves("vlmguard serve --microworld --demo", 8900), Serves(GUARD, 8900)),
        ends=(
            Ends("vlmguard run --suite core", MISSING, 2),
            Ends("inspect eval tasks/microworld.py", "20 samples of a tiny model", 0),
        ),
    ),
    "attacks.md": Tables(ends=(SMALL_WORLD,)),
    "defenses.md": Tables(prepare=taxonomy),
    "gate.md": Tables(prepare=figstep_logs),
    "leaderboard.md": Tables(prepare=figstep_logs),
    "microworld.md": Tables(not_run=(MAKES[0], MAKES[2]), ends=(SMALL_WORLD,)),
    "models.md": Tables(
        bindings={
            "LOG.eval": "logs/undefended.eval",
            # The package `anthropic` is not in the environment of these tests.
            "anthropic/claude-sonnet-4-0": "openai/gpt-4.1",
        },
        ends=(Ends("inspect score LOG.eval", "it asks where to: a new log", typed="c\n\n"),),
        prepare=adapter,
    ),
    "people.md": Tables(
        bindings={
            **MODELS,
            "LOG": "logs/undefended.eval",
            "LOG_A": "logs/undefended.eval",
            "LOG_B": "logs/guarded.eval",
            "PILOT_A": "logs/undefended.eval",
            "PILOT_B": "logs/guarded.eval",
            # One that ETA can align, sentence by sentence.
            "M": "hf-vlm/Qwen/Qwen2-VL-2B-Instruct",
        },
        ends=(
            Ends("vlmguard agreement LOG", "a person labels the sheet first", first=LABELLING),
            Ends(
                "vlmguard label LOG --merge",
                "two people label a copy each",
                first="cp sheet/labels.csv ann.csv; cp sheet/labels.csv ben.csv",
            ),
        ),
        prepare=figstep_logs,
    ),
    "protocol.md": Tables(),
    "python.md": Tables(prepare=ladder),
    "quickstart.md": Tables(not_run=INSTALLS, serves=(Serves("inspect view", 7575),)),
    "running.md": Tables(yamls=(Yaml("prices:", beside_a_suite, "prices.yaml"),)),
    "scale.md": Tables(
        bindings={"6400": free_port()},
        not_run=(
            NotRun(
                "pip install -c constraints.txt -e '.[ray]'",
                "packages come from a network",
                "Makefile: pip install $(PIP_FLAGS) -e '.[train,ray,dev]'",
            ),
        ),
        # Paths of sockets are short, and those of a test's folders are not.
        environment={"RAY_TMPDIR": f"{gettempdir()}/ray-of-how-tos"},
        prepare=rewriter,
    ),
    "serving.md": Tables(
        serves=(Serves(GUARD, 8900),), yamls=(Yaml("guardrails:", as_guardrails),)
    ),
    "tasks.md": Tables(prepare=own_rows),
    "training.md": Tables(
        bindings=MODELS,
        not_run=(
            TRAINED_HERE,
            MICROWORLD_ROWS,
            *(
                NotRun(begins, "fifteen minutes in all", MICROWORLD_ROWS.covered)
                for begins in (
                    "inspect eval vlmguard/synthesize -T data=out/rows/rows.jsonl",
                    "vlmguard export logs/microworld",
                    "vlmguard train --config microworld",
                    "inspect eval tasks/microworld.py",
                )
            ),
        ),
        prepare=rewriter,
    ),
}
"""By name of the page."""
