"""Unpacking archives: whole, inside the folder, and no links."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from vlmguard.guard.errors import UserError
from vlmguard.tasks.data.fetch.archives import unpack
from vlmguard.tasks.data.fetch.places import Places

FILES = {"pictures/jam.png": b"jam", "list.json": b"[1]"}


def packed(path: Path, files: dict[str, bytes], link: str = "") -> Path:
    """An archive of the kind of its name; `link` is a symbolic link in it to /etc."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as bundle:
            bundle.mkdir("pictures")
            for name, content in files.items():
                bundle.writestr(name, content)
            if link:
                info = zipfile.ZipInfo(link)
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                bundle.writestr(info, "/etc")
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        if link:
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc"
            tar.addfile(entry)
    return path


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_all_files_come_and_those_that_are_there_stay(
    at: Places, tmp_path: Path, name: str
) -> None:
    archive = packed(tmp_path / name, FILES)
    (at.folder / "sub").mkdir()
    (at.folder / "sub/list.json").write_bytes(b"mine")

    assert unpack(archive, at, "sub") == ("sub/pictures/jam.png", "sub/list.json")
    assert content_of(at.folder) == {"sub/pictures/jam.png": b"jam", "sub/list.json": b"mine"}
    assert not content_of(at.beside)


@pytest.mark.parametrize(
    "bad", ["../out.txt", "/out.txt", "a/../../out.txt", "C:\\out.txt", "..\\o"]
)
@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_an_entry_that_leaves_the_folder(at: Places, tmp_path: Path, name: str, bad: str) -> None:
    archive = packed(tmp_path / name, {**FILES, bad: b"out"})
    with pytest.raises(UserError, match=r"nothing was unpacked. The path .* leaves"):
        unpack(archive, at)
    assert not content_of(at.folder)
    assert not list(tmp_path.rglob("out.txt"))


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_a_link_in_an_archive(at: Places, tmp_path: Path, name: str) -> None:
    archive = packed(tmp_path / name, FILES, link="pictures/etc")
    with pytest.raises(UserError, match="the entry pictures/etc is a link"):
        unpack(archive, at)
    assert not content_of(at.folder)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_a_damaged_archive(at: Places, tmp_path: Path, name: str) -> None:
    whole = packed(tmp_path / name, {f"{n}.txt": bytes(range(256)) * 20 for n in range(9)})
    for half in (b"", b"half", whole.read_bytes()[: whole.stat().st_size // 2]):
        whole.write_bytes(half)
        with pytest.raises(UserError, match=r"cannot be unpacked .* Delete it and run again"):
            unpack(whole, at)


def test_more_than_the_disk_holds(
    at: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(tmp_path / "a.zip", FILES)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5})())
    with pytest.raises(UserError, match="Make room"):
        unpack(archive, at)
    assert not content_of(at.folder)
