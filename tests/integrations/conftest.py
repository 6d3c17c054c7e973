"""Gateways that several tests ask."""

from collections.abc import Iterator

import pytest
from support.documents import the_block
from support.integrations import HERE
from support.litellm_around import BY_HTTP, IN_PROCESS, Around, surrounded


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
    block = the_block("yaml", "generic_guardrail_api").replace("http://127.0.0.1:8900", "REWRITING")
    with surrounded(block, tmp_path_factory.mktemp("six-lines")) as running:
        yield running


@pytest.fixture
def six_lines(_six_lines: Around) -> Around:
    """A gateway with the README's lines, in front of the rewriter's server."""
    return _six_lines.renewed()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In the environment for these tests, a skipped one is a fault."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if HERE and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
