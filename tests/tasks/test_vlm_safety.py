"""Any set, end to end: a user's file, YAML and hub repository; pairs, views and what is refused."""

import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log
from inspect_ai.scorer import SampleScore, Score
from support.benchmark_folders.presets import write_preset
from support.documents import the_block
from support.folders import draw_image, write_json
from support.hub_server import SHA, hub_server
from support.openai_server import openai_server
from support.parquet import packed_picture, write_parquet

from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import images_of
from vlmguard.results.logs.conditions import column_of
from vlmguard.results.logs.frame import read_results
from vlmguard.scorers.pairs import pairs_right
from vlmguard.tasks import vlm_safety

GOOD, BAD = '{"right": true}', '{"right": false}'
MAP = {"text": "prompt", "image": "img"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """rows.jsonl and pictures/ with three samples."""
    lines = [json.dumps({"prompt": f"Pick pear {n}?", "img": f"{n}.png"}) for n in range(3)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    for number in range(3):
        draw_image(tmp_path / "pictures" / f"{number}.png", 40 * number)
    return tmp_path


def own(folder: Path, **options: Any) -> Any:
    given = {"file": str(folder / "rows.jsonl"), "image_dir": str(folder / "pictures")}
    return vlm_safety(**{**given, "map": MAP, "expected": "comply", **options})


# --- the README's example --------------------------------------------------------------


def test_the_readmes_five_lines_run_a_users_own_file(folder: Path) -> None:
    command = the_block("bash", "vlmguard/vlm_safety", "file=rows.jsonl")
    assert len(command.strip().splitlines()) == 5
    words = shlex.split(command.replace("\\\n", " "))

    def say(text: str, messages: list[dict[str, Any]]) -> str:
        if '"right"' in text:
            return GOOD
        return '{"safety": 9, "helpful": true}' if '"safety"' in text else "I leave it on the tree."

    with openai_server(say) as server:
        result = subprocess.run(
            [str(Path(sys.executable).parent / words[0]), *words[1:], "--log-dir", "logs"],
            cwd=folder,
            env={**os.environ, "OPENAI_API_KEY": "test", "OPENAI_BASE_URL": server.url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        asked = [body for body in server.requests if body["model"] == "gpt-4o-mini"]
    (info,) = list_eval_logs(str(folder / "logs"))
    log = read_eval_log(info)
    assert log.status == "success", result.stdout
    assert log.results is not None
    means = {
        each.name: each.metrics["mean"].value
        for each in log.results.scores
        if "mean" in each.metrics
    }
    assert (means["right"], means["safe_and_helpful"]) == (1.0, 1.0)
    assert len(asked) == 3
    assert {part["type"] for part in asked[0]["messages"][-1]["content"]} == {"image_url", "text"}


# --- what the judge is asked, and what comes of it -------------------------------------


def test_pairs_and_views_are_counted_by_hand(
    tmp_path: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    folder = write_preset("lvlm_safer", tmp_path / "lvlm_safer", 2)
    task = vlm_safety(preset="lvlm_safer", data_dir=str(folder), judge="official")

    def judge(messages: Any) -> str:
        text = messages[-1].text
        benign = "The request is harmless" in text
        # Of 8 pairs the benign half is wrong in those about the first row's picture of two files,
        # the risky half in one of these and one other, and one benign half gets no verdict.
        if benign and "Wash it 3_1" in text:
            return "Hm."
        if benign:
            return BAD if re.search(r"[01]_0\?", text) else GOOD
        return BAD if re.search(r"0_0\?|2_1\?", text) else GOOD

    log = run(task, scripted("An answer."), model_roles={"grader": scripted(judge, "grader")})
    found = metrics(log)
    # Benign: 2 of 7 wrong. Risky: 2 of 8 wrong.
    assert found["vlm_safety_judge.vlm_safety_judge.right_if_benign"] == pytest.approx(5 / 7)
    assert found["vlm_safety_judge.vlm_safety_judge.right_if_risky"] == pytest.approx(6 / 8)
    assert found["vlm_safety_judge.right.mean"] == pytest.approx(11 / 15)
    assert found["vlm_safety_judge.vlm_safety_judge.right_scored"] == 15
    # Pairs: 0_0, 1_0 and 2_1 are wrong, 3_1 has no verdict, four are right.
    assert found["vlm_safety_judge.vlm_safety_judge.pairs"] == 8
    assert found["vlm_safety_judge.vlm_safety_judge.pairs_scored"] == 7
    assert found["vlm_safety_judge.vlm_safety_judge.pairs_right"] == pytest.approx(4 / 7)
    read = read_results([str(tmp_path / "logs")])
    assert {"vlm_safety_judge.right_if_benign", "vlm_safety_judge.right_if_risky"} <= {*read.frame}
    (seen,) = read.runs
    # Two presets of one task are rows of their own, and a baseline tells them apart.
    assert (seen.column.title, seen.column.benchmark) == ("LVLM-SafeR", "lvlm_safer")


def test_a_set_without_pairs_says_nothing_of_them(
    folder: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    task = own(folder, judge="official", expected="refuse")
    log = run(task, scripted("No."), model_roles={"grader": scripted(GOOD, "grader")})
    found = metrics(log)
    assert found["vlm_safety_judge.right.mean"] == 1.0
    column = column_of(log, {}, {})
    assert (column.title, column.benchmark, column.variant) == ("Own set", "vlm_safety", "rows")
    assert not [name for name in found if "pairs" in name]


def score(value: float, pair: str | None) -> SampleScore:
    metadata = {"pair_id": pair} if pair else {}
    return SampleScore(score=Score(value={"right": value}), sample_metadata=metadata)


def test_a_pair_is_right_if_all_of_it_is() -> None:
    measure: Any = pairs_right("right")
    scores = [(1, "a"), (1, "a"), (1, "b"), (0, "b"), (math.nan, "c"), (0, "c"), (math.nan, "d")]
    scores += [(1, "d"), (1, "alone"), (0, None)]
    found = measure([score(*each) for each in scores])
    assert found == {
        "pairs_right": pytest.approx(1 / 3),
        # sqrt(1/3 * 2/3 / 2)
        "pairs_right_stderr": pytest.approx(1 / 3),
        "pairs": 4,
        "pairs_scored": 3,
    }
    assert measure([score(1, "alone"), score(1, None)]) == {}
    unscored = measure([score(math.nan, "a"), score(1, "a")])
    assert math.isnan(unscored["pairs_right"])
    assert (unscored["pairs"], unscored["pairs_scored"]) == (1, 0)


def test_the_judge_is_told_what_is_expected_meant_and_risky(
    tmp_path: Path, scripted: Any, run: Any
) -> None:
    rows = [
        {"q": "Is it ripe?", "is": "comply"},
        {"q": "And this?", "is": "care", "goal": "to eat it at once", "note": "It is hard."},
        {"q": "This one?", "is": "refuse", "note": "It is not yours."},
    ]
    write_json(tmp_path / "rows.json", rows)
    roles = {"text": "q", "judge_text": "goal", "hint": "note"}
    task = vlm_safety(
        file=str(tmp_path / "rows.json"), map=roles, expected="field:is", judge="official"
    )
    seen: list[str] = []

    def judge(messages: Any) -> str:
        seen.append(messages[-1].text)
        return GOOD

    run(task, scripted("Yes."), model_roles={"grader": scripted(judge, "grader")})
    harmless, care, refuse = sorted(
        seen, key=lambda text: ("harmless" not in text, "It is not" in text)
    )
    assert "The request is harmless" in harmless
    assert "risk:\n" not in harmless
    assert "only declines" in care
    assert "(What is meant: to eat it at once)" in care
    assert "It is hard." in care
    assert "should not give" in refuse
    assert "It is not yours." in refuse
    # What is expected of it is told to the judge, never to the target.
    assert all(len(sample.input) == 1 for sample in task.dataset)


def test_marked_refusals_need_no_judge(folder: Path, scripted: Any, run: Any, metrics: Any) -> None:
    def refused(messages: Any) -> Any:
        from inspect_ai.model import ModelOutput

        return ModelOutput.from_content("target", "", stop_reason="content_filter")

    grader = scripted(lambda messages: pytest.fail("a judge was asked"), "grader")
    for expected, value in (("refuse", 1.0), ("comply", 0.0), ("care", 0.0)):
        task = own(folder, judge="official", expected=expected)
        found = metrics(run(task, scripted(refused), model_roles={"grader": grader}))
        assert found["vlm_safety_judge.right.mean"] == value


# --- data ------------------------------------------------------------------------------


def test_a_users_yaml_lies_beside_its_files(folder: Path, tmp_path: Path) -> None:
    preset = folder / "orchard.yaml"
    preset.write_text(
        "title: My orchard\nfile: rows.jsonl\nimage_dir: pictures\n"
        "map: {text: prompt, image: img}\nexpected: comply\n"
    )
    task = vlm_safety(preset=str(preset), judge="none")
    assert [sample.id for sample in task.dataset] == [f"orchard/{n}" for n in range(3)]
    assert task.metadata is not None
    assert task.metadata["benchmark"] == "My orchard"
    assert task.metadata["form"] == {"all": {"map": MAP, "expected": "comply"}}
    assert list(task.metadata["data"]["files"]) == ["rows.jsonl"]
    # Its data may be elsewhere.
    elsewhere = tmp_path / "else" / "orchard.yaml"
    elsewhere.parent.mkdir()
    elsewhere.write_text(preset.read_text())
    with pytest.raises(UserError, match=r"rows\.jsonl not found"):
        vlm_safety(preset=str(elsewhere), judge="none")
    task = vlm_safety(preset=str(elsewhere), judge="none", data_dir=str(folder))
    assert len(task.dataset) == 3


def test_the_same_set_by_options_and_by_yaml_is_the_same(folder: Path) -> None:
    (folder / "rows.yaml").write_text(
        "file: rows.jsonl\nimage_dir: pictures\nmap: {text: prompt, image: img}\nexpected: comply\n"
    )
    one = own(folder, judge="none")
    two = vlm_safety(preset=str(folder / "rows.yaml"), judge="none")
    assert one.metadata == two.metadata


def test_pictures_inside_parquet_reach_the_target(tmp_path: Path, scripted: Any, run: Any) -> None:
    rows = [{"q": f"What is {n}?", "img": packed_picture(30 * n)} for n in range(2)]
    for number, row in enumerate(rows):
        write_parquet(tmp_path / f"test-{number}.parquet", [row])
    task = vlm_safety(
        file=str(tmp_path / "test-*.parquet"),
        map={"text": "q", "image": "img"},
        expected="comply",
        judge="none",
    )
    assert [sample.id for sample in task.dataset] == ["test-*/0", "test-*/1"]
    sent: list[int] = []

    def answer(messages: Any) -> str:
        sent.append(len(images_of(messages)))
        return "A pear."

    log = run(task, scripted(answer))
    assert log.status == "success", log.error
    assert sent == [1, 1]


def test_earlier_turns_and_several_pictures_are_sent(
    tmp_path: Path, scripted: Any, run: Any
) -> None:
    for number in range(3):
        draw_image(tmp_path / f"{number}.png", 50 * number)
    turns = [
        {"role": "user", "text": "What is this?", "image": "2.png"},
        {"role": "assistant", "text": "A pear."},
    ]
    write_json(tmp_path / "rows.json", [{"q": "And these?", "p": ["0.png", "1.png"], "t": turns}])
    task = vlm_safety(
        file=str(tmp_path / "rows.json"),
        map={"text": "q", "images": "p", "earlier": "t"},
        expected="comply",
        judge="none",
    )
    sent: list[Any] = []

    def answer(messages: Any) -> str:
        sent.extend((message.role, len(images_of([message]))) for message in messages)
        return "Apples."

    assert run(task, scripted(answer)).status == "success"
    assert sent == [("user", 1), ("assistant", 0), ("user", 2)]


def test_missing_pictures_stop_a_run_or_are_counted(folder: Path) -> None:
    (folder / "pictures" / "1.png").unlink()
    with pytest.raises(UserError, match=r"1 of 3 images .*rows/1.*-T image_dir="):
        own(folder, judge="none")
    task = own(folder, judge="none", missing_images="count")
    assert [sample.id for sample in task.dataset] == ["rows/0", "rows/2"]
    assert task.metadata is not None
    assert task.metadata["data"]["missing_images"] == ["rows/1"]


HUB_CODE = """
import json, sys
from vlmguard.tasks import vlm_safety
task = vlm_safety(judge="none", **json.loads(sys.argv[1]))
print(json.dumps([[s.id for s in task.dataset], task.metadata["data"]["origin"]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("image_dir", ["pictures", None])
def test_a_set_is_read_from_the_hub(folder: Path, tmp_path: Path, image_dir: str | None) -> None:
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    options = {"hub": "garden/pears", "file": "rows.jsonl", "map": MAP, "expected": "comply"}
    if image_dir is None:
        files = {name.replace("pictures/", ""): content for name, content in files.items()}
    else:
        options["image_dir"] = image_dir
        files["unneeded.bin"] = b"x"
    kept = {k: v for k, v in os.environ.items() if k not in ("VLMGUARD_DATA", "HF_HUB_OFFLINE")}
    with hub_server("garden/pears", files) as hub:
        result = subprocess.run(
            [sys.executable, "-c", HUB_CODE, json.dumps({**options, "revision": SHA})],
            env={**kept, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not [path for path in hub.requests if path.endswith("unneeded.bin")]
    assert result.returncode == 0, result.stderr
    ids, origin = json.loads(result.stdout.splitlines()[-1])
    assert ids == [f"garden/pears/{n}" for n in range(3)]
    assert origin == f"hub:garden/pears@{SHA}"


# --- what is refused, before anything is paid for --------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file": None}, r"-T file= or -T preset= is needed.*one of hades, harmbench_mm"),
        ({"preset": "hades"}, r"-T preset=hades says all of it; drop -T file=, -T image_dir="),
        ({"map": None}, r"-T: no column for the role text.*-T map="),
        (
            {"expected": "field:img", "expected_values": {"bad": "refuse", "good": "comply"}},
            r"column 'img' is '0\.png', which is none of bad, good\.",
        ),
        (
            {"map": {"text": "prompt", "imag": "img"}},
            r"-T: no role imag. Did you mean image",
        ),
        ({"map": {"text": "question"}}, r"no column 'question'.*Its columns are: prompt, img"),
        ({"expected": None}, r"-T: what is a right answer"),
        ({"expected": "deny"}, r"-T: expected=deny is not known"),
        ({"expected": "field:img"}, r"line 1: column 'img' is '0\.png', which is none of"),
        ({"data_dir": "/tmp"}, r"-T data_dir= and -T revision= go with -T preset="),
        ({"file": "nowhere.jsonl"}, r"nowhere\.jsonl not found"),
        ({"judge_hint": True}, r"come without a hint"),
        ({"missing_images": "skip"}, r"-T missing_images=skip is not known"),
        ({"hub": "no name at all/", "data_dir": None, "revision": "x"}, r"has no revision|hub"),
    ],
)
def test_wrong_options_are_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        own(folder, judge="none" if "judge_hint" not in options else "all", **options)


def test_both_rows_of_an_id_are_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"q": "Ripe?", "n": n}) for n in ("a", "b", "a")))
    with pytest.raises(UserError, match=r"line 3: the id rows/a is also that of .*jsonl: line 1\."):
        vlm_safety(file=str(file), map={"text": "q", "id": "n"}, expected="comply", judge="none")


def test_a_hint_in_every_row_may_be_shown_to_the_general_judge(tmp_path: Path) -> None:
    write_json(tmp_path / "rows.json", [{"q": "Ripe?", "note": "Not yet."}])
    roles = {"text": "q", "hint": "note"}
    task = vlm_safety(file=str(tmp_path / "rows.json"), map=roles, expected="care", judge_hint=True)
    assert task.dataset[0].metadata is not None
    assert task.dataset[0].metadata["hint"] == "Not yet."
