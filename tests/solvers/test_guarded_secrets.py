"""Secrets of the model inside `guarded/` reach its server, and nothing else."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import GenerateConfig, Model, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate
from support.openai_server import Server, openai_server
from support.siuo_folder import write_siuo

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.guard.model_secrets import make_model
from vlmguard.solvers.guarded import Guarded

NAME = "guarded/figstep_defense/openai-api/fake/one"
SECRETS = ("plainkey-of-one", "password-of-one", "header-of-one", "query-of-one")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with openai_server(lambda text, messages: "Yes.") as server:
        yield server


def arguments(server: Server) -> dict[str, Any]:
    host = server.url.removeprefix("http://")
    return {
        "api_key": SECRETS[0],
        "base_url": f"http://user:{SECRETS[1]}@{host}",
        "default_headers": {"X-Tenant": SECRETS[2]},
        "default_query": {"token": SECRETS[3]},
        "max_retries": 0,
    }


def assert_reached(model: Model) -> None:
    assert isinstance(model.api, Guarded)
    client = model.api.inner.api.client  # type: ignore[attr-defined]
    assert client.api_key == SECRETS[0]
    assert client.default_headers["X-Tenant"] == SECRETS[2]
    assert client.default_headers["Authorization"].startswith("Basic ")
    assert client._custom_query == {"token": SECRETS[3]}


def assert_clean(text: str) -> None:
    assert [secret for secret in SECRETS if secret in text] == []


def written(folder: Path) -> Iterator[str]:
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    yield archive.read(name).decode(errors="replace")
        elif path.name != "matrix.yaml":
            yield path.read_bytes().decode(errors="replace")


def evaluated(models: list[str], server: Server, where: Path, **more: Any) -> list[EvalLog]:
    task = Task(dataset=[Sample("How?", target="Yes")], solver=generate(), scorer=includes())
    given = {"model_args": arguments(server)}
    return inspect_eval(
        task, model=models, model_args=given, log_dir=str(where), display="none", **more
    )


def test_inspects_own_command_logs_none_and_each_model_gets_them(
    server: Server, tmp_path: Path
) -> None:
    second = NAME.replace("figstep_defense", "ecso")
    logs = evaluated([NAME, second], server, tmp_path)
    assert [log.status for log in logs] == ["success", "success"]
    for text in written(tmp_path):
        assert_clean(text)
    inside = logs[0].eval.model_args["model_args"]
    assert inside.keys() == arguments(server).keys()
    assert inside["max_retries"] == 0
    # One mapping may make several models, the second after its secrets were hidden.
    shared = arguments(server)
    for name in (NAME, second):
        assert_reached(get_model(name, memoize=False, model_args=shared))
        assert_clean(str(shared))


def test_a_role_is_logged_without_them(server: Server, tmp_path: Path) -> None:
    role = get_model(NAME, memoize=False, model_args=arguments(server))
    assert_clean(str(role.api.base_url))
    inspect_eval(
        Task(dataset=[Sample("How?")], solver=generate()),
        model="mockllm/model",
        model_roles={"grader": role},
        log_dir=str(tmp_path / "roles"),
        display="none",
    )
    for text in written(tmp_path / "roles"):
        assert_clean(text)


def test_an_address_that_inspect_would_log_is_refused(server: Server) -> None:
    address = arguments(server)["base_url"]
    with pytest.raises(UserError, match=r"holds a secret, .*model_args") as caught:
        get_model(NAME, memoize=False, base_url=address, api_key=SECRETS[0])
    assert_clean(str(caught.value))
    plain = get_model(NAME, memoize=False, base_url=server.url, api_key=SECRETS[0])
    assert isinstance(plain.api, Guarded)
    assert plain.api.inner.api.base_url == server.url


def test_errors_hold_none(server: Server) -> None:
    with pytest.raises(UserError) as caught:
        get_model(NAME, memoize=False, model_args=f"{{api_key: {SECRETS[0]}")
    assert_clean(str(caught.value))
    wrong = arguments(server) | {SECRETS[0]: 1}
    with pytest.raises(UserError) as caught:
        get_model(NAME, memoize=False, model_args=wrong)
    assert_clean(str(caught.value))


def test_what_the_matrix_moves_for_a_bare_target_it_moves_for_the_model_inside(
    server: Server,
) -> None:
    config = GenerateConfig(extra_headers={"X-Tenant": SECRETS[2]}, temperature=0.5)
    given = {name: value for name, value in arguments(server).items() if name != "default_headers"}
    top = {name: given.pop(name) for name in ("base_url", "api_key")}
    model = make_model(NAME, {**top, "placement": "suffix", "model_args": given}, config)
    assert_reached(model)
    assert (model.config.extra_headers, model.config.temperature) == (None, 0.5)
    assert model.explicit_base_url is None
    assert_clean(str(model.model_args))


def test_a_matrix_with_a_guarded_target_writes_none(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments(server)
    headers = given.pop("default_headers")
    matrix = {
        "log_dir": str(tmp_path / "logs"),
        "targets": [
            {
                "model": NAME,
                "model_args": {"placement": "suffix", "model_args": given},
                "generate": {"extra_headers": headers},
            }
        ],
        "benchmarks": [
            {"name": "siuo", "args": {"data_dir": str(write_siuo(tmp_path / "siuo", 1))}}
        ],
        "defenses": [{"name": "none"}],
        "roles": {"grader": {"model": NAME, "model_args": {"model_args": given}}},
        "options": {"max_retries": 0},
    }
    path = tmp_path / "matrix.yaml"
    path.write_text(yaml.safe_dump(matrix))
    for words in (
        ["run", "--config", str(path), "--dry-run"],
        ["run", "--config", str(path)],
        ["leaderboard", str(tmp_path / "logs"), "--out", str(tmp_path / "board")],
    ):
        main(words)
        printed = capsys.readouterr()
        assert_clean(printed.out + printed.err)
    assert list((tmp_path / "logs").rglob("*.eval"))
    for text in written(tmp_path):
        assert_clean(text)


def test_the_identity_tells_two_tenants_apart_by_digests(server: Server) -> None:
    one = get_model(NAME, memoize=False, model_args=arguments(server))
    other = arguments(server)
    other["default_headers"] = {"X-Tenant": "header-of-another"}
    assert one.api.base_url != get_model(NAME, memoize=False, model_args=other).api.base_url
    again = get_model(NAME, memoize=False, model_args=arguments(server))
    assert one.api.base_url == again.api.base_url
