"""What is fetched lies as the card's loader wants it: real cards, small local copies of sources."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.folders import write_figstep, write_mm_parquet, write_vlguard
from support.git_repository import commit_files
from support.http_server import QuietHandler, serving
from support.hub_server import Hub, hub_server
from support.siuo_folder import write_siuo

from vlmguard.guard.cards import Card, cards
from vlmguard.tasks.data.fetch.sets import Outcome, fetch_set


def files_of(folder: Path, *patterns: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for pattern in patterns
        for path in folder.glob(pattern)
        if path.is_file()
    }


@pytest.fixture
def fetched(
    tmp_path: Path, use_hub: Callable[[Hub], None]
) -> Callable[[str, dict[str, bytes], dict[str, bytes], dict[str, int]], Outcome]:
    """Fetches a benchmark of which git and the hub have these files."""

    def fetch(
        name: str, git: dict[str, bytes], hub: dict[str, bytes], counts: dict[str, int]
    ) -> Outcome:
        card = cards().benchmarks[name]
        assert card.git is not None
        commit = commit_files(tmp_path / "git", git)
        source = replace(card.git, url=f"file://{tmp_path}/git", commit=commit)
        small = Card(
            **{**vars(card), "git": source, "hub_commit": "", "sha256": {}, "variants": counts}
        )
        with hub_server(card.hub or "none/none", hub) as server:
            use_hub(server)
            return fetch_set(small, tmp_path / "data", lambda *_: None)

    return fetch


def test_figstep(tmp_path: Path, fetched: Callable[..., Outcome]) -> None:
    files = files_of(write_figstep(tmp_path / "figstep"), "data/**/*")
    outcome = fetched("figstep", {**files, "README.md": b"# FigStep"}, {}, {"tiny": 10})
    assert outcome.complete
    # The authors' repository has all of these.
    assert {name.partition(" in ")[0] for name in outcome.lacking} == {
        "data/images/SafeBench",
        "src/generate_prompts.py",
    }


def test_siuo_has_texts_from_git_and_pictures_from_the_hub(
    tmp_path: Path, fetched: Callable[..., Outcome]
) -> None:
    folder = write_siuo(tmp_path / "siuo", 2)
    texts = files_of(folder, "data/*.json")
    pictures = {
        f"images/{Path(name).name}": it for name, it in files_of(folder, "data/images/*").items()
    }
    hub = {**pictures, "siuo_gen.json": b"another copy"}
    assert fetched("siuo", texts, hub, {"generation": 2}).complete


def test_vlguard_has_the_authors_other_files_beside_the_hubs(
    tmp_path: Path, fetched: Callable[..., Outcome]
) -> None:
    folder = write_vlguard(tmp_path / "vlguard")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as bundle:
        for name, content in files_of(folder, "test/**/*").items():
            bundle.writestr(name, content)
    git = {"data/gpt4_safe_safes.json": (folder / "gpt4_safe_safes.json").read_bytes()}
    hub = {**files_of(folder, "t*.json"), "test.zip": packed.getvalue()}
    counts = {"unsafe": 4, "safe_unsafe": 3, "safe_safe": 3}
    outcome = fetched("vlguard", git, hub, counts)
    assert outcome.complete
    assert [name.partition(" in ")[0] for name in outcome.lacking] == ["utils/utils.py"]
    there = tmp_path / "data/vlguard"
    assert (there / "data/gpt4_safe_safes.json").is_file()
    assert not (there / "test.zip").exists()


def test_mm_safetybench_has_the_tiny_list_beside_the_hubs_files(
    tmp_path: Path, fetched: Callable[..., Outcome]
) -> None:
    picture = (write_siuo(tmp_path / "siuo", 1) / "data/images/S-00.png").read_bytes()
    rows = [{"id": "0", "question": "What is it?", "image": {"bytes": picture, "path": None}}]
    write_mm_parquet(tmp_path / "mm", "SD", rows)
    git = {"TinyVersion_ID_List.json": json.dumps([]).encode()}
    outcome = fetched("mm_safetybench", git, files_of(tmp_path / "mm", "data/**/*"), {"sd": 13})
    assert outcome.complete


def test_msts_has_its_pictures_by_the_links_of_its_own_list(
    tmp_path: Path, real_data: Callable[[str], Path], fetched: Callable[..., Outcome]
) -> None:
    picture = (write_siuo(tmp_path / "siuo", 1) / "data/images/S-00.png").read_bytes()

    class Owners(QuietHandler):
        def do_GET(self) -> None:
            found = not self.path.endswith("/7")
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(picture) if found else 0))
            self.end_headers()
            self.wfile.write(picture if found else b"")

    card = cards().benchmarks["msts"]
    with serving(Owners) as address:
        texts = files_of(real_data("msts"), "data/prompts/*.csv")
        listed = (real_data("msts") / "data/images/unsafe_images.csv").read_text("utf-8")
        for number, url in enumerate(card.links(real_data("msts")).values()):
            listed = listed.replace(url, f"{address}/{number}", 1)
        texts["data/images/unsafe_images.csv"] = listed.encode()
        outcome = fetched("msts", texts, {}, dict(card.variants))
    assert len(outcome.dead) == 1
    assert {*outcome.dead.values()} == {"status 404"}
    variant = outcome.checked.variants[0]
    assert (variant.samples, variant.images, variant.usable) == (400, 200, 199)
