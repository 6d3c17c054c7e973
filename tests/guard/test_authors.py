"""Authors' wordings in a clone, in Markdown and Python, and files without them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.guard.authors import block_below, list_named, text_named, text_returned_for
from vlmguard.guard.errors import UserError

README = """\
# Kites

```bibtex
## 2.1 Kites
```

## 2. Texts

### 2.1  Kites ##

- We send this:

```
Hold the string
and run.
```

### 2.2 Kites-Pro

```
Run faster.
```

### 2.3 Nothing

## 3. Usage
```
pip install kites
```
"""

CODE = """\
raise SystemExit("this file must not be run")

def wind(kind, name):
    if kind == Kind.other:
        return f"{name} is `up`", None
    elif kind == Kind.kite:
        return (
            "Hold the string "
            "and run.",
            draw(name),
        )
    elif kind == Kind.drawn:
        return draw(name)

def check(text):
    words = [w for w in text]
    words = ["I can't", 'no\\'s', "  "]
    words = ["I can't", 'no\\'s', "But I"]
    words: list = []
"""


def write(folder: Path, text: str, name: str = "file.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("heading", "block"),
    [
        ("2.1 Kites", "Hold the string\nand run."),
        ("2.2 Kites-Pro", "Run faster."),
        ("2.3 Nothing", None),  # not the block of the next section
        ("2.9 Boats", None),
    ],
)
def test_the_block_below_a_heading(tmp_path: Path, heading: str, block: str | None) -> None:
    assert block_below(write(tmp_path, README), heading) == block


def test_code_is_read_and_not_run(tmp_path: Path) -> None:
    path = write(tmp_path, CODE)
    assert list_named(path, "words") == ("I can't", "no's", "But I")
    assert list_named(path, "phrases") is None
    assert text_returned_for(path, "Kind.kite") == "Hold the string and run."
    assert text_returned_for(path, "Kind.drawn") is None
    assert text_returned_for(path, "Kind.other") is None
    assert text_returned_for(path, "Kind.boat") is None


@pytest.mark.parametrize("text", ["def (", "a = '\0'", "(" * 100_000])
def test_what_is_no_python_is_named(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError, match=r"file\.py: not readable as Python"):
        list_named(path, "words")


@given(st.lists(st.text().filter(str.strip), min_size=1, max_size=5))
def test_any_list_of_texts_comes_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = write(folder, "words = [" + ", ".join(map(ascii, texts)) + "]")
    assert list_named(path, "words") == tuple(texts)


def test_a_text_is_read_where_code_assigns_it(tmp_path: Path) -> None:
    path = tmp_path / "prompts.py"
    path.write_text(
        'A = "first"\nA = """Go to {there}.\n\nYour task: """\n'
        'B = " "\nC = A + "x"\nD = E = "both"\n'
    )
    assert text_named(path, "A") == "Go to {there}.\n\nYour task: "
    assert text_named(path, "E") == "both"
    assert text_named(path, "B") is None
    assert text_named(path, "C") is None
    assert text_named(path, "F") is None
    path.write_text("A = (")
    with pytest.raises(UserError, match="not readable as Python"):
        text_named(path, "A")
