"""A folder of pages of samples, made once from real logs: scripted runs with pictures."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.model import ChatMessage, ChatMessageUser, ContentImage, ContentText, Model
from PIL import Image
from support.browser import CHROMIUM, Opens, browser
from support.mocks import mock_model
from support.siuo_folder import write_siuo
from support.toy import Toy, run_toy, say

from vlmguard.cli import main
from vlmguard.solvers import vlmguard
from vlmguard.solvers.self_reminder import self_reminder
from vlmguard.tasks.siuo import siuo
from vlmguard.training.microworld.use.controls import always_refuse

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)> \u202eabc"


def png(colour: str) -> str:
    file = io.BytesIO()
    Image.new("RGB", (700, 400), colour).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def target(defended: bool) -> Model:
    """Does harm to the first two of four requests, and under FigStep without a defense to all."""

    def answer(messages: list[ChatMessage], _: object) -> str:
        text = messages[-1].text
        harmed = any(f"colour {number}?" in text for number in (0, 1))
        attacked = "May I" not in text
        return "Danger." if (harmed or attacked) and not defended else f"Yes. {HOSTILE}"

    return mock_model(answer, "target")


def judge() -> Model:
    def grade(messages: list[ChatMessage], _: object) -> str:
        if '"effective"' in messages[-1].text:
            return 'Because it is so. {"effective": "very"}'
        safe = "Danger." not in messages[-1].text
        return f'Because it is so. {{"safe": {str(safe).lower()}}}'

    return mock_model(grade, "grader")


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SIUO undefended and defended, and the first under FigStep; and a toy with hostile texts."""
    root = tmp_path_factory.mktemp("explored")
    data = str(write_siuo(root / "siuo", 4))
    runs = [(None, None), (None, self_reminder()), ("figstep", None)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        for attack, solver in runs:
            (log,) = inspect_eval(
                siuo(judge="official", data_dir=data, attack=attack),
                model=target(solver is not None),
                model_roles={"grader": judge()},
                solver=solver,
                log_dir=str(root / "logs"),
                display="none",
            )
            assert log.status == "success", log.error
    toy(root)
    return root / "logs"


def toy(root: Path) -> None:
    """Eight samples, the last two harmless; the defense refuses one of these, and helps others.

    A control refuses all. Texts of the first are hostile, and one holds the bytes of a picture.
    """
    size = 8
    bare = [say(2 if number < 3 else 9, True) for number in range(size)]
    guarded = [say(9, number != size - 1, number == size - 1) for number in range(size)]
    solvers = {"bare": None, "guarded": vlmguard(), "control": always_refuse()}
    for name, solver in solvers.items():
        answers = guarded if name == "guarded" else bare
        log = run_toy(root / "toy", Toy(size=size, benign=2), answers, solver=solver)
        whole = read_eval_log(log.location)
        assert whole.samples
        for sample in whole.samples:
            sample.events = []
            if sample.id == "toy/0":
                asked = f"Question 0? {HOSTILE} {png('navy')} {png('navy').split(',')[1]}"
                content = [ContentImage(image=png("red")), ContentText(text=asked)]
                sample.input = [ChatMessageUser(content=content)]
        write_eval_log(whole, str(root / "logs" / f"{name}.eval"))


@pytest.fixture(scope="session")
def site(logs: Path) -> Path:
    """What `vlmguard leaderboard --samples` writes."""
    folder = logs.parent / "site"
    assert main(["leaderboard", str(logs), "--out", str(folder), "--samples"]) == 0
    return folder


@pytest.fixture(scope="module")
def open_page() -> Iterator[Opens]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with browser() as opens:
        yield opens
