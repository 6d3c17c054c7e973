"""What people and programs are given: terminal, Markdown, LaTeX, CSV, JSON, HTML, figures."""

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from rich.console import Console
from support.clones import clone, template_log
from support.toy import Toy, grade, run_toy, say

from vlmguard.guard.errors import UserError
from vlmguard.results.formats import sheets
from vlmguard.results.formats.console import print_sheets
from vlmguard.results.formats.csv_json import as_csv, as_json
from vlmguard.results.formats.figures import as_bytes, figures
from vlmguard.results.formats.html import page
from vlmguard.results.formats.latex import latex
from vlmguard.results.formats.markdown import markdown
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.paper import paper_sheets
from vlmguard.results.leaderboard.publish import board_sheets, write_leaderboard
from vlmguard.results.leaderboard.published_numbers import CERTAINTY, convert, load_published
from vlmguard.results.leaderboard.published_numbers import as_csv as published_csv
from vlmguard.results.logs.frame import read_results
from vlmguard.results.logs.measures import show_p
from vlmguard.results.logs.verify import count_calls

EVIL = "</script><b>x</b>|`[bold]_%&$\\{=1"
STEERING = "\x1b[2J\x07\u202e"


@pytest.fixture(scope="module")
def board(matrix: Path) -> Leaderboard:
    return build(read_results([str(matrix)]))


@pytest.fixture(scope="module")
def evil(matrix: Path, tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    """The same with a target whose name is full of markup."""
    folder = tmp_path_factory.mktemp("evil")
    for number, path in enumerate(sorted(matrix.rglob("*.eval"))):
        log = read_eval_log(str(path))
        log.eval.model = log.eval.model.replace("mockllm/alpha", EVIL)
        write_eval_log(log, str(folder / f"{number}.eval"))
    return build(read_results([str(folder)]))


def browse(file: Path, *options: str) -> str:
    """The page as a browser has it after its scripts."""
    result = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", *options),
            *("--virtual-time-budget=3000", "--dump-dom", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return result.stdout


def test_terminal_shows_means_differences_and_coverage(board: Leaderboard) -> None:
    out = io.StringIO()
    console = Console(file=out, width=140)
    print_sheets([*sheets.group_sheets(board), sheets.overhead_sheet(board)], console)
    text = out.getvalue()
    for expected in (
        "7.67",
        "+3.67",
        "3 images",
        "+6.00 ▲",
        "5 of 6",
        "[0.0, 16.7]",
        "16.7",
    ):
        assert expected in text, expected
    assert "judge mockllm/grader" in text


def test_a_narrow_terminal_breaks_no_number(board: Leaderboard) -> None:
    out = io.StringIO()
    print_sheets(sheets.group_sheets(board), Console(file=out, width=80))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "Large hard: mockllm/alpha" in text
    # Five measures and both last columns are there whole (alpha on the small benchmark).
    row = r"vlmguard +7\.67 +100\.0 +66\.7 +25\.0 +50\.0 +6 of 6 +16\.7"
    assert re.search(row, text)
    assert "+6.00▲" in text
    assert "[+0.00" not in text


@pytest.mark.parametrize("width", [60, 80, 140])
def test_terminal_prints_foreign_markup_as_text(evil: Leaderboard, width: int) -> None:
    out = io.StringIO()
    print_sheets(sheets.group_sheets(evil), Console(file=out, width=width))
    assert "[bold]" in re.sub(r"\s|│", "", out.getvalue())


def test_no_format_lets_a_name_steer(matrix: Path, tmp_path: Path) -> None:
    log = read_eval_log(str(next((matrix / "none").glob("*.eval"))))
    log.eval.model = f"mockllm/{STEERING}"
    log.eval.metadata = {**(log.eval.metadata or {}), "benchmark": STEERING, "note": STEERING}
    write_eval_log(log, str(tmp_path / "logs" / "steering.eval"))
    board = build(read_results([str(tmp_path / "logs")]))
    write_leaderboard(board, tmp_path / "site")
    texts = [(tmp_path / "site" / f"leaderboard.{form}").read_text() for form in ("md", "tex")]
    texts += [as_csv(board), *board.notes, (tmp_path / "site" / "frontier.svg").read_text()]
    for width in (60, 140):
        out = io.StringIO()
        tables = [*board_sheets(board), sheets.main_sheet(board), sheets.left_out_sheet(board)]
        print_sheets(tables, Console(file=out, width=width))
        texts.append(out.getvalue())
    assert not [
        text for text in texts for letter in STEERING if letter in text and ord(letter) < 32
    ]
    assert not [text for text in texts if "\u202e" in text]


def test_names_of_defenses_are_folded_last() -> None:
    target = "hf-vlm/some-organisation/a-target-with-a-very-long-name"
    header = ["Target", "Defense", *(f"Number {n}" for n in range(7))]
    rows = [[target, defense, *["100.0"] * 7] for defense in ("undefended", "figstep_defense")]
    out = io.StringIO()
    print_sheets([sheets.Sheet("Wide", header, rows, starts={0})], Console(file=out, width=120))
    assert "figstep_defense" in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 120
    assert out.getvalue().count("100.0") == 14


def test_markdown_has_one_cell_for_each_heading(evil: Leaderboard) -> None:
    text = markdown(sheets.main_sheet(evil))
    table = [line for line in text.splitlines() if line.startswith("|")]
    counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table}
    assert len(counts) == 1
    assert "<b>" not in text
    assert "7.67<br>+3.67" in text


def test_latex_escapes_and_balances(evil: Leaderboard) -> None:
    text = latex(sheets.main_sheet(evil))
    assert r"\textless{}/script\textgreater{}" in text
    assert r"\_\%\&\$\textbackslash{}\{" in text
    assert text.count(r"\begin") == text.count(r"\end") == 2
    rows = [line for line in text.splitlines() if line.endswith(r" \\") and "shortstack" in line]
    widths = {len(re.findall(r"(?<!\\)&", line)) for line in rows}
    assert widths == {len(sheets.main_sheet(evil).header) - 1}


def test_every_measure_says_what_was_scored(tmp_path: Path) -> None:
    def grader(prompt: str) -> str:
        # Helpful, and of the safety of the last two nothing.
        mute = "Question 4?" in prompt or "Question 5?" in prompt
        return '{"helpful": true}' if mute else grade(prompt)

    def no_answer(text: str) -> str:
        return "" if "Question 0?" in text else say(8, True)

    run_toy(tmp_path, Toy(), no_answer, grader=grader)
    board = build(read_results([str(tmp_path)]))
    covers = {name: cell.coverage for name, cell in board.entries[0].cells.items()}
    assert {name: cover.scored for name, cover in covers.items()} == {
        "safety": 3,
        "helpful": 5,
        "safe_and_helpful": 3,
        "dsr": 5,
    }
    (sheet,) = sheets.coverage_sheets(board)
    assert sheet.rows == [
        [
            *("mockllm/target", "undefended", "3 of 6\n2 images\n[4.00, 9.00]"),
            *("5 of 6\n3 images\n[83.3, 100.0]", "3 of 6\n2 images\n[50.0, 100.0]"),
            "5 of 6\n3 images\n[0.0, 16.7]",
        ]
    ]
    rows = {row["measure"]: row for row in csv.DictReader(io.StringIO(as_csv(board)))}
    assert (rows["dsr"]["scored"], rows["dsr"]["of"]) == ("5", "6")
    assert float(rows["dsr"]["worst_case_high"]) == pytest.approx(1 / 6)


def test_complete_runs_need_no_table_of_what_was_scored(board: Leaderboard) -> None:
    # On Toy beta lacks one verdict; on Large there is nothing to say.
    assert [sheet.title for sheet in sheets.coverage_sheets(board)] == ["Toy all, what was scored"]


def test_csv_and_json_hold_the_numbers(board: Leaderboard, evil: Leaderboard) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(board))))
    (row,) = [
        row
        for row in rows
        if (row["target"], row["defense"], row["benchmark"], row["measure"])
        == ("mockllm/alpha", "vlmguard", "toy", "safety")
    ]
    assert float(row["mean"]) == pytest.approx(46 / 6)
    # Six samples of three images: too few for an interval.
    assert (row["scored"], row["of"], row["difference_low"], row["pairs"]) == ("6", "6", "", "6")
    assert (row["cost"], row["verdict"]) == ("", "")
    content = json.loads(as_json(board, load_published({"SIUO"}), Extras()))
    # Three runs with a partner; refusals are not tested, nor what differs nowhere.
    assert (content["endpoint_tests"], content["tests"]) == (2, 6)
    assert {each["benchmark"] for each in content["published"]} == {"SIUO"}
    assert EVIL in {row["target"] for row in csv.DictReader(io.StringIO(as_csv(evil)))}


def test_no_text_is_a_formula_in_csv(tmp_path: Path) -> None:
    log = template_log(tmp_path / "template", 4)
    path = tmp_path / "logs" / "formula.eval"
    clone(log, path, lambda _: (5.0, 1.0, 0.0), benchmark="=1+1", variant="@x", target="+y")
    (row, *_) = csv.DictReader(io.StringIO(as_csv(build(read_results([str(path)])))))
    assert [row[name] for name in ("target", "benchmark", "variant")] == ["'+y", "'=1+1", "'@x"]


def test_page_embeds_the_numbers_and_no_markup(evil: Leaderboard) -> None:
    text = page(evil, [], {}, Extras())
    assert text.count("</script>") == 2
    embedded = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert embedded
    content = json.loads(embedded[1])
    assert EVIL in {row[0] for row in content["rows"]}
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
def test_page_in_a_browser(evil: Leaderboard, tmp_path: Path) -> None:
    file = tmp_path / "leaderboard.html"
    file.write_text(page(evil, load_published({"SIUO"}), {}, Extras()), encoding="utf-8")
    dom = browse(file).split('<script type="application/json"')[0]
    assert "&lt;/script&gt;&lt;b&gt;x&lt;/b&gt;" in dom
    assert "<b>" not in dom
    for expected in ("7.67", "+3.67", "+6.00 ▲", "5 of 6", "VLMGuard-R1", "failed 16.7 %"):
        assert expected in dom, expected


CLICKS = """
<script>
const press = (selector, text) => [...document.querySelectorAll(selector)]
  .find((node) => node.textContent.trim().startsWith(text)).click();
const shown = () => [...document.querySelectorAll("tr.row > td:first-child button")]
  .map((node) => node.textContent).join(" ");
const said = [];
said.push(shown());
press("th.sort button", "Safety");
said.push(shown());
press("th.sort button", "Safety");
said.push(shown());
press(".chip", "vlmguard");
said.push(shown());
press(".chip", "mockllm/beta");
said.push(shown());
press("tr.row td button", "vlmguard");
said.push(document.querySelector("td.detail").innerText.includes("Category"));
press(".chip", "Large");
said.push(document.querySelectorAll("th.span").length);
press("#theme", "");
said.push(document.documentElement.dataset.theme);
document.title = said.join("|");
</script>
"""


SMALL = {0.0: "<0.001", 0.0004: "<0.001", 0.00099: "<0.001", 0.001: "0.001", 0.25: "0.250"}


def test_no_table_calls_a_small_p_zero() -> None:
    assert {p: show_p(p) for p in SMALL} == SMALL


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine")
def test_the_page_shows_p_as_the_tables_do(repo: Path) -> None:
    script = (repo / "results" / "formats" / "page.html").read_text(encoding="utf-8")
    (shown,) = [line for line in script.splitlines() if line.startswith("const showP =")]
    assert script.count("showP(found.p)") == 2
    asked = f"{shown} console.log(JSON.stringify({list(SMALL)}.map(showP)), showP(null))"
    ran = subprocess.run(["node", "-e", asked], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{json.dumps(list(SMALL.values())).replace(', ', ',')} –\n"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
@pytest.mark.parametrize(("scheme", "after"), [("0", "light"), ("1", "dark")])
def test_sorting_filtering_and_opening_rows(
    board: Leaderboard, tmp_path: Path, scheme: str, after: str
) -> None:
    file = tmp_path / "leaderboard.html"
    file.write_text(page(board, [], {}, Extras()).replace("</body>", CLICKS + "</body>"))
    dom = browse(file, f"--blink-settings=preferredColorScheme={scheme}")
    (title,) = re.findall("<title>(.*?)</title>", dom)
    u, v = "undefended", "vlmguard"
    assert title.split("|") == [
        f"{u} {v} {u} {v}",
        # On Large, where alpha went from 3 to 9 and beta has no run: highest first, then lowest.
        f"{v} {u} {u} {v}",
        f"{u} {v} {u} {v}",
        f"{v} {v}",
        *(v, "true", "1", after),
    ]


def test_figures_are_drawn_and_reproducible(evil: Leaderboard) -> None:
    drawn = figures(evil)
    assert list(drawn) == ["frontier", "gains", "categories", "cost"]
    assert as_bytes(drawn["frontier"], "png").startswith(b"\x89PNG")
    assert as_bytes(drawn["cost"], "svg") == as_bytes(figures(evil)["cost"], "svg")


def test_gains_without_safety_have_no_empty_axes(tmp_path: Path) -> None:
    log = template_log(tmp_path / "template", 6)
    for defense in ("none", "ecso"):

        def unjudged(log: EvalLog) -> None:
            for sample in log.samples or []:
                assert sample.scores
                del sample.scores["judge"]

        path = tmp_path / "logs" / f"{defense}.eval"
        clone(log, path, lambda _: (5.0, 1.0, 0.0), defense=defense, change=unjudged)
    board = build(read_results([str(tmp_path / "logs")]))
    assert board.entries[1].cells["dsr"].difference is not None
    assert "gains" not in figures(board)


def test_paper_layout_sets_ours_beside_the_published(tmp_path: Path) -> None:
    log = template_log(tmp_path / "template", 10)
    subsets = [
        *(("MM-SafetyBench", "sd"), ("MM-SafetyBench", "sd_typo"), ("MM-SafetyBench", "typo")),
        *(("SIUO", "generation"), ("VLGuard", "unsafe"), ("Else", "where")),
    ]
    for number, (benchmark, variant) in enumerate(subsets):

        def grades(sample: int, number: int = number) -> tuple[float, float, float]:
            return 6.0, 1.0, float(sample < number)

        path = tmp_path / "logs" / f"{number}.eval"
        clone(log, path, grades, benchmark=benchmark, variant=variant, target="hf/ours")
    main, gains, dsr, cost = paper_sheets(build(read_results([str(tmp_path / "logs")])))
    siuo = main.header.index("SIUO generation")
    assert not any("Else" in name for name in main.header)
    assert "1 further groups" in main.notes[-1]
    (ours,) = [row for row in main.rows if row[0] == "ours"]
    assert ours[1:3] == ["hf/ours", "undefended"]
    assert ours[siuo] == "6.00 / 100.0\nn 10 of 10"
    paper = {tuple(row[1:3]): row for row in main.rows if row[0] == "paper"}
    assert paper["LLaVA-1.5-7B", "vlmguard"][siuo] == "6.77 / 58.43"
    names = [row[2] for row in main.rows if row[1] == "Qwen2-VL-7B"]
    assert names == ["undefended", "vlmguard"]
    # Refused 0, 1, 2, 3, 4 of 10; the paper's five are 53.1 50.8 65.4 56 55.3.
    means = {row[2]: row[-1] for row in dsr.rows}
    assert (means["undefended"], means["vlmguard"]) == ("20.0", "56.1")
    assert not gains.rows
    assert cost.rows


def test_published_rows_keep_citation_and_certainty(tmp_path: Path) -> None:
    rows = load_published()
    assert len(rows) == 694
    assert all(row.source and row.certainty in CERTAINTY for row in rows)
    assert rows == sorted(rows)
    source = tmp_path / "source.csv"
    source.write_text(
        "method,target_model,benchmark,subset,metric,value,higher_is_better,source,certainty\n"
        'ECSO,LLaVA,SIUO,gen,"unsafe %",5.50,no,"A, B 2025",secondary\n'
    )
    (row,) = convert(source)
    assert (row.value, row.higher_is_better, row.source) == (5.5, False, "A, B 2025")
    assert (
        published_csv([row]).splitlines()[1]
        == '"SIUO","gen","LLaVA","ECSO","unsafe %","5.5","no","A, B 2025","secondary"'
    )
    source.write_text(source.read_text().replace("5.50", "about 5"))
    with pytest.raises(UserError, match=r"source\.csv, line 2: value 'about 5' is no number"):
        convert(source)


def test_events_confirm_the_tally(matrix: Path) -> None:
    logs = sorted((matrix / "guard").glob("*.eval"))
    for path in logs:
        counted = count_calls(str(path))
        assert counted.differing == 0
        assert counted.calls == 2 * counted.of
    log = read_eval_log(str(logs[0]))
    assert log.samples
    assert log.samples[0].scores
    tally = log.samples[0].scores["judge"].metadata["defense"]  # type: ignore[index]
    tally["calls"] = 9
    forged = logs[0].with_name("forged.json")
    write_eval_log(log, str(forged))
    assert count_calls(str(forged)).differing == 1
    forged.unlink()
