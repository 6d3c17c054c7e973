"""Builds the `provenance.json` of an exported data set, with its leaks."""

from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Final, Literal

from vlmguard.guard.errors import UserError
from vlmguard.guard.package import PACKAGE
from vlmguard.training.dataset.collect import Collected
from vlmguard.training.dataset.leaks import LeakReport
from vlmguard.training.synthesis.scorer import FIGURES

Targets = Literal["reasoning", "direct"]
OnLeak = Literal["stop", "drop", "keep"]

_LIBRARIES: Final = (PACKAGE, "inspect-ai", "datasets")


def settle_leaks(collected: Collected, found: LeakReport, on_leak: OnLeak) -> dict[str, Any]:
    """Stop, drop the leaking rows, or keep them.

    Args:
        collected: The rows; with `drop`, those that leak are removed.
        found: The result of the comparison.
        on_leak: What to do.

    Raises:
        UserError: A leak with `stop`, or no row is left.
    """
    blocking = found.rows()
    if blocking and on_leak == "stop":
        shown = "; ".join(
            f"{leak.row} ({leak.image_id}) is in {leak.test_set} as {leak.item} ({leak.kind})"
            for leak in found.blocking[:8]
        )
        images = len({leak.image_id for leak in found.blocking})
        raise UserError(
            f"{len(blocking)} rows with {images} images are in a test set: {shown}"
            f"{'; ...' if len(found.blocking) > 8 else ''}. Leave these rows out with "
            f"--on-leak drop."
        )
    if blocking and on_leak == "drop":
        collected.rows.drop_ids(blocking)
        collected.dropped["leak"] = len(blocking)
        if not len(collected.rows):
            raise UserError("Every row is in a test set: nothing is left to export.")
    listed = [asdict(leak) for leak in found.blocking]
    left = [] if on_leak == "drop" else listed
    alone = [asdict(leak) for leak in found.reported if leak.row not in blocking]
    texts = [leak for leak in [*left, *alone] if leak["kind"] == "text"]
    return {
        "key": found.key,
        "strict_text": found.strict_text,
        "checked": found.checked,
        "unchecked": found.unchecked,
        # Leaks that `vlmguard train` refuses: images and pairs, and texts with strict_text.
        "images": [leak for leak in left if leak["kind"] not in ("pair", "text")],
        "pairs": [leak for leak in left if leak["kind"] == "pair"],
        "texts": texts,
        # Allowed with leak_key=pair.
        "shared_images": [leak for leak in alone if leak["kind"] != "text"],
        "removed": listed if on_leak == "drop" else [],
    }


def build_provenance(
    collected: Collected,
    splits: dict[str, int],
    leaks: dict[str, Any],
    *,
    targets: Targets,
    rewriter_prompt: int,
    rewriter_template: str,
    seed: int,
) -> dict[str, Any]:
    """The description of a data set, as JSON values.

    Args:
        collected: The rows, and what became of the others.
        splits: Number of rows by split.
        leaks: The report of `settle_leaks`.
        targets: What is taught.
        rewriter_prompt: Version of the rewriter's prompt.
        rewriter_template: Its hash.
        seed: Seed of the split.
    """
    rows = collected.rows
    cost: dict[str, dict[str, float]] = {}
    for key, value in collected.cost.items():
        name, stage = next(
            (name, key[len(name) + 1 :]) for name in FIGURES if key.startswith(f"{name}_")
        )
        cost.setdefault(stage, {})[name] = value
    return {
        "targets": targets,
        "rows": {
            "read": collected.read,
            "superseded": collected.superseded,
            "exported": len(rows),
            **splits,
            "benign": rows.benign,
            "images": rows.image_names,
        },
        "sources": rows.counts("source"),
        "reasoners": rows.counts("reasoner"),
        "templates": rows.counts("templates"),
        "rewriter_prompt": rewriter_prompt,
        "rewriter_template": rewriter_template,
        "dropped": dict(collected.dropped.most_common()),
        "cost": cost,
        "leaks": leaks,
        "voided_test_sets": sorted(collected.voided),
        "split": {"by": "image", "seed": seed},
        "logs": collected.logs,
        "unfinished_shards": collected.unfinished,
        "versions": {name: version(name) for name in _LIBRARIES},
    }
