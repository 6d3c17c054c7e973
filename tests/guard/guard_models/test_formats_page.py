"""The page of formats holds the table that `formats.py` makes; run this file to renew it."""

from pathlib import Path

from vlmguard.guard.guard_models.formats import FORMATS, formats_table

PAGE = Path(__file__).parents[3] / "guard/guard_models/README.md"
START, END = "<!-- formats -->\n", "<!-- /formats -->"


def renewed(page: str) -> str:
    """The page with the table as it is now."""
    head, _, rest = page.partition(START)
    return f"{head}{START}{formats_table()}\n{END}{rest.partition(END)[2]}"


def test_the_table_of_formats_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == renewed(page)
    assert page.count("\n| `") == len(FORMATS) + 1


def test_the_page_tells_the_options_of_each_format() -> None:
    rows = [line.split(" | ") for line in formats_table().splitlines() if line.startswith("| `")]
    told = {row[0].strip("| `"): row[5] for row in rows if row[0] != "| `adapter`"}
    assert told.keys() == FORMATS.keys()
    assert told["qwen3guard"] == "`controversial=unsafe` (or `safe`)"
    assert told["custom_regex"] == "`prompt` (needed), `unsafe` (needed), `safe` (needed)"
    assert told["text_guard"].startswith("`format=yesno`, `caption=true`, and those of the format")
    assert "`policies=[dangerous, sexual, violence]`, `threshold=0.5`" in told["shieldgemma"]
    assert told["nemotron"] == "–"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
