"""Real logs of toy benchmarks, run in this process."""

import pytest


@pytest.fixture(autouse=True)
def no_outside_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal scorer must not find a phrase list by itself."""
    monkeypatch.delenv("VLMGUARD_DATA", raising=False)
