"""Writes a pool from logs of `adashield_pool`, after comparing what it was made of with test sets.

Everything is written into a folder beside DIR, which is renamed when it is complete.
"""

import base64
import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from inspect_ai.log import EvalSample

from vlmguard.guard.adashield.pool import PROVENANCE, PoolItem, request_digest
from vlmguard.guard.cards import cards
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import ImageError
from vlmguard.guard.package import PACKAGE
from vlmguard.guard.paths import existing, user_path
from vlmguard.training.adashield.collect import (
    Found,
    collect_prompts,
    image_of,
    query_of,
    scenario_of,
)
from vlmguard.training.adashield.refine import PromptRecord, sent_image
from vlmguard.training.dataset.items import with_images
from vlmguard.training.dataset.leaks import LeakReport, find_leaks
from vlmguard.training.dataset.provenance import OnLeak
from vlmguard.training.dataset.testsets import load_test_sets, read_benchmark
from vlmguard.training.synthesis.scorer import FIGURES

POOL: Final = "pool.jsonl"
TEST_IDS: Final = "test_ids.txt"


def build_pool(
    logs: Sequence[Path | str],
    out: Path,
    *,
    test_sets: Path | None = None,
    own_sets: Iterable[Path] = (),
    on_leak: OnLeak = "stop",
    data_dir: Path | None = None,
) -> dict[str, Any]:
    """Write a pool.

    Args:
        logs: Logs of one `adashield_pool`, or folders of them, or their URLs (`s3://...`); of a
            sample in several the newest counts.
        out: Folder to write; must not exist.
        test_sets: Folder with the test sets to compare with, or None.
        own_sets: JSONL files with further test sets.
        on_leak: What to do about training or validation samples that are in another test set:
            `stop`, `drop` their prompts, or `keep` them.
        data_dir: The benchmark's folder, if it is no longer where the log says.

    Returns:
        The content of `provenance.json`.

    Raises:
        UserError: Unusable logs, leaks, or no prompt is left; nothing is written at `out`.
    """
    if out.exists():
        raise UserError(f"{out} exists. Choose another folder, or remove it first.")
    if test_sets is not None:
        existing(test_sets, "folder", "It is to hold the test sets (--test-sets).")
    for file in own_sets:
        existing(file, way_out="It is to be a test set (--test-set).")
    found = collect_prompts(logs)
    benchmark, drawn = found.made["benchmark"], found.made["drawn"]
    taken = {*drawn["train"], *drawn["validation"]}
    folder = data_dir or user_path(found.made["data_dir"])
    if not folder.is_dir():
        raise UserError(f"{folder}: the data of {benchmark} are not there. Name them: --data-dir.")
    items = with_images(read_benchmark(cards().benchmarks[benchmark], folder)[0])
    own = [item for item in items if item.id in taken]
    # In the same benchmark, the same request is enough: another picture may show it.
    twins = find_leaks(
        [item for item in items if item.id not in taken], {benchmark: own}, strict_text=True
    ).rows()
    held, missing = load_test_sets(test_sets, own_sets, {benchmark})
    leaks = find_leaks(own, held, missing=missing)
    _settle(found, leaks, on_leak)
    if not found.kept:
        reasons = ", ".join(f"{why} {count}" for why, count in found.dropped.most_common())
        raise UserError(f"The logs hold no prompt for a pool (dropped: {reasons}).")
    left = [each for each in drawn["rest"] if each not in twins]
    provenance = _provenance(found, leaks, on_leak, twins, left)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        (work / "images").mkdir()
        lines = [
            _line(work, found.samples[name], name, record) for name, record in found.kept.items()
        ]
        (work / POOL).write_text("".join(lines), encoding="utf-8")
        (work / TEST_IDS).write_text(",".join(left) + "\n", encoding="utf-8")
        text = json.dumps(provenance, indent=2, ensure_ascii=False)
        (work / PROVENANCE).write_text(text + "\n", encoding="utf-8")
        work.chmod(0o755)
        work.rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return provenance


def summary(provenance: dict[str, Any]) -> str:
    """What a pool holds and what it cost, for the terminal, from a `provenance.json`."""
    kept, drawn = provenance["prompts"], provenance["drawn"]
    lines = [
        f"{kept} prompts from {len(drawn['train'])} training samples of {provenance['benchmark']}/"
        f"{provenance['variant']} ({len(drawn['validation'])} validation samples)."
    ]
    if provenance["dropped"]:
        dropped = ", ".join(f"{why} {count}" for why, count in provenance["dropped"].items())
        lines.append(f"Dropped: {dropped}.")
    lines.append(f"Cost: {'; '.join(_spent(provenance['cost']))}.")
    leaks = provenance["leaks"]
    if leaks["unchecked"]:
        lines.append(f"NOT compared with {', '.join(leaks['unchecked'])}: not found.")
    lines.append(
        f"In other test sets: {len(leaks['found'])} samples. Of {provenance['benchmark']}, "
        f"{provenance['test_ids']} samples are left to evaluate on ({TEST_IDS})."
    )
    return "\n".join(lines)


def _spent(cost: dict[str, float]) -> list[str]:
    """The figures of each stage in words, from the result of `cost_by_stage`."""
    stages: dict[str, list[str]] = {}
    for figure in FIGURES:
        for name, value in cost.items():
            if name.startswith(f"{figure}_"):
                said = f"{value:,.6g} {figure.replace('_', ' ')}"
                stages.setdefault(name.removeprefix(f"{figure}_"), []).append(said)
    return [f"{stage} {', '.join(figures)}" for stage, figures in stages.items()]


def _settle(found: Found, leaks: LeakReport, on_leak: OnLeak) -> None:
    if leaks.blocking and on_leak == "stop":
        shown = "; ".join(
            f"{leak.row} is in {leak.test_set} as {leak.item} ({leak.kind})"
            for leak in leaks.blocking[:8]
        )
        raise UserError(
            f"{len(leaks.rows())} samples that the pool was made of are in another test set: "
            f"{shown}{'; ...' if len(leaks.blocking) > 8 else ''}. Leave their prompts out with "
            "--on-leak drop."
        )
    if on_leak == "drop":
        for name in leaks.rows() & found.kept.keys():
            del found.kept[name]
            found.dropped["leak"] += 1


def _provenance(
    found: Found, leaks: LeakReport, on_leak: OnLeak, twins: set[str], left: list[str]
) -> dict[str, Any]:
    made = found.made
    records = [PromptRecord.load(each.metadata) for each in found.samples.values()]
    return {
        **{name: made[name] for name in ("benchmark", "variant", "split", "rules")},
        "drawn": {name: made["drawn"][name] for name in ("train", "validation")},
        "requests": sorted(_requests(found)),
        "prompts": len(found.kept),
        "scenarios": dict(Counter(scenario_of(found.samples[name]) for name in found.kept)),
        "dropped": dict(found.dropped.most_common()),
        "targets": dict(Counter(record.target for record in records)),
        "defenders": dict(Counter(record.defender for record in records)),
        "templates": dict(Counter(record.templates for record in records)),
        "cost": found.cost,
        "leaks": {
            "on_leak": on_leak,
            "checked": leaks.checked,
            "unchecked": leaks.unchecked,
            "found": [asdict(leak) for leak in leaks.blocking],
            "texts": [asdict(leak) for leak in leaks.reported],
            "twins": sorted(twins),
        },
        "test_ids": len(left),
        "logs": found.logs,
        "versions": {name: version(name) for name in (PACKAGE, "inspect-ai")},
    }


def _requests(found: Found) -> set[str]:
    """Digests of the drawn requests, by which the defense knows them again."""
    digests = set()
    for sample in found.samples.values():
        digests.add(request_digest([image_of(sample)], query_of(sample)))
        for each in sample.metadata["validation"]:
            try:
                image = sent_image(each["image_file"])
            except ImageError as error:
                raise UserError(f"{each['id']}: {error}. Put the image back there.") from error
            digests.add(request_digest([image], each["query"]))
    return digests


def _line(work: Path, sample: EvalSample, name: str, record: PromptRecord) -> str:
    head, _, content = image_of(sample).partition(",")
    data = base64.b64decode(content)
    suffix = head.partition("/")[2].partition(";")[0]
    image = f"images/{hashlib.sha256(data).hexdigest()}.{suffix}"
    (work / image).write_bytes(data)
    item = PoolItem(
        id=name,
        image=image,
        query=query_of(sample),
        prompt=record.prompt,
        scenario=scenario_of(sample),
    )
    return json.dumps(item.model_dump(), ensure_ascii=False) + "\n"
