"""Fetching from git: real repositories on this machine, by the real git."""

from pathlib import Path

import pytest
from support.git_repository import commit_files
from support.http_server import QuietHandler, serving

from vlmguard.guard.cards import Git
from vlmguard.guard.errors import UserError
from vlmguard.tasks.data.fetch.git import fetch_git
from vlmguard.tasks.data.fetch.places import Places
from vlmguard.tasks.data.fetch.record import Fetched

FILES = {
    "README.md": b"Pantry\r\n",
    "data/list.json": b"[1]",
    "data/pictures/jam [1] \xc3\xa9.png".encode("latin-1").decode(): b"jam",
    "data/pictures/tea!.png": b"tea",
    "data/pictures/tea*.png": b"all teas",
    "videos/huge.mp4": bytes(2000),
}


class Fetching:
    """A call of `fetch_git`, with what it said."""

    def __init__(self, at: Places) -> None:
        self.at = at
        self.saved: list[Fetched] = []
        self.steps: list[tuple[int, int]] = []

    def __call__(self, git: Git) -> dict[str, bytes]:
        known = self.saved[-1] if self.saved else None
        fetch_git(git, known, self.at, lambda _, *step: self.steps.append(step), self.saved.append)
        return {
            path.relative_to(self.at.folder).as_posix(): path.read_bytes()
            for path in self.at.folder.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def fetching(at: Places) -> Fetching:
    return Fetching(at)


@pytest.fixture
def pantry(tmp_path: Path) -> tuple[str, str]:
    """Address and first commit of a repository with a second one."""
    first = commit_files(tmp_path / "pantry.git", FILES)
    commit_files(tmp_path / "pantry.git", {"data/list.json": b"[1, 2]"})
    return f"file://{tmp_path}/pantry.git", first


@pytest.mark.parametrize("digits", [40, 7])
def test_only_the_needed_files_come_and_those_of_the_commit(
    fetching: Fetching, pantry: tuple[str, str], digits: int
) -> None:
    url, first = pantry
    found = fetching(Git(url, ("README.md", "data"), first[:digits]))

    assert found == {name: text for name, text in FILES.items() if name != "videos/huge.mp4"}
    assert fetching.saved[-1].commit == first
    assert fetching.steps[-1] == (5, 5)
    assert not list(fetching.at.beside.iterdir())


def test_without_a_commit_the_newest_is_taken_and_then_kept(
    fetching: Fetching, pantry: tuple[str, str], tmp_path: Path
) -> None:
    url, _ = pantry
    git = Git(url, ("data",))
    assert fetching(git)["data/list.json"] == b"[1, 2]"
    newest = fetching.saved[-1].commit
    assert len(newest) == 40

    commit_files(tmp_path / "pantry.git", {"data/list.json": b"[1, 2, 3]"})
    (fetching.at.folder / "data/list.json").unlink()
    assert fetching(git)["data/list.json"] == b"[1, 2]"
    assert fetching.saved[-1].commit == newest


def test_a_second_call_fetches_what_is_missing_and_replaces_nothing(
    fetching: Fetching, pantry: tuple[str, str]
) -> None:
    url, first = pantry
    git = Git(url, ("data",), first)
    fetching(git)
    (fetching.at.folder / "data/list.json").write_bytes(b"mine")
    (fetching.at.folder / "data/pictures/tea!.png").unlink()
    fetching.steps.clear()

    found = fetching(git)
    assert found["data/list.json"] == b"mine"
    assert found["data/pictures/tea!.png"] == b"tea"
    assert fetching.steps[-1] == (1, 1)


def test_all_that_is_there_is_not_asked_for_again(
    fetching: Fetching, pantry: tuple[str, str], tmp_path: Path
) -> None:
    url, first = pantry
    git = Git(url, ("data",), first)
    fetching(git)
    (tmp_path / "pantry.git").rename(tmp_path / "gone")
    assert len(fetching(git)) == 4


def test_what_came_before_a_stop_is_kept_and_not_fetched_again(
    fetching: Fetching, tmp_path: Path
) -> None:
    many = {f"data/{number:03}.txt": b"%d" % number for number in range(250)}
    commit = commit_files(tmp_path / "pantry.git", many)
    git = Git(f"file://{tmp_path}/pantry.git", ("data",), commit)

    def stop(_: str, done: int, total: int) -> None:
        if done == 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_git(git, None, fetching.at, stop, fetching.saved.append)
    assert len(list(fetching.at.folder.rglob("*.txt"))) == 200
    assert fetching(git) == many
    assert fetching.steps[-1] == (50, 50)


def test_links_in_a_repository_are_left_out(fetching: Fetching, tmp_path: Path) -> None:
    commit = commit_files(tmp_path / "p.git", {"data/a.txt": b"a"}, {"data/b.txt": "/etc/passwd"})
    assert fetching(Git(f"file://{tmp_path}/p.git", ("data",), commit)) == {"data/a.txt": b"a"}


def test_a_path_that_the_repository_lacks_is_told(
    fetching: Fetching, pantry: tuple[str, str]
) -> None:
    url, first = pantry
    fetching(Git(url, ("data/list.json", "dat", "notes"), first))
    assert fetching.saved[-1].lacking == ("dat", "notes")
    with pytest.raises(UserError, match=f"has no files notes at commit {first}"):
        fetching(Git(url, ("notes",), first))


def test_nothing_is_written_outside_the_folder(
    fetching: Fetching, pantry: tuple[str, str], tmp_path: Path
) -> None:
    url, first = pantry
    (tmp_path / "elsewhere").mkdir()
    (fetching.at.folder / "data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="leaves"):
        fetching(Git(url, ("data",), first))
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("status", [200, 401, 403, 404, 500])
def test_a_server_that_refuses_or_is_no_git_server(fetching: Fetching, status: int) -> None:
    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", "Basic")
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>Please log in</html>")

    with (
        serving(Handler) as address,
        pytest.raises(UserError, match=r"cannot be fetched at its newest commit \(fatal: "),
    ):
        fetching(Git(f"{address}/pantry"))


def test_no_repository_no_commit_no_git(
    fetching: Fetching, pantry: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = pantry
    with pytest.raises(UserError, match=r"nothing cannot be fetched at its newest commit \(fatal"):
        fetching(Git(f"file://{tmp_path}/nothing"))
    for commit in ("1234567", "1" * 40):
        with pytest.raises(UserError, match=f"cannot be fetched at {commit}"):
            fetching(Git(url, ("data",), commit))
    with pytest.raises(UserError, match="Look at the network"):
        fetching(Git("http://127.0.0.1:9/pantry"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="git is not installed"):
        fetching(Git(url))
