"""Where the links of our pages lead, and what they name in backticks."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from support.documents import REPO
from support.markdown import Span, headings, spans

ANCHOR: Final = re.compile(r"""<\w+ (?:name|id)=["']([^"']+)["']""")
ARXIV_PATH: Final = re.compile(r"/(?:abs|pdf)/\d{2}(?:0[1-9]|1[0-2])\.\d{5}")
ARXIV_TEXT: Final = re.compile(r"(?i)\barxiv[\s:]+(\d[\w.]*\w)")
ARXIV_ID: Final = re.compile(r"\d{2}(?:0[1-9]|1[0-2])\.\d{5}")
OPTION: Final = re.compile(r"(?<![\w-])--[a-z][\w-]*")
FILE: Final = re.compile(r"[\w.*-]+(?:/[\w.*-]+)+/?")


@cache
def tracked() -> list[Path]:
    """Files of the repository, those not yet committed included."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    return [REPO / name for name in listed.stdout.split("\0") if name and (REPO / name).exists()]


def all_pages() -> list[Path]:
    """All Markdown files of the repository."""
    return [path for path in tracked() if path.suffix == ".md"]


def at(span: Span) -> str:
    """Page and line, as an editor opens them."""
    return f"{span.page.relative_to(REPO)}:{span.line}"


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page, and those that stand in it."""
    seen: Counter[str] = Counter()
    names = set(ANCHOR.findall(page.read_text(encoding="utf-8")))
    for heading in headings(page):
        name = re.sub(r"[^\w\- ]", "", heading.text.strip().lower()).replace(" ", "-")
        names.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def dead_links(page: Path) -> Iterator[str]:
    """Links and images of a page that lead to no file, folder or heading of the repository."""
    for span in spans(page):
        if span.kind == "code" or urlsplit(span.text).scheme:
            continue
        path, _, anchor = unquote(span.text).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_relative_to(REPO):
            yield f"{at(span)}: {span.text} leads out of the repository"
        elif target not in _places():
            yield f"{at(span)}: {span.text} is not in the repository"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{at(span)}: {span.text}: no heading of that name"


def bad_addresses(pages: list[Path]) -> Iterator[str]:
    """Addresses in a wrong form, or spelled in two ways. None of them is visited."""
    spelled: dict[str, tuple[str, str]] = {}
    for page in pages:
        for span in spans(page):
            if span.kind == "code" or not (parts := urlsplit(span.text)).scheme:
                continue
            if parts.scheme not in ("http", "https") or not re.fullmatch(
                r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc
            ):
                yield f"{at(span)}: {span.text} is no address of a page"
            if parts.netloc.endswith("arxiv.org") and not (
                parts.netloc == "arxiv.org" and ARXIV_PATH.fullmatch(parts.path)
            ):
                yield f"{at(span)}: {span.text} is no address of a paper"
            alike = f"{parts.netloc.removeprefix('www.')}{parts.path.rstrip('/')}".lower()
            first, where = spelled.setdefault(alike, (span.text.partition("#")[0], at(span)))
            if span.text.partition("#")[0] != first:
                yield f"{at(span)}: {span.text} is {first} in {where}"
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            for name in ARXIV_TEXT.findall(line):
                if not ARXIV_ID.fullmatch(name):
                    yield f"{page.relative_to(REPO)}:{number}: arXiv {name} is no number of a paper"


def missing_files(page: Path) -> Iterator[str]:
    """Paths in backticks that begin with a folder of the repository and do not exist."""
    roots = {path.relative_to(REPO).parts[0] for path in _places() if path != REPO}
    for span in spans(page):
        if span.kind != "code":
            continue
        for path in span.text.split():
            name = path.partition("::")[0].partition("@")[0].rstrip(",;:")
            if not FILE.fullmatch(name) or name.split("/")[0] not in roots:
                continue
            beside = page.parent / name
            # NAME.py stands for any.
            any_name = re.sub(r"(?<![A-Za-z])[A-Z]{2,}(?![A-Za-z])", "*", name)
            there = (REPO / name) in _places() or beside in _places()
            if not there and not ("*" in any_name and any(REPO.glob(any_name))):
                yield f"{at(span)}: `{name}` is not in the repository"


def unknown_options(page: Path, known: set[str]) -> Iterator[str]:
    """Options in backticks that no command has."""
    for span in spans(page):
        if span.kind == "code":
            for option in OPTION.findall(span.text):
                if option not in known:
                    yield f"{at(span)}: no command has the option {option}"


@cache
def _places() -> set[Path]:
    """All files and folders."""
    found = {REPO}
    for path in tracked():
        found |= {path, *(each for each in path.parents if each.is_relative_to(REPO))}
    return found
