"""The files of docs/cluster load, as far as what reads them is on this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from inspect_ai.model import get_model
from support.documents import REPO

from vlmguard.guard.sampling import in_full
from vlmguard.results.run.chosen import read_config
from vlmguard.results.run.config import Matrix

CLUSTER = REPO / "docs/cluster"
RAYJOB = {"entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit"}
"""The fields of KubeRay's RayJobSpec (ray.io/v1) that ours has, beside its cluster."""


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CLUSTER / name).read_text())
    return content


def words_of(command: str) -> list[str]:
    """The words of `vlmguard run` in a command."""
    assert command.startswith("vlmguard run --config ")
    return command.split()[2:]


@pytest.mark.parametrize("file", sorted(CLUSTER.glob("served-*.yaml")), ids=lambda file: file.stem)
def test_a_served_target_states_its_whole_sampling(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVED_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("SERVED_API_KEY", "none")
    matrix = read_config(file)
    server = "sglang" if "sglang" in file.name else "vllm"
    for chosen in served(matrix):
        # Nothing is left for the server to fill in.
        model = get_model("openai-api/served/m", config=chosen.generate)
        stated = in_full(model, chosen.generate, server)
        assert stated.model_dump() == chosen.generate.model_dump()
        assert None not in (stated.temperature, stated.top_p)


def test_all_served_models_of_the_matrix_state_it_too() -> None:
    matrix = read_config(CLUSTER / "matrix.yaml")
    bodies = [chosen.generate.extra_body for chosen in served(matrix)]
    assert len(bodies) == 6 + 2
    assert {str(body) for body in bodies} == {"{'top_k': -1, 'min_p': 0, 'repetition_penalty': 1}"}


def served(matrix: Matrix) -> list[Any]:
    roles = [each for each in matrix.roles.values() if not isinstance(each, list)]
    return [each for each in (*matrix.targets, *roles) if each.model.startswith("openai-api/")]


def test_names_on_ray_serve_are_those_of_the_targets() -> None:
    (application,) = read("ray-serve.yaml")["applications"]
    ids = [each["model_loading_config"]["model_id"] for each in application["args"]["llm_configs"]]
    targets = read_config(CLUSTER / "served-ray.yaml").targets
    assert [f"openai-api/rayserve/{each}" for each in ids] == [each.model for each in targets]


def test_ray_takes_the_cluster() -> None:
    util = pytest.importorskip("ray.autoscaler._private.util", reason="needs the extra [ray]")
    prepared = util.prepare_config(read("ray-cluster.yaml"))
    util.validate_config(prepared)
    assert prepared["available_node_types"]["gpu"]["max_workers"] == 8
    # Started without their keys, nodes would fail in the middle of a run.
    for role in ("head", "worker"):
        assert "keys.env" in prepared[f"{role}_start_ray_commands"][-1]


def test_the_job_on_kubernetes_has_what_kuberay_knows() -> None:
    job = read("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"].keys() == RAYJOB | {"rayClusterSpec"}
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster.keys() == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    (workers,) = cluster["workerGroupSpecs"]
    assert cluster["headGroupSpec"].keys() == {"rayStartParams", "template"}
    assert workers.keys() == {
        *("groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"),
    }
    pods = [cluster["headGroupSpec"]["template"]["spec"], workers["template"]["spec"]]
    for pod in pods:
        (node,) = pod["containers"]
        mounted = {each["name"] for each in node["volumeMounts"]}
        assert mounted == {each["name"] for each in pod["volumes"]}
        assert node["envFrom"] == [{"secretRef": {"name": "vlmguard-keys"}}]
        assert node["image"] in (CLUSTER / "Dockerfile").read_text()
    assert gpus(pods[0]) is None
    assert gpus(pods[1]) == "1"
    file = words_of(job["spec"]["entrypoint"])[1]
    (matrix,) = [each for each in pods[0]["containers"][0]["volumeMounts"] if each.get("readOnly")]
    assert Path(file).parent == Path(matrix["mountPath"])


def gpus(pod: Mapping[str, Any]) -> str | None:
    limits: Mapping[str, str] = pod["containers"][0]["resources"]["limits"]
    return limits.get("nvidia.com/gpu")


def test_no_key_stands_in_a_file_that_ray_or_kubernetes_stores() -> None:
    for file in CLUSTER.iterdir():
        text = file.read_text()
        assert "runtime_env:" not in text, file
        assert "runtimeEnvYAML:" not in text, file
