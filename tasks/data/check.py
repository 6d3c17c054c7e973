"""Reports which of a benchmark's data are on this machine, and whether they are complete."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from vlmguard.guard.cards import Card
from vlmguard.guard.data_source import DATA_ROOT, MissingFile, Source, file_hash, local
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import ImageError, prepare_images
from vlmguard.guard.messages import images_of

__all__ = ["Report", "check", "describe"]

State = Literal["complete", "incomplete", "absent"]

_SHOWN: Final = 3


@dataclass(frozen=True)
class VariantReport:
    """The report on one variant of a benchmark.

    Attributes:
        name: The variant.
        state: `absent` if all its question files are missing.
        expected: Number of samples of the published variant; None if nobody confirmed it.
        samples: Number of samples found.
        images: Number of images of these samples.
        usable: Number of images that exist and decode.
        problems: The first few faults.
    """

    name: str
    state: State
    expected: int | None
    samples: int = 0
    images: int = 0
    usable: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """The report on one benchmark.

    Attributes:
        name: Name of its task.
        title: Its own name.
        license: Its license.
        gated: Whether the hub asks for a token and accepted terms.
        noncommercial: Whether its license forbids commercial use.
        hub: Its repository on the hub.
        hub_commit: The commit of it that is fetched; empty for the newest.
        git: Address of its authors' repository.
        git_commit: The commit of it that is fetched; empty for the newest.
        linked: Whether pictures are fetched from their owners.
        fetchable: Whether `vlmguard data fetch` gets the data, or a part of them.
        partner: The card of the harmless requests beside its risky ones.
        sha256: First 8 hex digits of the SHA-256 of known files.
        obtain: Where to get it.
        layouts: Accepted layouts of its folder.
        folder: The folder that was checked; None if no data folder is known.
        state: `complete` if every variant is, `absent` if all are.
        files: For each file of known content that exists, whether it is unaltered.
        variants: Its variants.
    """

    name: str
    title: str
    license: str
    gated: bool
    noncommercial: bool
    hub: str | None
    hub_commit: str
    git: str | None
    git_commit: str
    linked: bool
    fetchable: bool
    partner: str | None
    sha256: dict[str, str]
    obtain: str
    layouts: list[str]
    folder: str | None
    state: State
    files: dict[str, bool]
    variants: list[VariantReport]

    @property
    def sound(self) -> bool:
        """Whether all data that exist are complete and unaltered."""
        return all(self.files.values()) and all(
            variant.state != "incomplete" for variant in self.variants
        )


def check(card: Card, root: Path | None) -> Report:
    """Check a benchmark's folder.

    Args:
        card: The benchmark.
        root: Folder with a folder for each benchmark, or None.
    """
    folder = root / card.name if root else None
    files: dict[str, bool] = {}
    variants = [VariantReport(name, "absent", count) for name, count in card.variants.items()]
    if folder and folder.is_dir():
        source = local(card, folder)
        for name, prefix in card.sha256.items():
            for path in sorted(folder.rglob(name)):
                files[str(path.relative_to(folder))] = file_hash(path).startswith(prefix)
        decoded: dict[Path, str | None] = {}
        variants = [_variant(source, name, decoded) for name in card.variants]
    states: set[State] = {variant.state for variant in variants}
    state: State = "incomplete"
    if len(states) == 1:
        state = states.pop()
    if state == "complete" and not all(files.values()):
        state = "incomplete"
    return Report(
        name=card.name,
        title=card.title,
        license=card.license,
        gated=card.gated,
        noncommercial=card.noncommercial,
        hub=card.hub,
        hub_commit=card.hub_commit,
        git=card.git.url if card.git else None,
        git_commit=card.git.commit if card.git else "",
        linked=card.linked,
        fetchable=card.fetchable,
        partner=card.partner.benchmark if card.partner else None,
        sha256=dict(card.sha256),
        obtain=card.obtain,
        layouts=list(card.layouts),
        folder=str(folder) if folder else None,
        state=state,
        files=files,
        variants=variants,
    )


def describe(report: Report, *, fetched: bool = False) -> str:
    """A report as a block of lines, for people.

    Args:
        report: The report.
        fetched: Whether they were just fetched: then that is no advice.
    """
    lines = [
        f"{report.title} ({report.name}): {report.state}",
        f"  license   {report.license}{' (non-commercial)' * report.noncommercial}",
        f"  hub       {report.hub or 'no official repository'}{_at(report.hub_commit)}"
        f"{', gated' * report.gated}",
    ]
    if report.git:
        lines.append(f"  git       {report.git}{_at(report.git_commit)}")
    if report.linked:
        lines.append("  links     to pictures, in its files")
    if report.sha256:
        known = ", ".join(f"{name} {digits}..." for name, digits in report.sha256.items())
        lines.append(f"  SHA-256   {known}")
    if report.partner:
        lines.append(f"  partner   {report.partner}")
    lines.append(
        f"  folder    {report.folder or f'none: name one with --data-dir, or set {DATA_ROOT}'}"
    )
    if report.state != "complete":
        if report.fetchable and not fetched:
            lines.append(f"  fetch     vlmguard data fetch {report.name}")
        lines.append(f"  obtain    {report.obtain}")
        lines.extend(f"  layout    {layout}" for layout in report.layouts)
    for name, unaltered in report.files.items():
        verdict = "as published" if unaltered else "ALTERED: SHA-256 is not that of the original"
        lines.append(f"  file      {name}: {verdict}")
    for variant in report.variants:
        published = f"{variant.expected:,}" if variant.expected else "an unknown number of"
        counts = f"{variant.samples:,} of {published} samples"
        if variant.images:
            counts += f", {variant.usable} of {variant.images} images"
        found = f" ({published} samples)" if variant.state == "absent" else f" ({counts})"
        lines.append(f"  variant   {variant.name}: {variant.state}{found}")
        lines.extend(f"            {problem}" for problem in variant.problems)
    return "\n".join(lines)


def _at(commit: str) -> str:
    return f" at commit {commit}" if commit else ""


def _variant(source: Source, name: str, decoded: dict[Path, str | None]) -> VariantReport:
    """Load a variant; `decoded` keeps the fault of each image, if it has one."""
    expected = source.card.variants[name]
    try:
        samples = source.card.load(source, name)
        users: dict[Path, str] = {}
        for sample in samples:
            for image in images_of(sample.input):
                users.setdefault(source.inside(Path(image), str(sample.id)), str(sample.id))
    except MissingFile:
        return VariantReport(name, "absent", expected)
    except UserError as error:
        return VariantReport(name, "incomplete", expected, problems=[str(error)])
    for path, result in prepare_images(users.keys() - decoded.keys()).items():
        decoded[path] = str(result) if isinstance(result, ImageError) else None
    broken = [f"{users[path]}: {problem}" for path in users if (problem := decoded[path])]
    problems = broken[:_SHOWN]
    if len(broken) > _SHOWN:
        problems.append(f"and {len(broken) - _SHOWN} images more")
    complete = expected in (None, len(samples)) and not broken
    return VariantReport(
        name=name,
        state="complete" if complete else "incomplete",
        expected=expected,
        samples=len(samples),
        images=len(users),
        usable=len(users) - len(broken),
        problems=problems,
    )
