"""axe-core, which checks pages for accessibility: npm fetches it once; it is no part of ours."""

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from support.browser import Page

VERSION = "4.14.1"


def axe_source() -> str:
    """Its script, from a cache in the environment of the tests; skips the test if npm has none."""
    cached = Path(sys.prefix) / "cache" / f"axe-core-{VERSION}.js"
    if cached.is_file():
        return cached.read_text(encoding="utf-8")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm on this machine, which fetches axe-core")
    cached.parent.mkdir(exist_ok=True)
    packed = subprocess.run(
        [npm, "pack", f"axe-core@{VERSION}", "--pack-destination", str(cached.parent)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    archive = cached.parent / f"axe-core-{VERSION}.tgz"
    if packed.returncode != 0 or not archive.is_file():
        pytest.skip(f"npm could not fetch axe-core {VERSION}: {packed.stderr.strip()[-200:]}")
    with tarfile.open(archive) as files:
        member = files.extractfile("package/axe.min.js")
        assert member is not None
        cached.write_bytes(member.read())
    archive.unlink()
    return cached.read_text(encoding="utf-8")


def faults_of(page: Page) -> list[str]:
    """What axe-core finds wrong with a page as it stands, by all its rules."""
    page.evaluate(axe_source())
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    found = page.evaluate(f"axe.run(document, {json.dumps(options)})")
    return [
        f"{each['id']}: {each['help']} ({', '.join(str(node['target']) for node in each['nodes'])})"
        for each in found["violations"]
    ]
