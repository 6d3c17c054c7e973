"""An image that a local processor refuses stops a run before its first answer."""

from pathlib import Path

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.model import get_model
from PIL import Image
from support.checkpoints import checkpoint
from support.scripted import Scripted
from support.siuo_folder import write_siuo

from vlmguard.tasks import siuo
from vlmguard.tasks.data.image_sizes import extreme_sizes


def test_the_extremes_are_the_thinnest_the_shortest_and_the_largest() -> None:
    sizes = {"a": (100, 100), "b": (5, 900), "c": (4, 8), "d": (2000, 900)}
    assert extreme_sizes(sizes) == {"b": [5, 900], "c": [4, 8], "d": [2000, 900]}
    assert extreme_sizes({"a": (1, 5000), "b": (1, 4000)}) == {"a": [1, 5000]}
    assert extreme_sizes({}) == {}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = write_siuo(tmp_path / "siuo", 4)
    Image.new("RGB", (1, 5000), "red").save(data / "data" / "images" / "S-02.png")
    return data


@pytest.mark.parametrize("role", ["target", "rewriter"])
def test_a_thin_image_is_found_before_the_first_answer(folder: Path, role: str) -> None:
    local = get_model(f"hf-vlm/{checkpoint('qwen2_vl')}", device="cpu", memoize=False)
    other = Scripted("A careful answer.")
    models = {"target": other.model, "rewriter": other.model} | {role: local}
    task = siuo(judge="none", data_dir=str(folder))
    (log,) = inspect_eval(
        task,
        model=models["target"],
        model_roles={"rewriter": models["rewriter"]},
        display="none",
        log_dir=str(folder / "logs"),
        max_samples=1,
    )
    assert log.status == "error"
    assert log.error
    assert "Image of sample siuo/1002 (1 x 5000)" in log.error.message
    assert "refuses this request (images: 1 x 5000)" in log.error.message
    assert not log.stats.model_usage
    assert other.calls == []
