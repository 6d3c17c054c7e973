"""The front page: short, and its first commands are those that need nothing."""

from support.documents import README, user_pages
from support.markdown import blocks


def test_the_front_page_is_short_and_begins_with_two_commands() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 200
    commands = [
        line.partition("#")[0].strip()
        for block in blocks(README)
        if block.language == "bash"
        for line in block.text.splitlines()
        if line.partition("#")[0].strip()
    ]
    assert commands[:2] == ["make demo", "make test"]


def test_every_page_of_the_manual_is_linked_from_the_front_page() -> None:
    text = README.read_text(encoding="utf-8")
    for page in user_pages()[1:]:
        assert f"(docs/{page.name}" in text, f"{page.name} is linked from nowhere on the front page"
