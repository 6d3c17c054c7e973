"""A figure inside of a page: drawn in the colours of its theme, with ids of its own, and small."""

import re
from typing import Final
from xml.etree import ElementTree

from markupsafe import Markup

from vlmguard.results.leaderboard.figures.looks import DARK

__all__ = ["inline_svg", "variable"]

_SVG: Final = "http://www.w3.org/2000/svg"
_LINK: Final = "{http://www.w3.org/1999/xlink}href"
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}\b")
_REFERENCE: Final = re.compile(r"url\(#([^)]*)\)")
_NUMBER: Final = re.compile(r"-?\d+\.\d{3,}")
_AROUND: Final = re.compile(r"\s*([A-Za-z:;,])\s*")
_SPACES: Final = re.compile(r"\s+")


def inline_svg(image: bytes, alt: str, prefix: str) -> Markup:
    """A figure as an element of an HTML page.

    Letters are paths, so that they are as wide on every machine as they were when their places
    were chosen.

    Args:
        image: The figure as an SVG file.
        alt: What it shows, in words; the element's name.
        prefix: In front of its ids, which no other element of the page may have.
    """
    root = ElementTree.fromstring(image)
    used = _used(root)
    ids: dict[str, str] = {}
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
        element.text = element.tail = None
        name = element.attrib.pop("id", "")
        if name in used:
            ids[name] = element.attrib["id"] = f"{prefix}{len(ids)}"
        if (link := element.attrib.pop(_LINK, "")) != "":
            element.attrib["href"] = link
    for element in root.iter():
        for name, value in element.attrib.items():
            element.attrib[name] = _rewritten(name, value, ids)
    _lighten(root)
    width, height = (root.attrib.pop(name).removesuffix("pt") for name in ("width", "height"))
    root.attrib |= {
        "role": "img",
        "aria-label": alt,
        # In points on paper; a screen has 96 dots where that has 72.
        "width": f"{float(width) * 96 / 72:.0f}",
        "height": f"{float(height) * 96 / 72:.0f}",
        # What the rule for all elements said, which would hold for the whole page here.
        "stroke-linejoin": "round",
    }
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def variable(colour: str) -> str:
    """The name of the page's variable for a colour of the theme."""
    return f"--f{colour[1:]}"


def _used(root: ElementTree.Element) -> set[str]:
    """The ids that something refers to."""
    found = {element.attrib.get(_LINK, "").removeprefix("#") for element in root.iter()}
    for element in root.iter():
        for value in element.attrib.values():
            found |= set(_REFERENCE.findall(value))
    return found - {""}


def _lighten(parent: ElementTree.Element) -> None:
    """Drop what says nothing: descriptions, rules for all elements, and groups around nothing."""
    kept: list[ElementTree.Element] = []
    for child in list(parent):
        _lighten(child)
        empty = child.tag in ("g", "defs") and not len(child)
        if child.tag == "style" or child.tag.endswith("metadata") or empty:
            continue
        bare = child.tag == "g" and not child.attrib
        kept += list(child) if bare else [child]
    parent[:] = kept


def _rewritten(name: str, value: str, ids: dict[str, str]) -> str:
    if name == "href":
        return f"#{ids[value[1:]]}"
    value = _REFERENCE.sub(lambda found: f"url(#{ids[found[1]]})", value)
    if name in ("style", "d"):
        value = _AROUND.sub(r"\1", value) if name == "d" else value.replace(": ", ":")
        value = value.replace("; ", ";")
    value = _COLOUR.sub(_themed, value)
    value = _NUMBER.sub(_shorter, value)
    return _SPACES.sub(" ", value).strip()


def _shorter(found: re.Match[str]) -> str:
    """A place in hundredths of a point, which cannot be seen; small numbers are scales."""
    number = float(found[0])
    return found[0] if abs(number) < 0.1 else f"{number:.2f}".rstrip("0").rstrip(".")


def _themed(found: re.Match[str]) -> str:
    return f"var({variable(found[0])})" if found[0] in DARK else found[0]
