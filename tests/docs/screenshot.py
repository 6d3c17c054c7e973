"""Shoots the front page's picture of the board, and notes in it what it shows.

make screenshot        # runs `make demo`, then
python tests/docs/screenshot.py logs/microworld-demo/leaderboard.html

The picture holds a digest of the page's templates and the figures of its first table, so that a
test can tell whether it is of today's page, and of the numbers that the manual prints.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

REPO = Path(__file__).resolve().parents[2]
PICTURE = REPO / "docs" / "board.png"
TEMPLATES = REPO / "results" / "formats" / "templates"
WIDTH, HEIGHT = 1280, 960
COLOURS = 128
_NEEDS = re.compile(r"""\{%-?\s*(?:include|extends|from)\s+["']([^"']+)["']""")


def looks() -> str:
    """Digest of all templates that the board's page is made of."""
    waiting, seen = ["leaderboard.html"], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += _NEEDS.findall((TEMPLATES / name).read_text(encoding="utf-8"))
    together = hashlib.sha256()
    for name in sorted(seen):
        together.update((TEMPLATES / name).read_bytes())
    return together.hexdigest()


def figures(board: str) -> dict[str, float]:
    """What is safe and helpful, in percent, by the defense: of a board's first benchmark.

    Args:
        board: The text of leaderboard.json.
    """
    entries = json.loads(board)["entries"]
    return {
        entry["defense"]: round(entry["cells"]["safe_and_helpful"]["mean"] * 100, 1)
        for entry in entries
        if entry["group"] == 0 and entry["target"] == entries[0]["target"]
    }


def shoot(page: Path) -> None:
    """Write the picture of a page, beside which lies its leaderboard.json."""
    # Imported here: tests that only read the picture need no browser.
    from support.browser import browser

    with browser() as open_page:
        shown = open_page(page.resolve().as_uri(), width=WIDTH)
        raw = PICTURE.with_suffix(".raw.png")
        shown.screenshot(raw)
    notes = PngInfo()
    notes.add_text("looks", looks())
    notes.add_text("figures", json.dumps(figures(page.with_name("leaderboard.json").read_text())))
    with Image.open(raw) as image:
        cut = image.convert("RGB").crop((0, 0, image.width, min(HEIGHT, image.height)))
    raw.unlink()
    cut.quantize(COLOURS).save(PICTURE, optimize=True, pnginfo=notes)


if __name__ == "__main__":
    sys.path.insert(0, str(REPO / "tests"))
    shoot(Path(sys.argv[1]))
