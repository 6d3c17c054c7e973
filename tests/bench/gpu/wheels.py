"""Wheels for a GPU machine without a network: the pinned packages that it lacks and needs.

    python tests/bench/gpu/wheels.py out/wheels                  # Python 3.12 on x86-64 Linux
    python tests/bench/gpu/wheels.py out/wheels --python-version 3.11.9 --there aiohttp PyYAML

About 53 MB. The machine's own torch is used, and other packages that images with torch have.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parents[3] / "constraints.txt"

THERE = (
    *("torch", "numpy", "scipy", "pandas", "pyarrow", "statsmodels", "patsy", "pillow"),
    *("matplotlib", "contourpy", "cycler", "fonttools", "kiwisolver", "pyparsing"),
    *("sympy", "mpmath", "networkx", "hf-xet", "xxhash"),
)
"""Large, or torch's own."""

SPARED = (
    *("mypy", "mypy_extensions", "librt", "ast_serialize", "ruff", "debugpy"),
    *("pandas-stubs", "types-PyYAML", "trio", "build", "pyproject_hooks"),
)
"""For development only."""

PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")

CUT = {
    "inspect_ai": "inspect_ai/binaries/",  # tools for sandboxes
    "botocore": "botocore/data/",  # descriptions of a cloud's services
    "zstandard": "zstandard/_cffi.",  # a second implementation
}
"""Beginnings of the names of files that no code here reads; 45 MB."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="where to put them")
    parser.add_argument("--python-version", default="3.12", help="of the GPU machine (3.12)")
    parser.add_argument("--there", nargs="+", default=[], help="more packages that it has")
    given = parser.parse_args()
    if any(given.folder.glob("*.whl")):  # two versions of a package stop its installation
        raise SystemExit(f"{given.folder} holds wheels. Delete them, or name another folder.")
    download(wanted(CONSTRAINTS.read_text(), given.there), given.folder, given.python_version)
    for wheel in given.folder.glob("*.whl"):
        name = wheel.name.partition("-")[0]
        if name in CUT:
            cut(wheel, CUT[name])
    sizes = [wheel.stat().st_size for wheel in given.folder.glob("*.whl")]
    print(f"{given.folder}: {len(sizes)} wheels, {sum(sizes) / 1e6:.0f} MB")


def wanted(constraints: str, there: list[str]) -> list[str]:
    """The pinned packages to copy, `name==version` each."""
    out = {_plain(name) for name in (*THERE, *SPARED, *there)}
    lines = [line for line in constraints.splitlines() if line and not line.startswith("#")]
    return [line for line in lines if _plain(line.partition("==")[0]) not in out]


def download(packages: list[str], folder: Path, version: str) -> None:
    """Fetch the wheels for another machine's Python."""
    platforms = [f"--platform={name}" for name in PLATFORMS]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(packages))
        file.flush()
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)),
                *("--no-deps", "--only-binary=:all:", "--python-version", version, *platforms),
                *("--requirement", file.name),
            ],
            check=True,
        )


def cut(wheel: Path, start: str) -> None:
    """Leave files out of a wheel; pip does not check that files in its RECORD exist."""
    part = wheel.with_suffix(".part")
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in source.infolist():
            if not entry.filename.startswith(start):
                new.writestr(entry, source.read(entry))
    part.replace(wheel)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
