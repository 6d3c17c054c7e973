"""Puts known secrets into every place that takes one, and searches every byte of every output."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from inspect_ai import eval as inspect_eval
from inspect_ai.model import GenerateConfig, get_model
from support.openai_server import Server, openai_server
from support.siuo_folder import write_siuo

from vlmguard.cli import main
from vlmguard.guard.model_secrets import make_model
from vlmguard.results.logs.conditions import as_text
from vlmguard.results.run.chosen import read_config

ENVIRONMENT = ("sk-ENVKEY-111", "URLPASS-222", "URLTOKEN-333")
CONFIGURED = (
    *("sk-ARGKEY-444", "ARGPASS-555", "HEADER-666", "XHEADER-777", "GENERATED-888", "BODYKEY-999"),
    *("sk-GRADER-1111", "REWRITERPASS-1212", "REWRITERHEADER-1313", "plainkey"),
)
SECRETS = (*ENVIRONMENT, *CONFIGURED)


def reply_to(text: str, messages: list[dict[str, Any]]) -> str:
    if '"safety"' in text:
        return '{"safety": 9, "helpful": true}'
    if '"effective"' in text:
        return '{"effective": "very"}'
    if '"safe"' in text:
        return '{"safe": true}'
    if "<prompt>" in text:
        return "<reasoning>Paint.</reasoning><prompt>How do I paint?</prompt>"
    return "Open a window."


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with openai_server(reply_to) as server:
        yield server


@pytest.fixture(scope="module")
def environment(server: Server) -> Iterator[None]:
    host = server.url.removeprefix("http://").removesuffix("/v1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_API_KEY", ENVIRONMENT[0])
        patch.setenv(
            "FAKE_BASE_URL", f"http://user:{ENVIRONMENT[1]}@{host}/v1?key={ENVIRONMENT[2]}"
        )
        yield


def matrix_file(folder: Path, server: Server) -> Path:
    host = server.url.removeprefix("http://").removesuffix("/v1")
    headers = {"Authorization": f"Bearer {CONFIGURED[2]}", "X-Api-Key": CONFIGURED[3]}
    with_url = {
        "api_key": CONFIGURED[0],
        "base_url": f"http://user:{CONFIGURED[1]}@{host}/v1",
        "default_headers": headers,
    }
    generate = {
        "extra_headers": {"X-Secret": CONFIGURED[4]},
        "extra_body": {"top_k": 5},
    }
    rewriter = {
        "api_key": CONFIGURED[9],
        "base_url": f"http://user:{CONFIGURED[7]}@{host}/v1",
        "default_headers": {"X-Other": CONFIGURED[8]},
    }
    matrix = {
        "log_dir": str(folder / "logs"),
        "targets": [
            {"model": "openai-api/fake/one", "model_args": with_url},
            {
                "model": "openai-api/fake/two",
                "model_args": {"api_key": CONFIGURED[0], "base_url": server.url},
                "generate": generate,
            },
        ],
        "benchmarks": [{"name": "siuo", "args": {"data_dir": str(folder / "siuo")}}],
        "defenses": [{"name": "none"}, {"name": "vlmguard"}],
        "roles": {
            "grader": {
                "model": "openai-api/fake/grader",
                "model_args": {"api_key": CONFIGURED[6], "base_url": server.url},
            },
            "rewriter": {"model": "openai-api/fake/rewriter", "model_args": rewriter},
        },
        "limit": 1,
        "options": {"retry_attempts": 1, "retry_wait": 1, "max_retries": 0},
    }
    path = folder / "matrix.yaml"
    path.write_text(yaml.safe_dump(matrix))
    return path


def found_in(content: str) -> list[str]:
    return [secret for secret in SECRETS if secret in content]


def bytes_below(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file's bytes, those of archives unpacked."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    yield f"{path}: {name}", archive.read(name).decode(errors="replace")
        elif path.is_file() and path.name != "matrix.yaml":
            yield str(path), path.read_bytes().decode(errors="replace")


def hunt(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    """Run a command; neither its output nor its files may hold a secret."""
    status = main([str(word) for word in words])
    printed = capsys.readouterr()
    output = printed.out + printed.err
    assert not found_in(output), f"{words[0]}: {found_in(output)}\n{output}"
    return status, output


def assert_clean(folder: Path) -> None:
    held = {name: found for name, text in bytes_below(folder) if (found := found_in(text))}
    assert not held


def plain_log(folder: Path, server: Server) -> None:
    """A log of Inspect's own commands, which log their arguments unchanged."""
    model = get_model(
        "openai-api/fake/plain",
        api_key=CONFIGURED[0],
        base_url=server.url,
        config=GenerateConfig(extra_body={"api_key": CONFIGURED[5]}, max_retries=0),
        memoize=False,
        default_headers={"Authorization": f"Bearer {CONFIGURED[2]}"},
    )
    grader = get_model(
        "openai-api/fake/grader",
        api_key=CONFIGURED[6],
        base_url=server.url,
        memoize=False,
        default_headers={"X-Other": CONFIGURED[8]},
    )
    inspect_eval(
        "vlmguard/siuo",
        task_args={"data_dir": str(folder / "siuo")},
        model=model,
        model_roles={"grader": grader},
        limit=1,
        log_dir=str(folder / "plain"),
        display="none",
    )


@pytest.mark.slow
def test_no_output_of_any_command_holds_a_secret(
    server: Server,
    environment: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_siuo(tmp_path / "siuo", 2)
    config = matrix_file(tmp_path, server)
    logs, plain, out = tmp_path / "logs", tmp_path / "plain", tmp_path / "out"
    summary = out / "summary.md"
    out.mkdir()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    assert hunt(capsys, "run", "--config", config, "--dry-run")[0] == 0
    assert hunt(capsys, "run", "--config", config)[0] == 0
    # Inspect's log of `run` has no secrets either.
    assert_clean(logs)
    plain_log(tmp_path, server)
    capsys.readouterr()
    assert any(found_in(text) for _, text in bytes_below(plain)), "the hunt must have a quarry"
    every = (logs, plain)
    board = hunt(capsys, "leaderboard", *every, "--out", out / "board", "--verify", "--published")
    assert board[0] == 0
    first, second = sorted(logs.rglob("*.eval"))[:2]
    (third,) = plain.rglob("*.eval")
    for one, other in ((first, second), (first, third)):
        shown = hunt(capsys, "diff", one, other, "--html", out / "d.html", "--csv", out / "d.csv")
        assert shown[0] == 0
    hunt(capsys, "label", third, "--out", out / "sheet")
    hunt(capsys, "agreement", first, third)
    baseline = out / "baseline.json"
    assert hunt(capsys, "gate", *every, "--baseline", baseline, "--update")[0] == 0
    for given in (every, (logs,)):
        junit = out / f"{len(given)}.xml"
        hunt(capsys, "gate", *given, "--baseline", baseline, "--junit", junit)
    hunt(capsys, "data", "siuo", "--data-dir", tmp_path, "--json")

    # A server that repeats the key in its refusal.
    server.refuse.set()
    refused = tmp_path / "refused"
    part = ("--target", "openai-api/fake/one", "--defense", "vlmguard", "--log-dir", refused)
    # A separate process: Inspect keeps a process's first display.
    program = Path(sys.executable).with_name("vlmguard")
    command = [program, "run", "--config", config, *part]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    server.refuse.clear()
    printed = ended.stdout + ended.stderr
    assert ended.returncode == 1, printed
    assert "Incorrect API key provided: [secret]" in printed
    assert not found_in(printed)
    assert hunt(capsys, "leaderboard", refused)[0] == 2
    hunt(capsys, "gate", refused, "--baseline", baseline, "--junit", out / "3.xml")
    assert "Incorrect API key provided: [secret]" in (out / "3.xml").read_text()
    assert summary.exists()
    assert_clean(out)


def test_the_secrets_reach_the_server_all_the_same(
    server: Server, environment: None, tmp_path: Path
) -> None:
    matrix = read_config(matrix_file(tmp_path, server))
    first, second = (
        make_model(each.model, each.model_args, each.generate) for each in matrix.targets
    )

    sent = first.api.client.default_headers  # type: ignore[attr-defined]
    # The password in the address overrides the header, as in the client.
    assert sent["Authorization"].startswith("Basic ")
    assert sent["X-Api-Key"] == CONFIGURED[3]
    assert str(first.api.base_url) == server.url
    assert second.api.client.default_headers["X-Secret"] == CONFIGURED[4]  # type: ignore[attr-defined]
    assert second.config.extra_headers is None
    assert second.config.extra_body == {"top_k": 5}


def test_two_runs_that_differ_in_a_secret_are_told_apart(tmp_path: Path) -> None:
    one, other = ({"default_headers": {"X-Tenant": name}} for name in ("first", "second"))

    assert as_text(one) != as_text(other)
    assert json.loads(as_text(one)).keys() == {"default_headers"}
