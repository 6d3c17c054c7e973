"""What the documents of the server say agrees with each other, and with what is installed."""

import re

from support.documents import REPO, SERVING, the_block

NEEDED = REPO / "tests/integrations/requirements.txt"


def test_the_gateways_lines_are_the_same_on_both_pages() -> None:
    lines = the_block("yaml", "generic_guardrail_api")
    assert lines == the_block("yaml", "generic_guardrail_api", pages=[SERVING])
    # "Six lines" below the key that a configuration has but once.
    assert lines.splitlines()[0] == "guardrails:"
    assert len(lines.splitlines()) == 1 + 6


def test_the_versions_that_were_tested_are_those_that_are_installed_for_tests() -> None:
    page = SERVING.read_text(encoding="utf-8")
    pins = NEEDED.read_text() + (REPO / "constraints.txt").read_text()
    for package, named in (
        ("litellm", "LiteLLM"),
        ("langchain", "langchain"),
        ("openai", "openai"),
    ):
        (pinned,) = re.findall(rf"^{package}==(\S+)$", pins, re.MULTILINE)
        assert f"{named} {pinned}" in page
