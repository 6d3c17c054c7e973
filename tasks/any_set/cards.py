"""The cards of sets that a task reads by their description, and the presets of the suite."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from vlmguard.guard.cards import Card, Git, Partner
from vlmguard.guard.data_source import local
from vlmguard.tasks.any_set.preset import Preset, read_preset
from vlmguard.tasks.any_set.questions import MEASURES
from vlmguard.tasks.any_set.samples import links_of, load_samples
from vlmguard.tasks.scoring import judge_questions

__all__ = ["IN_EVERY_SET", "PRESETS", "TASK", "card_of"]

TASK: Final = "vlm_safety"

IN_EVERY_SET: Final[Mapping[str, Any]] = {
    "questions": lambda args: judge_questions(args, 1),
    "headline": {"right": ""},
    "measures": MEASURES,
    # The title names the preset, and the form holds what all of these say.
    "shown_elsewhere": (
        *("preset", "file", "image_dir", "map", "expected", "expected_values", "hub"),
    ),
    "conditions": ("form",),
}
"""What the cards of all sets have in common."""

PRESETS: Final = {
    file.stem: read_preset(file)
    for file in sorted((Path(__file__).resolve().parents[1] / "presets").glob("*.yaml"))
}
"""The presets of the suite, by name."""


def card_of(preset: Preset) -> Card:
    """The card of a set."""
    git = preset.git
    has_links = any("link" in form.map for form in preset.forms().values())
    links: Mapping[str, Any] = {"links": partial(_links, preset)} if has_links else {}
    return Card(
        name=preset.name,
        title=preset.title,
        task=TASK,
        chosen_by={"preset": preset.name},
        license=preset.license,
        gated=preset.gated,
        noncommercial=preset.noncommercial,
        obtain=preset.obtain,
        hub=preset.hub,
        hub_files=preset.hub_files,
        hub_commit=preset.hub_commit,
        git=Git(git.url, git.paths, git.commit) if git else None,
        partner=Partner(preset.partner) if preset.partner else None,
        layouts=preset.layouts,
        sha256=preset.sha256,
        variants={"all": preset.count},
        load=lambda source, variant: load_samples(source, preset),
        image_names=lambda sample: (sample.metadata or {})["image_names"],
        size=lambda args: preset.count,
        **links,
        **IN_EVERY_SET,
    )


def _links(preset: Preset, folder: Path) -> Mapping[str, str]:
    return links_of(local(card_of(preset), folder, partial=True), preset)
