"""What all tests of fetching need."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.hub_server import Hub

from vlmguard.tasks.data.fetch.places import Places


@pytest.fixture
def at(tmp_path: Path) -> Places:
    """A benchmark's folder, and the one beside it."""
    found = Places(tmp_path / "data/pantry", tmp_path / "data/.fetch/pantry")
    found.folder.mkdir(parents=True)
    found.beside.mkdir(parents=True)
    return found


@pytest.fixture
def use_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Hub], None]:
    """Makes the hub's client in this process use a test's hub, without a token."""

    def use(hub: Hub) -> None:
        place = "huggingface_hub.constants"
        url = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(f"{place}.ENDPOINT", hub.endpoint)
        monkeypatch.setattr(f"{place}.HUGGINGFACE_CO_URL_TEMPLATE", url)
        monkeypatch.setattr(f"{place}.HF_HUB_OFFLINE", False)
        monkeypatch.setattr(f"{place}.HF_TOKEN_PATH", str(tmp_path / "no token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)

    return use
