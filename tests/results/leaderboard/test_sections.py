"""The names by which rows of the page's tables are found."""

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.sections import Names, Section, sections


def test_rows_are_found_by_the_names_in_them_or_in_the_title(board: Leaderboard) -> None:
    names = Names(board)
    assert names.of["target"] == ["alpha", "beta"]
    assert names.of["defense"] == ["undefended", "vlmguard"]
    by_column = Sheet(
        "Gains",
        ["Benchmark", "Target", "Best", "Against", "n"],
        [
            ["Toy all", "alpha", "vlmguard", "undefended", "1"],
            ["Other", "x", "y", "z", "2"],
        ],
        labels=4,
    )
    first, second = Section(by_column, "gains").about(names)
    assert first == {
        "benchmark": ["Toy all"],
        "target": ["alpha"],
        "defense": ["vlmguard", "undefended"],
    }
    # What is nobody's of ours is not filtered.
    assert second == {}
    by_title = Sheet("Toy all, by slice", ["Defense", "n"], [["vlmguard", "1"]], labels=1)
    assert Section(by_title, "s").about(names)[0]["benchmark"] == ["Toy all"]
    # Published rows know no variant.
    published = Sheet("Published", ["Benchmark"], [["Toy"]], labels=1)
    assert Section(published, "p").about(names)[0]["benchmark"] == ["Toy all"]


def test_sections_have_names_of_their_own_and_blocks_by_target() -> None:
    sheet = Sheet("By slice", ["Target", "n"], [["a", "1"], ["b", "2"]], labels=1, starts={0, 1})
    empty = Sheet("Empty", ["n"], [])
    taken = {"by-slice"}
    found = sections([sheet, empty, sheet], taken)
    assert [each.name for each in found] == ["by-slice-2", "by-slice-3"]
    assert taken == {"by-slice", "by-slice-2", "by-slice-3"}
    assert [block.title for block in found[0].blocks] == ["a", "b"]
    assert [cell.lines for _, cells in found[0].blocks[1].rows for cell in cells] == [[("2", "")]]
