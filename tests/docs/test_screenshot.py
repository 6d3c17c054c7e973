"""The front page's picture is of today's page, and of the numbers that the manual prints."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image
from support.documents import the_table

BAR = 20
"""Pixels that a scroll bar may take from the width."""


@pytest.fixture(scope="module")
def screenshot() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "screenshot", Path(__file__).with_name("screenshot.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def notes(screenshot: ModuleType) -> dict[str, str]:
    with Image.open(screenshot.PICTURE) as image:
        assert screenshot.WIDTH - BAR <= image.width <= screenshot.WIDTH
        return {str(name): str(value) for name, value in image.info.items()}


def test_the_picture_is_of_todays_page(screenshot: ModuleType, notes: dict[str, str]) -> None:
    assert notes["looks"] == screenshot.looks(), "the board's page changed: run `make screenshot`"


def test_it_shows_the_figures_of_the_manual(notes: dict[str, str]) -> None:
    table = the_table("Defense", "safety", "all", "joint")
    printed = {re.sub(r"\W+", "_", row[0]).strip("_"): float(row[2]) for row in table.rows}
    assert printed == json.loads(notes["figures"])


def test_it_weighs_little(screenshot: ModuleType) -> None:
    assert screenshot.PICTURE.stat().st_size < 250_000
