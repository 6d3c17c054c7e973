"""Flipped samples, with requests and answers."""

import base64
import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog, HeadlineMetric, read_eval_log, write_eval_log
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText
from inspect_ai.scorer import Score
from support.clones import clone, template_log

from vlmguard.cli import main
from vlmguard.guard.record import ANSWER_DIGEST, answer_digest
from vlmguard.results.diff import diff

IMAGE = "data:image/png;base64," + base64.b64encode(b"no real picture").decode()


def find(matrix: Path, folder: str) -> EvalLog:
    for path in sorted((matrix / folder).glob("*.eval")):
        log = read_eval_log(str(path))
        if log.eval.task == "toy" and "alpha" in log.eval.model:
            return log
    raise AssertionError


@pytest.fixture
def pair(matrix: Path, tmp_path: Path) -> tuple[str, str]:
    paths = []
    for folder in ("none", "guard"):
        log = find(matrix, folder)
        assert log.samples
        text = "Question 0? <i>&</i>" + " and so on" * 200
        content = [ContentImage(image=IMAGE), ContentText(text=text)]
        log.samples[0].input = [ChatMessageUser(content=content)]
        paths.append(str(tmp_path / f"{folder}.eval"))
        write_eval_log(log, paths[-1])
    return paths[0], paths[1]


def test_flips_are_those_that_crossed_a_line(pair: tuple[str, str]) -> None:
    found = diff(*pair)
    # Safety 2 2 4 4 6 6 -> 9 9 8 8 6 6; samples 0 and 5 are refused.
    assert {flip.sample: flip.changes for flip in found.flips} == {
        "toy/0": ("not refused -> refused", "unsafe -> safe"),
        "toy/1": ("unsafe -> safe",),
        "toy/2": ("unsafe -> safe",),
        "toy/3": ("unsafe -> safe",),
        "toy/5": ("not refused -> refused",),
    }
    # The worst first: smallest gains of grades; refusals do not count.
    assert found.flips[0].sample == "toy/5"
    second = next(flip for flip in found.flips if flip.sample == "toy/2")
    assert second.first.rewritten == ""
    assert second.second.rewritten == "Question 2? With care."
    assert second.second.answer.startswith("Here it is.")
    assert next(flip for flip in found.flips if flip.sample == "toy/0").first.images == (IMAGE,)
    assert (found.shared, found.alone, found.warnings) == (6, 0, [])


def test_outputs(pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, page, bare = (str(tmp_path / name) for name in ("f.csv", "f.html", "g.html"))
    assert main(["diff", *pair, "--csv", table, "--html", page]) == 0
    assert main(["diff", *pair, "--html", bare, "--no-images"]) == 0
    out = capsys.readouterr().out
    assert "5 of 6 shared answers flipped between A (mockllm/alpha, none)" in out
    assert "B rewritten  Question 2? With care." in out
    rows = {row["sample"]: row for row in csv.DictReader(Path(table).read_text().splitlines())}
    assert rows["toy/0"]["request"].endswith(" and so on")
    assert rows["toy/2"]["rewritten_b"] == "Question 2? With care."
    shown = Path(page).read_text()
    assert f'src="{IMAGE}"' in shown
    assert "<i>" not in shown
    assert "&lt;i&gt;&amp;&lt;/i&gt;" in shown
    assert IMAGE not in Path(bare).read_text()


def test_each_measure_has_difference_and_test(pair: tuple[str, str]) -> None:
    found = {change.measure.name: change for change in diff(*pair).changes}
    # Safety 2 2 4 4 6 6 -> 9 9 8 8 6 6, two to an image.
    safety = found["safety"]
    assert safety.means == (4.0, pytest.approx(46 / 6))
    assert safety.difference.mean == pytest.approx(22 / 6)
    assert (safety.rose, safety.fell, safety.difference.clusters) == (4, 0, 3)
    assert safety.difference.p == 0.5
    assert safety.p >= 0.5
    assert {"safe_and_helpful", "helpful", "dsr", "over_refusal"} <= found.keys()


def test_the_ten_worst_flips_come_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen samples become safe, four unsafe and unhelpful; the four come first."""
    monkeypatch.setenv("COLUMNS", "80")
    log = template_log(tmp_path / "template", 20)
    lost = (3, 8, 12, 19)
    for name in ("none", "eta"):

        def grades(sample: int, good: bool = name == "eta") -> tuple[float, float, float]:
            fine = good != (sample in lost)
            return (9.0 if fine else 1.0), float(sample not in lost or not good), 0.0

        clone(log, tmp_path / f"{name}.eval", grades, defense=name)
    pair = [str(tmp_path / f"{name}.eval") for name in ("none", "eta")]
    assert main(["diff", *pair]) == 0
    short = capsys.readouterr().out
    assert main(["diff", *pair, "--all"]) == 0
    whole = capsys.readouterr().out
    assert "The 10 worst of 20 flips (--all shows all):" in short
    shown = [line for line in short.splitlines() if line.startswith("toy/")]
    assert len(shown) == 10
    assert all("helpful -> not helpful; safe -> unsafe" in line for line in shown[:4])
    assert not any("safe -> unsafe" in line for line in shown[4:])
    assert sum(line.startswith("toy/") for line in whole.splitlines()) == 20
    # Change, lower end of the interval, both p-values, better and worse, samples; then the rest.
    lines = short.splitlines()
    (place,) = [number for number, each in enumerate(lines) if each.startswith("Safe &")]
    cells = lines[place].split()
    assert "+60.0" in cells
    assert cells[-3:] == ["16", "4", "20"]
    assert lines[place + 1].split()[-2:] == ["10", "images"]
    # No word and no number is broken in 80 columns.
    headings = " ".join(lines[lines.index("B against A") : place]).split()
    assert {"Measure", "Change", "interval", "Better", "Worse", "Samples"} <= {*headings}


def test_a_benign_request_that_becomes_refused_is_a_loss(tmp_path: Path) -> None:
    """Of two benign and two risky samples one each becomes refused, and one each answered."""
    log = template_log(tmp_path / "template", 4, benign=2)
    benign = [each.metadata.get("expected") == "comply" for each in log.samples or []]
    assert sorted(benign) == [False, False, True, True]
    for name in ("none", "eta"):

        def grades(sample: int, refuses: int = name == "eta") -> tuple[float, float, float]:
            return 9.0, 1.0, float(refuses == sample % 2)

        clone(log, tmp_path / f"{name}.eval", grades, defense=name)
    found = diff(str(tmp_path / "none.eval"), str(tmp_path / "eta.eval"))
    losses = {flip.sample: flip.loss for flip in found.flips}
    assert losses == {
        f"toy/{number}": (1 if number % 2 else -1) * float(benign[number]) for number in range(4)
    }
    assert [flip.loss for flip in found.flips] == [1, 0, 0, -1]


def test_answers_steer_neither_terminal_nor_spreadsheet(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = read_eval_log(pair[1])
    sample = (log.samples or [])[1]
    sample.output.completion = "=1+1 \x1b[2J\x07 gone"
    for score in (sample.scores or {}).values():
        digest = answer_digest(sample.output.completion)
        score.metadata = {**(score.metadata or {}), ANSWER_DIGEST: digest}
    evil = str(tmp_path / "evil.eval")
    write_eval_log(log, evil)
    table = tmp_path / "f.csv"
    assert main(["diff", pair[0], evil, "--csv", str(table)]) == 0
    out = capsys.readouterr().out
    assert "=1+1" in out
    assert "\x1b" not in out
    assert "\x07" not in out
    rows = {row["sample"]: row for row in csv.DictReader(table.read_text().splitlines())}
    assert rows["toy/1"]["answer_b"].startswith("'=1+1")


def test_other_conditions_and_foreign_logs_are_said(
    pair: tuple[str, str], matrix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = read_eval_log(pair[1])
    log.eval.task_version = "2-A"
    write_eval_log(log, str(tmp_path / "new.eval"))
    assert diff(pair[0], str(tmp_path / "new.eval")).warnings == ["version differs: 1-A and 2-A"]
    other = next(
        path
        for path in sorted(matrix.rglob("*.eval"))
        if read_eval_log(str(path), header_only=True).eval.task == "large"
    )
    assert main(["diff", pair[0], str(other)]) == 2
    assert "share no sample" in capsys.readouterr().err
    assert main(["diff", pair[0], str(matrix)]) == 2


def rewrite(path: str, change: Callable[[EvalLog], None]) -> None:
    log = read_eval_log(path)
    change(log)
    write_eval_log(log, path)


def test_official_verdicts_flip_too(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A log without our judge and without refusals (`-T judge=official` of another's task)."""

    def attacked(successes: set[int]) -> Callable[[EvalLog], None]:
        def change(log: EvalLog) -> None:
            log.eval.headline_metric = HeadlineMetric(scorer="official", score="attack_success")
            for number, sample in enumerate(log.samples or []):
                value = {"attack_success": float(number in successes), "unparsed": 0.0}
                sample.scores = {"official": Score(value=value)}

        return change

    rewrite(pair[0], attacked({0, 1, 2}))
    rewrite(pair[1], attacked({2, 3}))
    found = diff(*pair)
    assert found.labels == ("attack success",)
    assert {flip.sample: flip.changes for flip in found.flips} == {
        "toy/0": ("attack success: yes -> no",),
        "toy/1": ("attack success: yes -> no",),
        "toy/3": ("attack success: no -> yes",),
    }
    assert main(["diff", *pair]) == 0
    assert "Compared: attack success." in capsys.readouterr().out


def test_logs_without_a_common_label_are_an_error(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    def keep(name: str) -> Callable[[EvalLog], None]:
        def change(log: EvalLog) -> None:
            for sample in log.samples or []:
                sample.scores = {name: (sample.scores or {})[name]}

        return change

    rewrite(pair[0], keep("judge"))
    rewrite(pair[1], keep("refusal"))
    assert main(["diff", *pair]) == 2
    assert "no label in common (helpful, safe and refused)" in capsys.readouterr().err


def test_safe_is_what_the_log_says(pair: tuple[str, str]) -> None:
    def lower(log: EvalLog) -> None:
        for sample in log.samples or []:
            (sample.scores or {})["judge"].metadata["threshold"] = 4.0  # type: ignore[index]

    for path in pair:
        rewrite(path, lower)
    # Safety 2 2 4 4 6 6 -> 9 9 8 8 6 6: from 4 on, only the first two were unsafe.
    safer = [flip.sample for flip in diff(*pair).flips if "unsafe -> safe" in flip.changes]
    assert safer == ["toy/0", "toy/1"]


def test_ids_steer_neither_terminal_nor_spreadsheet(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rename(log: EvalLog) -> None:
        (log.samples or [])[1].id = "=1+1\x1b[2J"

    for path in pair:
        rewrite(path, rename)
    table = tmp_path / "f.csv"
    assert main(["diff", *pair, "--csv", str(table)]) == 0
    out = capsys.readouterr().out
    assert "\n=1+1\ufffd[2J (even): unsafe -> safe" in out
    assert "\n\"'=1+1\ufffd" in table.read_text()
