"""What is outside of a reader's machine."""

from collections.abc import Iterator

import pytest
from support.howtos.world import World, world


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        yield made
