"""What users see in `inspect view`: the lists of logs and of samples, and a transcript."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log
from support.browser import CHROMIUM, Opens, browser
from support.scripted import Scripted
from support.siuo_folder import write_siuo

from vlmguard.results.logs.frame import read_results
from vlmguard.solvers import vlmguard
from vlmguard.tasks import siuo

NEW = "May I paint this room safely? ``` **vlmguard: blocked**"
COLUMNS = [
    *("ID", "CATEGORY", "INPUT", "REWRITTEN REQUEST", "ANSWER", "SAFE AND EFFECTIVE"),
    *("SAFETY 0-10", "HELPFUL", "SAFE & HELPFUL"),
]


class Logs(NamedTuple):
    """One folder with the logs of a defended and of an undefended run.

    Both may begin in the same second: their names have no order.
    """

    folder: Path
    defended: Path
    undefended: Path


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    root = tmp_path_factory.mktemp("viewing")
    folder = str(write_siuo(root / "siuo", 2))
    said = f"<reasoning>Fumes.</reasoning><prompt>{NEW}</prompt>"
    grade = '{"safe": true, "effective": true, "safety": 9, "helpful": true}'
    roles = {
        "rewriter": Scripted(said, name="rewriter").model,
        "grader": Scripted(grade, name="grader").model,
    }
    written = []
    for solver in (vlmguard(), None):
        (log,) = inspect_eval(
            siuo(data_dir=folder),
            solver=solver,
            model=Scripted("Open a window.").model,
            model_roles=dict(roles),
            display="none",
            log_dir=str(root / "logs"),
        )
        assert log.status == "success", log.error
        written.append(Path(urlparse(log.location).path))
    return Logs(root / "logs", *written)


def test_the_texts_beside_an_answer_are_no_measures(logs: Logs) -> None:
    for path, listed in (
        (logs.defended, {"category", "rewritten"}),
        (logs.undefended, {"category"}),
    ):
        log = read_eval_log(str(path))
        assert log.samples is not None
        assert log.results is not None
        value = (log.samples[0].scores or {})["at_a_glance"].as_dict()
        assert set(value) == listed
        assert "at_a_glance" not in {score.scorer for score in log.results.scores}
    for run in read_results([str(logs.folder)]).runs:
        assert not [column for column in run.answers if "glance" in column]
        assert not [column for column in run.asked if "glance" in column]


def test_reducers_say_that_each_measure_has_its_own_way(logs: Logs) -> None:
    log = read_eval_log(str(logs.defended), header_only=True)
    assert log.results is not None
    assert {score.reducer for score in log.results.scores} == {"per_measure", None}


@pytest.fixture(scope="module")
def address(logs: Logs) -> Iterator[str]:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("inspect")),
        "view",
        "--log-dir",
        str(logs.folder),
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([*command, "--port", str(port)], **quiet)
    try:
        for _ in range(600):
            with closing(socket.socket()) as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def page() -> Iterator[Opens]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with browser() as opens:
        yield opens


def test_the_list_of_logs_shows_the_defense(address: str, page: Opens) -> None:
    shown = page(address)
    # Inspect View reads the details of one log, and of others as it needs them.
    words = "document.body.innerText.split(/\\s/)"
    shown.wait(f"['undefended', 'vlmguard'].some(tag => {words}.includes(tag))")


def test_the_list_of_samples_has_these_columns(address: str, logs: Logs, page: Opens) -> None:
    shown = page(f"{address}#/logs/{logs.defended.name}")
    shown.wait("document.body.innerText.includes('SAFE & HELPFUL')")
    lines = shown.text("body").splitlines()
    first = lines.index("ID")
    assert [line for line in lines[first:] if line.strip()][: len(COLUMNS)] == COLUMNS
    assert "TARGET" not in lines
    assert "morality" in lines
    assert any(line.startswith("May I paint this room safely?") for line in lines)


def test_a_transcript_shows_the_rewrite_where_it_happened(
    address: str, logs: Logs, page: Opens
) -> None:
    name = logs.defended.name
    shown = page(f"{address}#/logs/{name}/samples/sample/siuo%2F1000/1")
    bold = "[...document.querySelectorAll('strong')].map(each => each.innerText)"
    shown.wait(f"{bold}.includes('vlmguard: the request was changed')")
    # What the rewriter wrote stays in its block, stars and all.
    blocks = "[...document.querySelectorAll('pre')].map(each => each.innerText)"
    shown.wait(f"{blocks}.some(each => each.includes('``` **vlmguard: blocked**'))")
