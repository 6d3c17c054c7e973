"""Gateways that several tests ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.litellm_around import BY_HTTP, IN_PROCESS, Around, surrounded

README = Path(__file__).resolve().parents[2] / "guard/serving/README.md"


@pytest.fixture(scope="session")
def _named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Around]:
    with surrounded(IN_PROCESS + BY_HTTP, tmp_path_factory.mktemp("named")) as running:
        yield running


@pytest.fixture
def around(_named: Around) -> Around:
    """A gateway with guardrails that requests name."""
    return _named.renewed()


@pytest.fixture(scope="session")
def _six_lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Around]:
    block = yaml_block(README).replace("http://127.0.0.1:8900", "REWRITING")
    with surrounded(block, tmp_path_factory.mktemp("six-lines")) as running:
        yield running


@pytest.fixture
def six_lines(_six_lines: Around) -> Around:
    """A gateway with the README's lines, in front of the rewriter's server."""
    return _six_lines.renewed()


def yaml_block(page: Path) -> str:
    """The gateway's configuration on a page."""
    blocks = page.read_text(encoding="utf-8").split("```yaml\n")[1:]
    (block,) = (each for each in blocks if "generic_guardrail_api" in each.partition("```")[0])
    return block.partition("```")[0]
