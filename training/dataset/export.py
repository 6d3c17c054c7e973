r"""Writes kept rows as a `datasets` data set that TRL's `SFTTrainer` can read.

    vlmguard export logs/ --out data/rewriter
    vlmguard export LOG --out DIR --targets direct --test-sets FOLDER --on-leak drop

Each row is one exchange in the rewriter's chat layout: the image, the prompt of `Rewriter.message`,
and the reply to learn. `--targets reasoning` teaches the reasoning and the request, `direct` the
request alone. The prompt shown is version 2 (`--prompt 1` for the older one); `vlmguard train`
states the version beside the weights, and inference follows it. Train and validation are split by
image: copies and near-duplicates of an image are in one split.

Rows are first compared with the test sets (`training/dataset/leaks.py`); a leak stops the export
unless `--on-leak` says otherwise. All files are written into a folder beside DIR, which is renamed
when complete, so that DIR is either complete or missing.
"""

import errno
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from inspect_ai.model import get_model

from vlmguard.guard.cards import cards
from vlmguard.guard.errors import UserError
from vlmguard.guard.paths import existing
from vlmguard.guard.progress import tracked
from vlmguard.guard.rewriter import Rewriter
from vlmguard.guard.rewriter.prompts import LATEST
from vlmguard.training.dataset.collect import collect_rows
from vlmguard.training.dataset.data_card import data_card, shared_images, unfinished_note
from vlmguard.training.dataset.kept_rows import KeptRow, KeptRows
from vlmguard.training.dataset.leaks import Key, find_leaks
from vlmguard.training.dataset.provenance import OnLeak, Targets, build_provenance, settle_leaks
from vlmguard.training.dataset.split import split_by_image
from vlmguard.training.dataset.testsets import load_test_sets
from vlmguard.training.synthesis.parsing import target_text

PROVENANCE: Final = "provenance.json"
_AT_ONCE: Final = 32
"""So many rows with their images are in memory while they are written."""


def export(
    logs: Sequence[Path | str],
    out: Path,
    *,
    targets: Targets = "reasoning",
    prompt: int = LATEST,
    validation: float = 0.05,
    seed: int = 0,
    test_sets: Path | None = None,
    own_sets: list[Path] | None = None,
    leak_key: Key = "image",
    strict_text: bool = False,
    on_leak: OnLeak = "stop",
) -> dict[str, Any]:
    """Write the kept rows of synthesis logs as a data set.

    Args:
        logs: Log files, or folders of them; or their URLs (`s3://...`).
        out: Folder to write; must not exist.
        targets: Teach reasoning and request, or the request alone.
        prompt: Version of the rewriter's prompt that the rows show.
        validation: Share of rows to hold out, from 0 to below 1.
        seed: Seed of the split.
        test_sets: Folder with the test sets to compare with, or None.
        own_sets: JSONL files with further test sets.
        leak_key: What a test set must not share: the `image`, or only the `pair` of image and text.
        strict_text: Whether the same text alone is a leak, too.
        on_leak: What to do about a leak.

    Returns:
        The content of `provenance.json`.

    Raises:
        UserError: Unusable logs or options, leaks, or a full disk; nothing is written at `out`.
    """
    if out.exists():
        raise UserError(f"{out} exists. Choose another folder, or remove it first.")
    if not 0.0 <= validation < 1.0:
        raise UserError(f"--validation {validation}: choose a share from 0 to below 1.")
    if test_sets is not None:
        existing(test_sets, "folder", "It is to hold the test sets (--test-sets).")
    for file in own_sets or []:
        existing(file, way_out="It is to be a test set (--test-set).")
    # Only its chat layout is used; the model is Inspect's placeholder.
    rewriter = Rewriter(get_model("none/none"), reasoning=targets == "reasoning", prompt=prompt)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        with closing(KeptRows(work)) as rows:
            collected = collect_rows(logs, rows, work)
            voided = {
                name for name, card in cards().benchmarks.items() if card.title in collected.voided
            }
            held, missing = load_test_sets(test_sets, own_sets or [], voided)
            found = find_leaks(
                tracked(rows.items(), "comparing with test sets", len(rows)),
                held,
                key=leak_key,
                strict_text=strict_text,
                missing=missing,
            )
            report = settle_leaks(collected, found, on_leak)
            splits = split_by_image(rows, validation, seed)
            provenance = build_provenance(
                collected,
                splits,
                report,
                targets=targets,
                rewriter_prompt=prompt,
                rewriter_template=rewriter.template_hash,
                seed=seed,
            )
            _write(work, rows, splits, provenance, rewriter)
        (work / "dataset").rename(out)
    except Exception as error:
        if _is_disk_full(error):
            raise UserError(
                f"No room left on the disk of {out}: nothing was written there. Free some space "
                f"and run the command again; the logs are as they were."
            ) from error
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return provenance


def summary(provenance: dict[str, Any]) -> str:
    """What was exported, dropped and paid, for the terminal, from a `provenance.json`."""
    rows, leaks = provenance["rows"], provenance["leaks"]
    lines = [
        f"{rows['read']} rows read, {rows['exported']} exported "
        f"({rows['train']} train, {rows['validation']} validation; {rows['benign']} benign)."
    ]
    if rows["superseded"]:
        lines.append(f"{rows['superseded']} rows of older logs superseded by newer ones.")
    if provenance["dropped"]:
        dropped = ", ".join(f"{why} {count}" for why, count in provenance["dropped"].items())
        lines.append(f"Dropped: {dropped}.")
    for stage, cost in provenance["cost"].items():
        figures = ", ".join(f"{value:,.6g} {name}" for name, value in cost.items())
        lines.append(f"Stage {stage}: {figures}.")
    if leaks["checked"]:
        checked = ", ".join(
            f"{name} ({count['items']} items, {count['images']} images)"
            for name, count in leaks["checked"].items()
        )
        lines.append(f"Compared with {checked}.")
    if leaks["unchecked"]:
        lines.append(
            f"NOT compared with {', '.join(leaks['unchecked'])}: not found. Name their folder with "
            f"--test-sets or VLMGUARD_DATA."
        )
    lines.append(
        f"Leaks: {len(leaks['removed'])} rows removed, {len(leaks['images'])} images and "
        f"{len(leaks['pairs'])} pairs left in, {len(leaks['texts'])} texts alone."
    )
    if shared := shared_images(leaks):
        lines.append(f"Also left in, with other requests, as --leak-key pair allows: {shared}.")
    lines += [
        f"{name} is no test set for this rewriter." for name in provenance["voided_test_sets"]
    ]
    if unfinished := unfinished_note(provenance):
        lines.append(f"{unfinished} Run the synthesis again, and export it then.")
    return "\n".join(lines)


def _write(
    work: Path,
    rows: KeptRows,
    splits: dict[str, int],
    provenance: dict[str, Any],
    rewriter: Rewriter,
) -> None:
    # Imported here: only this function needs it, and the import takes seconds.
    import datasets

    features = _features()
    made = {}
    for name, size in splits.items():
        if not size:
            # The library can save a split without rows, but cannot load it.
            continue

        def generate(name: str = name, size: int = size) -> Iterator[dict[str, Any]]:
            for row in tracked(rows.part(name == "validation"), f"writing {name} rows", size):
                yield example(row, rewriter)

        # A given fingerprint saves the library from pickling all rows to compute one.
        fingerprint = f"{work.name.strip('.')}-{name}"
        made[name] = datasets.Dataset.from_generator(
            generate,
            features=features,
            cache_dir=str(work / "cache"),
            split=datasets.NamedSplit(name),
            fingerprint=fingerprint,
            writer_batch_size=_AT_ONCE,
        )
    datasets.DatasetDict(made).save_to_disk(str(work / "dataset"))
    (work / "dataset" / PROVENANCE).write_text(
        json.dumps(provenance, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (work / "dataset" / "README.md").write_text(data_card(provenance), encoding="utf-8")


def example(row: KeptRow, rewriter: Rewriter) -> dict[str, Any]:
    """One row of the data set.

    Args:
        row: The kept row.
        rewriter: Builds the prompt, exactly as at inference.

    Returns:
        The columns; `images` holds encoded bytes.
    """
    reasoning = row.columns["reasoning"] if rewriter.reasoning else ""
    asked = rewriter.instruction(row.columns["original"], images=1)
    reply = target_text(reasoning, row.columns["rewritten"])
    return {
        "images": [{"bytes": row.image.read_bytes(), "path": None}],
        "prompt": [
            {
                "role": "user",
                "content": [{"type": "image", "text": None}, {"type": "text", "text": asked}],
            }
        ],
        "completion": [{"role": "assistant", "content": [{"type": "text", "text": reply}]}],
        **row.columns,
    }


def _features() -> Any:
    import datasets

    text = datasets.Value("string")
    part = {"type": text, "text": text}
    turns = datasets.List({"role": text, "content": datasets.List(part)})
    return datasets.Features(
        {
            "images": datasets.List(datasets.Image()),
            "prompt": turns,
            "completion": turns,
            "id": text,
            "source": text,
            "benign": datasets.Value("bool"),
            "original": text,
            "rewritten": text,
            "reasoning": text,
            "image_id": text,
            "reasoner": text,
            "templates": text,
        }
    )


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one of its causes, is a full disk (libraries wrap it)."""
    while error is not None:
        if isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error):
            return True
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
