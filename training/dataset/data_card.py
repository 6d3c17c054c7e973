"""Writes the data card of an exported data set."""

from typing import Any, Final

CARD: Final = """\
---
task_categories:
- image-text-to-text
tags:
- safety
- prompt-rewriting
---

# Training data for a prompt rewriter

Made by `vlmguard export` from the logs of `vlmguard/synthesize`. Each row shows a rewriter an image
and a request, in the layout that it meets at inference, and teaches it to reply with {targets}.
The requests come from the sources below; the replies were written by a model and kept by rules and
a checker. `provenance.json` holds everything on this page in full.

Requests name harms in order to teach how to handle them. The licenses and terms of the sources hold
for their images and requests; look them up before you pass this folder on.

## Rows

{rows} rows ({train} train, {validation} validation) on {images} images, {benign} of them benign:
requests that carry no risk and must be left alone. No image is on both sides of the split.
{unfinished}
| source | rows |
|---|---|
{sources}

| reasoner | rows |
|---|---|
{reasoners}

## Dropped on the way

{dropped}

## Test sets

{leaks}

## Columns

`images`, `prompt`, `completion` (TRL's conversational prompt-completion form), and for each row
`id`, `source`, `benign`, `original`, `rewritten`, `reasoning`, `image_id`, `reasoner`, `templates`
(hash of the synthesis prompts). Prompts are version {prompt} of the rewriter's
(template {template}); ask a model that was trained on them with the same.
"""


def data_card(provenance: dict[str, Any]) -> str:
    """Markdown that describes a data set, from the content of its `provenance.json`."""
    rows, leaks = provenance["rows"], provenance["leaks"]
    unfinished = unfinished_note(provenance)
    return CARD.format(
        targets="its reasoning and the request to pass on"
        if provenance["targets"] == "reasoning"
        else "the request to pass on",
        rows=rows["exported"],
        train=rows["train"],
        validation=rows["validation"],
        images=rows["images"],
        benign=rows["benign"],
        unfinished=unfinished and f"\n{unfinished}\n",
        sources=_table(provenance["sources"]),
        reasoners=_table(provenance["reasoners"]),
        dropped=_table(provenance["dropped"], "reason") or "Nothing.",
        leaks="\n".join(f"- {line}" for line in _leak_lines(leaks, provenance["voided_test_sets"])),
        prompt=provenance["rewriter_prompt"],
        template=provenance["rewriter_template"],
    )


def unfinished_note(provenance: dict[str, Any]) -> str:
    """What to say of shards that are not finished; empty if there are none."""
    shards = provenance["unfinished_shards"]
    return (
        f"UNFINISHED: rows are lacking, since shards of the synthesis are missing or not finished: "
        f"{'; '.join(shards)}."
        if shards
        else ""
    )


def shared_images(leaks: dict[str, Any]) -> str:
    """The images that a test set holds too and `--leak-key pair` allows.

    Args:
        leaks: The `leaks` of a `provenance.json`.

    Returns:
        Their number and the first 20 names; empty if there are none.
    """
    found = sorted({(leak["image_id"], leak["test_set"]) for leak in leaks["shared_images"]})
    listed = ", ".join(f"{image} in {test_set}" for image, test_set in found[:20])
    more = f" and {len(found) - 20} more, see provenance.json" if len(found) > 20 else ""
    return f"{len(found)} images of test sets ({listed}{more})" if found else ""


def _table(counts: dict[str, int], head: str = "") -> str:
    lines = [f"| {name} | {count} |" for name, count in counts.items()]
    if head and lines:
        lines = [f"| {head} | rows |", "|---|---|", *lines]
    return "\n".join(lines)


def _leak_lines(leaks: dict[str, Any], voided: list[str]) -> list[str]:
    lines = [
        f"{name}: compared with {count['items']} items, {count['images']} of them by image"
        + ("." if count["images"] else " (images were not there: by name and text only).")
        for name, count in leaks["checked"].items()
    ]
    if leaks["unchecked"]:
        lines.append(f"Not compared, because not there: {', '.join(leaks['unchecked'])}.")
    left = len(leaks["images"]) + len(leaks["pairs"])
    lines.append(
        f"{len(leaks['removed'])} rows were left out because a test set holds them, {left} are "
        f"still in, {len(leaks['texts'])} share only their text with a test item."
    )
    if shared := shared_images(leaks):
        lines.append(
            f"Because only pairs of image and request were kept out, still in are {shared}."
        )
    lines += [f"{name} was a source: it is no test set for this rewriter." for name in voided]
    return lines
