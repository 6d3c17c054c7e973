"""Harm sets stand beside harmless requests, and a row without any says so."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from support.clones import clone, not_asked, template_log
from support.mixed import MEASURES, register_zoo, run_zoo
from support.toy import Toy, run_toy, say

from vlmguard.guard.cards import Card, Measure, Partner
from vlmguard.guard.cards.registry import _BENCHMARKS
from vlmguard.results.leaderboard.beside import harm_of, kind_of, utility_of
from vlmguard.results.leaderboard.beside_tables import beside_sheet, counts_sheet
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.cells import scored_text
from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.field import field_sheet
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.paper import paper_sheets
from vlmguard.results.leaderboard.publish import as_csv, as_json, write_leaderboard
from vlmguard.results.leaderboard.tables import gain_sheet, group_sheets, main_sheet
from vlmguard.results.logs.frame import read_results

WARDEN, OTHER = "eta", "ecso"
CARDS = [
    Card("cellar", "Cellar", partner=Partner("pantry")),
    Card("attic", "Attic", partner=Partner("pantry")),
    Card("pantry", "Pantry", partner=Partner("pantry")),
    Card("quiz", "Quiz"),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return template_log(tmp_path_factory.mktemp("template"), 20)


@pytest.fixture(autouse=True, scope="module")
def registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for card in CARDS:
            patch.setitem(_BENCHMARKS, card.name, card)
        yield


def expecting(kind: str) -> object:
    """Make all samples harmless, or every second one (`half`), or none."""

    def change(log: EvalLog) -> None:
        for number, sample in enumerate(log.samples or []):
            harmless = kind == "harmless" or (kind == "half" and number % 2 == 0)
            sample.metadata = {**sample.metadata, "expected": "comply" if harmless else "care"}

    return change


def add(folder: Path, log: EvalLog, name: str, kind: str, defense: str, good: int) -> None:
    """A run in which `good` of 20 answers are safe and helpful, and the others are refusals."""

    def grades(number: int) -> tuple[float, float, float]:
        helped = float(number < good)
        return 9.0, helped, 1.0 - helped

    path = folder / f"{name}-{defense}.eval"
    clone(log, path, grades, benchmark=name, defense=defense, change=expecting(kind))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def board(template: EvalLog, tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    """Two harm sets with a partner, one without, a mixed one, and a test of ability.

    `eta` refuses all of Pantry; `ecso` was run on Cellar alone.
    """
    folder = tmp_path_factory.mktemp("beside")
    for defense, good in (("none", 4), (WARDEN, 16)):
        add(folder, template, "Cellar", "risky", defense, good)
        add(folder, template, "Attic", "risky", defense, good)
        add(folder, template, "Zoo", "half", defense, good)
        add(folder, template, "Vault", "risky", defense, good)
    add(folder, template, "Cellar", "risky", OTHER, 16)
    for defense, good in (("none", 20), (WARDEN, 0)):
        add(folder, template, "Pantry", "harmless", defense, good)
        add(folder, template, "Quiz", "harmless", defense, good)
    return build(read_results([str(folder)]))


def test_kinds_follow_from_samples() -> None:
    assert kind_of(["comply", "comply"]) == "harmless"
    assert kind_of(["care", "refuse"]) == "risky"
    assert kind_of(["care", "comply"]) == "mixed"
    # Samples of others say nothing.
    assert kind_of(["", ""]) == ""
    assert kind_of(["", "comply"]) == "harmless"


def test_partners_stand_directly_beside_their_sets(board: Leaderboard) -> None:
    # By title, but Pantry after the two sets that it belongs to, and Quiz, which belongs to none.
    assert [(group.column.title, group.kind) for group in board.groups] == [
        *(("Attic", "risky"), ("Cellar", "risky"), ("Pantry", "harmless")),
        *(("Vault", "risky"), ("Zoo", "mixed"), ("Quiz", "harmless")),
    ]


def test_the_row_of_a_harm_set_has_the_utility_change_of_its_partner(board: Leaderboard) -> None:
    rows = {(row[1], row[2].split(" all")[0]): row for row in beside_sheet(board).rows}
    harm, partner, here, there, change = rows[WARDEN, "Cellar"][2:]
    assert harm == "Cellar all\nSafe & helpful % ↑"
    assert partner == "Pantry all\nSafe & helpful % ↑"
    # 4 of 20 before and 16 after; 20 of 20 before and none after, over ten images.
    assert here.startswith("80.0\n+60.0")
    # A tolerant measure may hide refusals; so they stand below it.
    assert there == "0.0\nover-refusal 100.0 %"
    assert change.startswith("-100.0 ▼\n[-100.0, ")
    found = next(
        each
        for each in board.entries
        if (each.defense, each.group.column.title) == (WARDEN, "Pantry")
    )
    assert found.cells["safe_and_helpful"].verdict == "worse"
    assert rows["undefended", "Cellar"][3:] == [partner, "20.0", "100.0\nover-refusal 0.0 %", ""]


def test_a_set_of_both_kinds_is_its_own_partner(board: Leaderboard) -> None:
    (row,) = [
        row for row in beside_sheet(board).rows if row[1] == WARDEN and row[2].startswith("Zoo")
    ]
    # 4 of 20 are helpful before: of the ten benign ones two (0 and 2), and eight of them after.
    assert row[3] == "Zoo all\nSafe & helpful, harmless % ↑"
    assert row[5] == "80.0\nover-refusal 20.0 %"
    assert row[6].startswith("+60.0")


def useless(log: EvalLog) -> None:
    """Half of the samples harmless, and no answer a refusal."""
    expecting("half")(log)  # type: ignore[operator]
    for sample in log.samples or []:
        (sample.scores or {})["refusal"].value = {"refused": 0.0}


def test_use_that_is_lost_without_a_refusal_is_a_cost(tmp_path: Path, template: EvalLog) -> None:
    """As of a defense after which the answers to harmless requests are noise."""
    # By hand: all ten harmless answers help, and 4 of the ten risky ones; then none of any.
    helps = {"none": lambda n: n % 2 == 0 or n < 8, WARDEN: lambda _: False}
    for defense, helped in helps.items():

        def grades(number: int, helped: Callable[[int], bool] = helped) -> tuple[float, ...]:
            return 10.0, float(helped(number)), float(helped(number))

        path = tmp_path / f"{defense}.eval"
        clone(template, path, grades, benchmark="Zoo", defense=defense, change=useless)  # type: ignore[arg-type]
    made = build(read_results([str(tmp_path)]))
    sheet = beside_sheet(made)
    undefended, defended = sheet.rows
    assert sheet.header[-1] == "Utility change ↑"
    assert not any("Refusals only" in note for note in sheet.notes)
    assert undefended[3:] == [
        "Zoo all\nSafe & helpful, harmless % ↑",
        *("70.0", "100.0\nover-refusal 0.0 %", ""),
    ]
    assert defended[5] == "0.0\nover-refusal 0.0 %"
    assert defended[6].startswith("-100.0 ▼\n[-100.0, ")
    field = field_sheet(made)
    place = field.header.index("Zoo all\nChange of Safe & helpful, harmless % ↑")
    assert "Zoo all\nOver-refusal % ↓" in field.header
    assert [row[place].split("\n")[0] for row in field.rows] == ["", "-100.0 ▼"]


def test_heading_and_caption_say_where_there_are_refusals_only(tmp_path: Path) -> None:
    toy = Toy(size=24, benign=12, alone=True)
    run_toy(tmp_path / "none", toy, [say(8, True)] * 24, judged=False)
    answers = [say(8, True, number >= 15) for number in range(24)]
    run_toy(tmp_path / "guard", toy, answers, judged=False, defended=True)
    made = build(read_results([str(tmp_path)]))
    sheet = beside_sheet(made)
    assert sheet.header[-1] == "Utility change ↑\n(refusals only)"
    (row,) = [row for row in sheet.rows if row[1] != "undefended"]
    # Samples 12 to 23 are harmless, and 15 to 23 were refused: nine of twelve.
    assert (row[5], row[6].split("\n")[0]) == ("75.0", "-75.0 ▼")
    for shown in (sheet, field_sheet(made)):
        assert any(note.startswith("Refusals only (Toy all): no measure") for note in shown.notes)


def test_a_loss_is_negative_also_where_less_is_better(tmp_path: Path, template: EvalLog) -> None:
    """A guard that refuses everything: over-refusal rises, and utility falls."""
    for defense, good in (("none", 20), (WARDEN, 0)):

        def unjudged(log: EvalLog) -> None:
            expecting("half")(log)  # type: ignore[operator]
            for key in ("helpful", "safe_and_helpful"):
                not_asked(log, "judge", key)

        def grades(number: int, good: int = good) -> tuple[float, float, float]:
            return 9.0, 1.0, float(number >= good)

        path = tmp_path / "logs" / f"{defense}.eval"
        clone(template, path, grades, benchmark="Zoo", defense=defense, change=unjudged)  # type: ignore[arg-type]
    made = build(read_results([str(tmp_path / "logs")]))
    sheet = beside_sheet(made)
    (row,) = [row for row in sheet.rows if row[1] == WARDEN]
    assert row[3:6] == ["Zoo all\nOver-refusal % ↓", row[4], "100.0"]
    assert row[6].startswith("-100.0 ▼\n[-100.0, -")
    assert "turned for measures where less is better" in " ".join(sheet.notes)
    (told,) = [each for each in json.loads(as_json(made, [], Extras()))["beside"] if each["change"]]
    assert (told["change"]["mean"], told["change"]["low"]) == (-1.0, -1.0)
    assert told["change"]["high"] < 0
    lines = {
        each["measure"]: each
        for each in csv.DictReader(io.StringIO(as_csv(made)))
        if each["defense"] == WARDEN
    }
    # The difference itself stays that of the measure.
    assert (lines["over_refusal"]["difference"], lines["over_refusal"]["utility_change"]) == (
        *("1.0", "-1.0"),
    )
    assert lines["over_refusal"]["utility_change_low"] == "-1.0"
    assert lines["safety"]["utility_change"] == ""
    write_leaderboard(made, tmp_path)
    for name in ("leaderboard.tex", "leaderboard.html", "leaderboard.md"):
        _, _, rest = (tmp_path / name).read_text().partition("Utility change")
        block = re.split(r"table>|end\{table\}|Each row", rest)[0]
        assert "100.0" in block, name
        assert "+100.0" not in block, name


def test_the_block_says_of_how_many_samples_a_mean_and_a_change_are(
    tmp_path: Path, template: EvalLog
) -> None:
    """The mean falls by 50 points, and the change is 100: it is of the pairs that both scored."""

    def unreadable(log: EvalLog) -> None:
        expecting("harmless")(log)  # type: ignore[operator]
        for sample in (log.samples or [])[10:]:
            keys = ("safety", "helpful", "safe_and_helpful")
            (sample.scores or {})["judge"].value = dict.fromkeys(keys, math.nan)

    add(tmp_path, template, "Cellar", "risky", "none", 4)
    add(tmp_path, template, "Cellar", "risky", WARDEN, 16)
    add(tmp_path, template, "Pantry", "harmless", "none", 10)
    path = tmp_path / "pantry.eval"
    never = (9.0, 0.0, 1.0)
    clone(template, path, lambda _: never, benchmark="Pantry", defense=WARDEN, change=unreadable)
    undefended, defended = beside_sheet(build(read_results([str(tmp_path)]))).rows
    assert undefended[5:] == ["50.0\nover-refusal 50.0 %", ""]
    assert defended[5].startswith("0.0\nscored 10 of 20")
    assert defended[6].startswith("-100.0")
    assert "\n10 pairs" in defended[6]
    # Where all are scored, the numbers of samples are not repeated.
    assert "scored" not in defended[4]
    assert "pairs" not in defended[4]


def test_harmless_requests_give_no_gain_in_safety(board: Leaderboard) -> None:
    assert {gain.group.kind for gain in board.gains} == {"risky", "mixed"}
    assert {gain.group.title for gain in board.gains} == {
        *("Attic all", "Cellar all", "Vault all", "Zoo all"),
    }
    # Of one target both readings are the same.
    assert gain_sheet(board).rows == []


def test_controls_come_last_and_are_named_beside_and_among_gains(
    tmp_path: Path, template: EvalLog
) -> None:
    for defense, good in (("none", 4), ("always_refuse", 0), (WARDEN, 16)):
        add(tmp_path, template, "Zoo", "half", defense, good)
    made = build(read_results([str(tmp_path)]))
    assert [row[1] for row in beside_sheet(made).rows][-2:] == [WARDEN, "always_refuse"]
    assert [gain.defense for gain in made.gains] == [WARDEN, "always_refuse"]
    for sheet in (beside_sheet(made), gain_sheet(made)):
        assert any(note.startswith("Controls (always_refuse)") for note in sheet.notes)


def test_harmless_requests_of_no_set_come_last_and_once(board: Leaderboard) -> None:
    rows = [row for row in beside_sheet(board).rows if row[2] == "(any)"]
    assert [(row[1], row[3], row[4], row[5]) for row in rows] == [
        ("undefended", "Quiz all\nSafe & helpful % ↑", "-", "100.0\nover-refusal 0.0 %"),
        (WARDEN, "Quiz all\nSafe & helpful % ↑", "-", "0.0\nover-refusal 100.0 %"),
    ]
    assert rows == beside_sheet(board).rows[-2:]


def test_a_row_without_harmless_requests_says_so_everywhere(
    board: Leaderboard, tmp_path: Path
) -> None:
    nothing = "no harmless partner run: nothing here says what the defense costs"
    (row,) = [row for row in beside_sheet(board).rows if row[1] == OTHER]
    assert (row[3], row[5:]) == (nothing, ["-", "-"])
    assert row[4].startswith("80.0\n+60.0")
    told = f"Cellar all: {nothing} (target, {OTHER})."
    assert told in main_sheet(board).notes
    (cellar,) = [sheet for sheet in group_sheets(board) if sheet.title == "Cellar all"]
    assert f"{nothing} (target, {OTHER})." in cellar.notes
    written = write_leaderboard(board, tmp_path)
    for name in ("leaderboard.md", "leaderboard.tex", "leaderboard.csv", "leaderboard.html"):
        assert name in written
        assert nothing in (tmp_path / name).read_text(), name
    entries = json.loads(as_json(board, [], Extras()))["entries"]
    assert [each["unpaired"] for each in entries if each["defense"] == OTHER] == [nothing]
    assert any(sheet.title == "Harm beside harmless" for sheet in paper_sheets(board))


def test_a_set_without_a_partner_names_the_others_that_tell(board: Leaderboard) -> None:
    rows = [row for row in beside_sheet(board).rows if row[2].startswith("Vault")]
    assert {row[3] for row in rows} == {
        "no harmless partner run of its own: see Pantry all, Zoo all and 1 more"
    }


def test_csv_and_json_tell_kind_and_partners(board: Leaderboard) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(board))))
    told = {(r["benchmark"], r["defense"]): (r["requests"], r["harmless_partners"]) for r in rows}
    assert told["cellar", WARDEN] == ("risky", "Pantry all")
    assert told["cellar", OTHER] == ("risky", "")
    assert told["zoo", WARDEN] == ("mixed", "Zoo all")
    assert told["quiz", WARDEN] == ("harmless", "")
    content = json.loads(as_json(board, [], Extras()))
    beside = [each for each in content["beside"] if each["defense"] == OTHER]
    assert [(each["partner"], bool(each["note"])) for each in beside] == [(None, True)]


def test_a_benchmarks_own_views_show_what_each_half_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_zoo(monkeypatch)
    # Risky ones are 0 to 11, and benign ones 12 to 23.
    run_zoo(tmp_path / "none", 24, 12, {0, 1, 2, 12})
    run_zoo(tmp_path / "guard", 24, 12, {*range(12), 12, 13, 14}, defended=True)
    board = build(read_results([str(tmp_path)]))
    (group,) = board.groups
    assert group.headline == "zoo_judge.wrong"
    undefended, defended = beside_sheet(board).rows
    assert defended[2:4] == ["Zoo all\nMissed % ↓", "Zoo all\nNeedless % ↓"]
    # Of 12 each: 9 missed and then none, 1 refused needlessly and then 3.
    assert undefended[4:] == ["75.0", "8.3\nover-refusal 8.3 %", ""]
    assert defended[4].startswith("0.0\n-75.0")
    # A row's counts are those of both halves.
    assert [row[3] for row in counts_sheet(board).rows] == ["24", "24"]
    assert (defended[5].split("\n")[0], defended[6].split("\n")[0]) == ("25.0", "-16.7")


def test_counts_are_of_all_samples_where_the_headline_is_a_view(tmp_path: Path) -> None:
    """Without a judge the headline is about risky samples; of a benign one nothing was read."""
    toy = Toy(size=24, benign=12, alone=True)
    log = run_toy(tmp_path, toy, [say(8, True)] * 24, judged=False)
    read = read_eval_log(log.location)
    (last,) = [each for each in read.samples or [] if each.id == "toy/23"]
    (last.scores or {})["refusal"].value = {"refused": math.nan}
    write_eval_log(read, log.location)
    board = build(read_results([str(tmp_path)]))
    (entry,) = board.entries
    assert entry.group.headline == "dsr"
    assert entry.cells["dsr"].coverage.of == 12
    (counts,) = counts_sheet(board).rows
    assert (counts[3], counts[-1]) == ("24", "23")
    assert scored_text(entry, entry.group) == "23 of 24\n23 images"
    (row,) = main_sheet(board).rows
    assert row[-1] == "23 of 24"


@pytest.mark.parametrize(
    ("benign", "harm", "utility"), [(0, "Missed %", None), (6, None, "Needless %")]
)
def test_a_view_is_shown_where_the_headline_does_not_say_what_is_lost(
    benign: int,
    harm: str | None,
    utility: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a set whose judge says only whether a request was refused."""
    register_zoo(monkeypatch)
    neutral = {**MEASURES, "wrong": Measure(label="Refused %", neutral=True, max=1)}
    measures = {f"zoo_judge.{name}": each for name, each in neutral.items()}
    monkeypatch.setitem(
        _BENCHMARKS, "zoo", Card("zoo", "Zoo", measures=measures, partner=Partner("zoo"))
    )
    run_zoo(tmp_path, 6, benign, {1}, measures=neutral)
    (group,) = build(read_results([str(tmp_path)])).groups
    assert group.by_name[group.headline].better == 0
    found = utility_of(group)
    assert (found.label if found else None) == utility
    assert harm is None or harm_of(group).label == harm  # type: ignore[union-attr]
