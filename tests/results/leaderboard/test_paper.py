"""The paper's tables, with ours beside the published numbers."""

from pathlib import Path

from support.clones import clone, template_log

from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.paper import paper_sheets
from vlmguard.results.logs.frame import read_results


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
    main, beside, gains, dsr, cost = paper_sheets(build(read_results([str(tmp_path / "logs")])))
    siuo = main.header.index("SIUO generation")
    assert not any("Else" in name for name in main.header)
    assert "1 further group (" in main.notes[-1]
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
    assert beside.title == "Harm beside harmless"
    assert not gains.rows
    assert cost.rows
