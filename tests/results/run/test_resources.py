"""What targets ask of a cluster, against what nodes have."""

from typing import Any

import pytest
from pydantic import ValidationError

from vlmguard.results.run.config import Matrix, ModelChoice, Target
from vlmguard.results.run.resources import fits, named_resources, remote_options

GPU_NODE = {"CPU": 16.0, "GPU": 2.0, "memory": 2.0**37, "node:10.0.0.1": 1.0}
HEAD = {"CPU": 2.0, "memory": 2.0**33}


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"GPU": 1}, "write num_cpus or num_gpus in the place of GPU"),
        ({"gpus": 1}, "write num_cpus or num_gpus"),
        ({"num_gpu": 1}, "num_gpus"),
        ({"num_gpus": -1}, "is no number from 0"),
        ({"num_gpus": float("inf")}, "is no number from 0"),
        ({"num_gpus": 1.5}, "above 1, Ray takes whole numbers"),
        ({"num_gpus": "many"}, "valid number"),
    ],
)
def test_what_ray_would_not_take_is_refused(resources: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Target(model="hf-vlm/x", resources=resources)


def test_resources_are_those_of_targets_alone() -> None:
    with pytest.raises(ValidationError, match="resources"):
        ModelChoice.model_validate({"model": "openai/x", "resources": {"num_gpus": 1}})
    matrix = Matrix.model_validate(
        {
            "targets": ["mockllm/a", {"model": "hf-vlm/b", "resources": {"num_gpus": 1}}],
            "benchmarks": ["siuo"],
            "defenses": ["none"],
        }
    )
    assert [each.resources for each in matrix.targets] == [{}, {"num_gpus": 1}]


def test_a_process_takes_one_cpu_unless_it_says_otherwise() -> None:
    assert remote_options({}) == {"num_cpus": 1}
    assert remote_options({"num_gpus": 0.5, "A100": 1}) == {
        "num_cpus": 1,
        "num_gpus": 0.5,
        "resources": {"A100": 1},
    }
    assert named_resources({"num_gpus": 1, "num_cpus": 0}) == "1 GPU"


def test_how_many_fit_is_counted_by_node() -> None:
    nodes = [HEAD, GPU_NODE]
    assert fits({}, nodes) == 18
    assert fits({"num_gpus": 1}, nodes) == 2
    assert fits({"num_gpus": 0.5}, nodes) == 4
    assert fits({"num_gpus": 1, "num_cpus": 10}, nodes) == 1
    # Three GPUs on one node, not two on one and one on another.
    assert fits({"num_gpus": 3}, [GPU_NODE, GPU_NODE]) == 0
    assert fits({"memory": 2.0**34}, nodes) == 8
    assert fits({"A100": 1}, nodes) == 0
