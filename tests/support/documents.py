"""What our documents tell people to copy."""

from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
README = REPO / "README.md"
SERVING = REPO / "guard/serving/README.md"


def yaml_block(page: Path, word: str) -> str:
    """The only YAML block of a page with a word in it."""
    blocks = page.read_text(encoding="utf-8").split("```yaml\n")[1:]
    (block,) = (text for each in blocks if word in (text := each.partition("```")[0]))
    return block
