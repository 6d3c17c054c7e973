"""What only the whole samples of a log tell: how many there are, and what people did to them.

Summaries, from which tables are made, say none of it. Bytes are searched, and only what people
touched is decoded: hundreds of logs stay cheap.
"""

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import fsspec
from inspect_ai.log import EvalLog, EvalSampleSummary

from vlmguard.guard.redaction import redact_text
from vlmguard.results.logs.answers import LeftOut
from vlmguard.results.logs.unfinished import Key

# Inside a text the quotes would be escaped; in metadata the names may stand for something else.
# Two patterns that begin with letters are searched ten times faster than one with a choice.
_EDITED: Final = re.compile(rb'history":\s*\[\s*\{')
_INVALIDATED: Final = re.compile(rb'invalidation":\s*\{')


@dataclass
class Touched:
    """What people did to a log.

    Attributes:
        count: Number of whole samples in it.
        invalidated: By id and epoch of each invalidated sample: by whom, and why.
        edited: By scorer, then by who edited scores and why: the number of answers.
    """

    count: int = 0
    invalidated: dict[Key, str] = field(default_factory=dict)
    edited: dict[str, Counter[str]] = field(default_factory=dict)

    def edits(self, scorers: Iterable[str]) -> str:
        """What to say of some scorers' scores; empty where nobody edited them."""
        return "; ".join(
            f"{scorer}: {count} of {self.count} edited by {who}"
            for scorer in scorers
            for who, count in sorted(self.edited.get(scorer, {}).items())
        )


def touched(path: str) -> Touched:
    """Search the samples of a log for what people did to them.

    Args:
        path: The log (`.eval` or `.json`), or its URL: then the file is fetched.

    Returns:
        What was found.
    """
    found = Touched()
    for raw in _samples(path):
        found.count += 1
        if not (_EDITED.search(raw) or _INVALIDATED.search(raw)):
            continue
        sample = json.loads(raw)
        if sample.get("invalidation"):
            who = _who(sample["invalidation"])
            found.invalidated[sample["id"], sample["epoch"]] = f"invalidated by {who}"
        for scorer, score in (sample.get("scores") or {}).items():
            editors = {_who(edit.get("provenance") or {}) for edit in _edits(score)}
            found.edited.setdefault(scorer, Counter()).update(editors)
    return found


def check_whole(log: EvalLog, summaries: list[EvalSampleSummary], seen: Touched) -> None:
    """Every sample is there once, in short and in full.

    Args:
        log: The header.
        summaries: The samples in short.
        seen: What the whole samples told.

    Raises:
        LeftOut: Samples are missing or stand there twice.
    """
    counts = Counter((str(sample.id), sample.epoch) for sample in summaries)
    twice = [f"{sample}, epoch {epoch}" for (sample, epoch), n in counts.items() if n > 1]
    if twice:
        raise LeftOut(f"it holds several answers to {twice[0]} ({len(twice)} such samples)")
    of = max(log.results.total_samples if log.results else 0, len(summaries))
    there = min(seen.count, len(summaries))
    if there < of or not there:
        raise LeftOut(f"it holds {there or 'no'} {f'of its {of} ' if of else ''}samples")


def _samples(path: str) -> Iterator[bytes]:
    """The samples of a log, each once, as JSON."""
    opened: Any = fsspec.open(path, "rb")  # its types allow for a list of files
    with opened as file:
        if path.endswith(".json"):
            samples = json.load(file).get("samples") or ()
            yield from (json.dumps(sample).encode() for sample in samples)
            return
        # Inspect teaches zipfile its compression. Of entries of one name the last counts.
        with zipfile.ZipFile(file) as archive:
            for name in dict.fromkeys(archive.namelist()):
                if name.startswith("samples/"):
                    yield archive.read(name)


def _edits(score: dict[str, Any]) -> list[dict[str, Any]]:
    """A score's edits; the first of its history is what the scorer said, by nobody."""
    history = score.get("history") or []
    return [edit for number, edit in enumerate(history) if number or edit.get("provenance")]


def _who(provenance: dict[str, Any]) -> str:
    author, reason = provenance.get("author") or "somebody unnamed", provenance.get("reason")
    return redact_text(f"{author}: {reason}" if reason else str(author))
