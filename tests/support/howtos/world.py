"""What stands outside of a reader's machine, and what is on it: servers, data, checkpoints.

Every server stands under its real name (`api.openai.com`, `huggingface.co`): the warm process
takes these names to one server here, by https with a certificate of its own. Authors'
repositories are git repositories here, to which git itself is sent by its `insteadOf`.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import trustme
from support.auxiliaries import build_clip, build_gated_reward, build_shieldgemma
from support.benchmark_folders.every import EVERY
from support.benchmark_folders.pope import write_pope, write_pope_parquet
from support.checkpoints import checkpoint
from support.documents import REPO
from support.folders import write_figstep, write_vlguard
from support.git_repository import commit_files
from support.howtos.answers import answer
from support.howtos.hub import Hub
from support.http_server import QuietHandler, serving

HERE = Path(__file__).resolve().parent
HOSTS = ("api.openai.com", "huggingface.co")
SETS: Mapping[str, Mapping[str, int]] = {
    "figstep": {"tiny": 10},
    "siuo": {"generation": 2, "multiple_choice": 2},
    "mossbench": {"oversensitivity": 4, "contrast": 3, "both": 7},
    "mssbench": {"chat": 8},
    "pope": {"all": 12},
}
"""What the benchmarks that pages fetch hold here, by variant."""

MSSBENCH = b'PROMPT_CHAT_IF = "Follow it."\nPROMPT_EMBODIED_IF = "Follow it."\n'
MMMU = '''\
"""A question with options, asked as `inspect_evals` asks those of MMMU."""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import choice
from inspect_ai.solver import multiple_choice


@task
def mmmu_multiple_choice() -> Task:
    """One sample."""
    sample = Sample("Which of them is red?", choices=["A rose", "Snow"], target="A")
    return Task([sample], solver=multiple_choice(), scorer=choice())
'''


@dataclass
class World:
    """What is outside.

    Attributes:
        folder: A folder for everything.
        environment: Variables of a reader's shell.
        asked: Bodies of the requests to models, in order.
    """

    folder: Path
    environment: dict[str, str]
    asked: list[dict[str, Any]]

    def put_logs(self, to: Path) -> None:
        """Logs of FigStep, `undefended.eval` and `guarded.eval`, run once and copied."""
        made = self.folder / "logs"
        for name, defense in (("undefended", ()), ("guarded", ("--solver", "vlmguard"))):
            if not (made / f"{name}.eval").exists():
                self._run(made / name, *defense)
                (log,) = (made / name).glob("*.eval")
                log.rename(made / f"{name}.eval")
            to.mkdir(parents=True, exist_ok=True)
            shutil.copy(made / f"{name}.eval", to)

    def _run(self, logs: Path, *words: str) -> None:
        command = ["inspect", "eval", "vlmguard/figstep", "-T", "split=tiny", *words]
        for role in ("grader", "rewriter"):
            command += ["--model-role", f"{role}=openai/gpt-4o"]
        subprocess.run(
            [*command, "--model", "openai/gpt-4o-mini", "--log-dir", str(logs)],
            env=self.environment,
            executable=f"{self.folder}/bin/inspect",
            capture_output=True,
            check=True,
        )


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Everything that is outside, and the warm process, until the block ends."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    tls = SSLContext(PROTOCOL_TLS_SERVER)
    authority.issue_cert(*HOSTS).configure_cert(tls)
    asked: list[dict[str, Any]] = []
    hub = Hub({**_checkpoints(folder / "hub"), **_datasets(folder / "hub")})
    with serving(_outside(hub, asked), tls) as address:
        port = int(address.rpartition(":")[2])
        known = {
            "hosts": dict.fromkeys(HOSTS, port),
            "ca": str(folder / "ca.pem"),
            "sets": {name: dict(variants) for name, variants in SETS.items()},
            "suites": str(_suites(folder / "suites")),
        }
        environment = _environment(folder, address)
        with _warm(folder, json.dumps(known), environment):
            yield World(folder, environment, asked)


def _outside(hub: Hub, asked: list[dict[str, Any]]) -> type[QuietHandler]:
    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            if self.headers["Host"].startswith("huggingface.co"):
                hub.answer(self.path, self)
            else:
                self.send(200, {"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.read_body())
            if self.path != "/v1/chat/completions":
                self.send(404, {"error": {"message": f"nothing stands in for {self.path}"}})
                return
            asked.append(body)
            self.send(200, _completion(body, answer(body["messages"])))

        def send(self, status: int, content: Any, headers: Mapping[str, str] | None = None) -> None:
            whole = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(whole)

    return Handler


def _completion(body: Mapping[str, Any], said: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": said}
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [
            {"index": number, "finish_reason": "stop", "message": message}
            for number in range(body.get("n") or 1)
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def _checkpoints(folder: Path) -> dict[str, Path]:
    """Tiny checkpoints of the real architectures, with random weights, under the real names."""
    qwen = checkpoint("qwen2_vl")
    build: dict[str, Callable[[Path], Path]] = {
        "Qwen/Qwen2-VL-2B-Instruct": lambda _: qwen,
        "Qwen/Qwen2-VL-7B-Instruct": lambda _: qwen,
        "RLHFlow/ArmoRM-Llama3-8B-v0.1": build_gated_reward,
        "openai/clip-vit-large-patch14-336": build_clip,
        "google/shieldgemma-2-4b-it": build_shieldgemma,
    }
    return {f"models/{name}": make(folder / name) for name, make in build.items()}


def _datasets(folder: Path) -> dict[str, Path]:
    """The data of benchmarks that pages fetch: on the hub, and in authors' repositories."""
    git = folder.parent / "git"
    figstep = write_figstep(folder / "figstep")
    (figstep / "README.md").write_text("# FigStep\n")
    commit_files(git / "ThuCCSLab/FigStep", _files(figstep))
    siuo = EVERY["siuo"][0](folder / "siuo")
    commit_files(git / "sinwang20/SIUO", _files(siuo / "data", "*.json", "data/"))
    (folder / "siuo-hub").mkdir()
    shutil.copytree(siuo / "data/images", folder / "siuo-hub/images")
    moss = EVERY["mossbench"][0](folder / "mossbench")
    commit_files(git / "xirui-li/MOSSBench", _files(moss))
    mss = EVERY["mssbench"][0](folder / "mssbench")
    commit_files(git / "eric-ai-lab/MSSBench", {"utils/prompts.py": MSSBENCH})
    pope = write_pope_parquet(folder / "pope")
    texts = _files(write_pope(folder / "pope-git") / "output/coco", below="output/coco/")
    commit_files(git / "RUCAIBox/POPE", texts)
    return {
        "datasets/sinwang/SIUO": folder / "siuo-hub",
        "datasets/kzhou35/mssbench": mss,
        "datasets/lmms-lab-encoder/POPE": pope,
    }


def _files(folder: Path, pattern: str = "**/*", below: str = "") -> dict[str, bytes]:
    return {
        below + path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.glob(pattern)
        if path.is_file()
    }


def _environment(folder: Path, address: str) -> dict[str, str]:
    """A reader's shell: a key, no other settings, and our programs first on the PATH."""
    programs = folder / "bin"
    programs.mkdir()
    for name in ("inspect", "vlmguard", "python"):
        program = programs / name
        code = (HERE / "shim.py").read_text()
        program.write_text(f"#!{sys.executable} -IS\n{code}")
        program.chmod(0o755)
    _inspect_evals(folder / "site-packages")
    config = folder / "gitconfig"
    config.write_text(f'[url "file://{folder}/git/"]\n    insteadOf = https://github.com/\n')
    data = folder / "data"
    for name in ("siuo", "mossbench", "figstep"):
        EVERY[name][0](data / name)
    # Thresholds are calibrated on 20 harmless requests or more.
    write_vlguard(data / "vlguard", unsafe=2, safe=22)
    return {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "site-packages"),
        "HOWTOS_WARM": str(folder / "warm"),
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_DATA_HOME": str(folder / "share"),
        "HF_HOME": str(folder / "huggingface"),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "SSL_CERT_FILE": str(folder / "ca.pem"),
        "GIT_CONFIG_GLOBAL": str(config),
        "OPENAI_API_KEY": "sk-howtos",
        "VLMGUARD_DATA": str(data),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "INSPECT_DISPLAY": "log",
        # Tiny models with random weights end nowhere.
        "INSPECT_EVAL_MAX_TOKENS": "16",
        # A server that is not there is told at once.
        "INSPECT_EVAL_MAX_RETRIES": "1",
        "INSPECT_EVAL_CTL_SERVER": "false",
        "COLUMNS": "120",
        "NO_COLOR": "1",
    }


def _suites(folder: Path) -> Path:
    """The suites, with as few questions of POPE as are here."""
    shutil.copytree(REPO / "results/configs/suites", folder)
    for suite in folder.glob("*.yaml"):
        suite.write_text(suite.read_text().replace("n: 500", "n: 4"))
    return folder


def _inspect_evals(folder: Path) -> None:
    """A package with one task in the place of `inspect_evals`, which no environment here has."""
    (folder / "inspect_evals").mkdir(parents=True)
    (folder / "inspect_evals/__init__.py").write_text("")
    (folder / "inspect_evals/_registry.py").write_text(MMMU)
    facts = folder / "inspect_evals-0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: inspect_evals\nVersion: 0\n")
    entry = "[inspect_ai]\ninspect_evals = inspect_evals._registry\n"
    (facts / "entry_points.txt").write_text(entry)


@contextmanager
def _warm(folder: Path, known: str, environment: Mapping[str, str]) -> Iterator[None]:
    (folder / "home").mkdir()
    process = subprocess.Popen(
        [sys.executable, str(HERE / "warm.py"), str(folder / "warm"), known],
        env=dict(environment),
        # It ends with us, and so do its commands, even if we are killed.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.stdin.close()
        process.wait()
