"""Foreign names cannot change the Markdown."""

import re

from vlmguard.results.formats import sheets
from vlmguard.results.formats.markdown import markdown
from vlmguard.results.leaderboard.model import Leaderboard


def test_markdown_has_one_cell_for_each_heading(evil: Leaderboard) -> None:
    text = markdown(sheets.main_sheet(evil))
    table = [line for line in text.splitlines() if line.startswith("|")]
    counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table}
    assert len(counts) == 1
    assert "<b>" not in text
    assert "7.67<br>+3.67" in text
