"""Dockerfile and compose.yaml, which were never built here: what can be said without Docker.

Each path, option and name in them is held to what is in this repository.
"""

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.http_server import QuietHandler, serving

from vlmguard.guard.command_line import CommandParser
from vlmguard.guard.redaction import is_secret
from vlmguard.guard.serving.command import add
from vlmguard.guard.serving.start import settings_of

ROOT = Path(__file__).resolve().parents[3]
KNOWN = {
    *(
        "FROM",
        "WORKDIR",
        "RUN",
        "ENV",
        "COPY",
        "USER",
        "EXPOSE",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    ),
}
ENVIRONMENT = {
    "UPSTREAM": "https://example.org/v1",
    "REWRITER": "mockllm/rewriter",
    "OPENAI_API_KEY": "sk-0123456789abcdef",
    "VLMGUARD_CLIENT_KEYS": "one-key,another-key",
}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and what follows each, on one line."""
    text = (ROOT / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#") and line.strip()]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines()]


def told(name: str) -> list[str]:
    return [rest for word, rest in instructions() if word == name]


def composed() -> dict[str, Any]:
    """compose.yaml with its variables filled in, as compose does; a missing one is an error."""

    def filled(found: re.Match[str]) -> str:
        name, rest = found[1], found[2] or ""
        assert rest.startswith((":?", ":-", "")), rest
        return ENVIRONMENT[name]

    text = re.sub(r"\$\{(\w+)((?::[?-])[^}]*)?\}", filled, (ROOT / "compose.yaml").read_text())
    assert "$" not in text
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def parsed(words: list[str]) -> Any:
    """The words of `vlmguard serve`, read by its own parser."""
    parser = CommandParser(prog="vlmguard")
    add(parser.add_subparsers(required=True))
    return parser.parse_args(["serve", *words])


def entry() -> list[str]:
    words: list[str] = json.loads(told("ENTRYPOINT")[0])
    assert words[:2] == ["vlmguard", "serve"]
    return words[2:]


def test_both_say_that_nobody_has_built_them() -> None:
    assert "NEVER BUILT HERE" in (ROOT / "Dockerfile").read_text()
    assert "NEVER RUN HERE" in (ROOT / "compose.yaml").read_text()


def test_the_dockerfile_has_only_instructions_that_are_looked_at_here() -> None:
    assert {word for word, _ in instructions()} <= KNOWN
    assert instructions()[0][0] == "FROM"


def test_all_that_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [rest.split()[:-1] for rest in told("COPY") if not rest.startswith("--from")]
    names = [name for each in copied for name in each]
    assert names
    for name in names:
        assert (ROOT / name).exists(), name
        assert name not in ignored
    # The package is made of links: what they point to must be copied as well.
    links = [path for path in (ROOT / "src/vlmguard").iterdir() if path.is_symlink()]
    assert {path.resolve().name for path in links} <= set(names)
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {build["readme"], *build["license-files"]} <= set(names)


def test_what_holds_secrets_stays_outside() -> None:
    ignored = set((ROOT / ".dockerignore").read_text().splitlines())
    assert {".git", ".env", "logs", "out", "data", ".venv*"} <= ignored
    for line in [*told("ENV"), *told("RUN")]:
        for name in re.findall(r"(\w+)=", line):
            assert not is_secret(name), name
    assert told("ARG") == []
    for name, value in composed_environment():
        assert value == f"${{{name}}}", f"{name} is written out"


def composed_environment() -> Iterator[tuple[str, str]]:
    for service in yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values():
        for name, value in service["environment"].items():
            yield name, re.sub(r":[?-][^}]*", "", value)


def test_versions_are_those_that_were_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for image in told("FROM"):
        version = re.match(r"python:(3\.\d+)-slim", image)
        assert version is not None
        assert f"Programming Language :: Python :: {version[1]}" in project["classifiers"]
    installs = [line for line in told("RUN") if "pip install" in line]
    assert len(installs) == 2
    for line in installs:
        words = shlex.split(line)
        assert words[words.index("-c") + 1] == "constraints.txt"
        for extra in re.findall(r"\.\[(\w+)\]", line):
            assert extra in project["optional-dependencies"]


def test_it_runs_as_a_user_without_rights() -> None:
    last = [word for word, _ in instructions()]
    assert told("USER") == ["10001"]
    assert last.index("USER") < last.index("ENTRYPOINT")
    assert "RUN" not in last[last.index("USER") :]
    assert "--uid 10001" in " ".join(told("RUN"))


def test_the_entry_takes_the_options_of_the_server() -> None:
    words = entry()
    arguments = parsed([*words, "--microworld"])
    assert (arguments.host, arguments.port) == ("0.0.0.0", 8900)
    assert told("EXPOSE") == [str(arguments.port)]
    assert json.loads(told("CMD")[0]) == ["--help"]
    with pytest.raises(SystemExit) as stopped:
        parsed([*words, "--help"])
    assert stopped.value.code == 0


class Ready(QuietHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_json(self.status if self.path == "/readyz" else 404, {})


@contextmanager
def ready(status: int) -> Iterator[int]:
    with serving(type("Answering", (Ready,), {"status": status})) as address:
        yield int(address.rpartition(":")[2])


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_asks_whether_the_guard_is_ready(status: int, healthy: bool) -> None:
    command = json.loads(told("HEALTHCHECK")[0].split("CMD ", 1)[1])
    assert command[:2] == ["python", "-c"]
    ast.parse(command[2])
    with ready(status) as port:
        code = command[2].replace(":8900/", f":{port}/")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode == 0) is healthy


@pytest.mark.parametrize("name", ["guard", "shadow", "microworld"])
def test_the_server_takes_what_compose_gives_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = composed()["services"][name]
    for variable, value in service["environment"].items():
        monkeypatch.setenv(variable, value)
    arguments = parsed([*entry(), *service["command"]])
    assert arguments.microworld is (name == "microworld")
    if arguments.microworld:  # its models are loaded for seconds, and others test that
        return
    settings = settings_of(arguments)
    assert settings.shadow is (name == "shadow")
    assert (settings.record is not None) is (name == "shadow")
    if name == "guard":
        assert settings.on_failure == "refuse"
    if name == "shadow":
        folder = str(settings.record)
        mounted = [volume.split(":")[1] for volume in service["volumes"]]
        # Inside the volume, so that the server makes it with rights of its own.
        assert Path(folder).parent == Path(mounted[0])
        assert mounted[0] in " ".join(told("RUN"))


def test_what_compose_names_is_there() -> None:
    content = composed()
    assert list(content) == ["services", "volumes"]
    for service in content["services"].values():
        assert (ROOT / service["build"] / "Dockerfile").is_file()
        (port,) = service["ports"]
        host, _, inside = port.split(":")
        assert (host, inside) == ("127.0.0.1", told("EXPOSE")[0])
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in content["volumes"]
    ports = [service["ports"][0] for service in content["services"].values()]
    assert len(set(ports)) == len(ports)
