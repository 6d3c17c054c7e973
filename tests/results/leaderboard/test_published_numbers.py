"""Published numbers, with citation and certainty."""

from pathlib import Path

import pytest

from vlmguard.guard.errors import UserError
from vlmguard.results.leaderboard.published_numbers import CERTAINTY, convert, load_published
from vlmguard.results.leaderboard.published_numbers import as_csv as published_csv


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
