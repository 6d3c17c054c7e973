"""Two names of the same weights give one key, and any other text gives a clear error."""

import pytest
import torch
from inspect_ai.model import get_model

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.checkpoint_key import weights_key


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "out" / "m").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "out" / "m"


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_a_folder_is_one_however_it_is_written(folder):
    keys = {weights_key(name, {}) for name in ("out/m", "./out/m/", str(folder))}
    assert {key.checkpoint for key in keys} == {str(folder)}
    assert len(keys) == 1


def test_a_hub_id_stays_as_it_is(folder):
    assert weights_key("Qwen/Qwen2-VL-7B-Instruct", {}).checkpoint == "Qwen/Qwen2-VL-7B-Instruct"


@pytest.mark.parametrize(
    "ways",
    [
        [{}, {"device": "auto"}, {"device": "cuda"}, {"device": 0}, {"device": "cuda:0"}],
        [{}, {"dtype": "auto"}, {"dtype": "bfloat16"}, {"dtype": None, "revision": None}],
        [{"device": "cpu"}, {"device": "cpu", "dtype": "float32"}],
        [{"device": 1}, {"device": "cuda:1", "dtype": "bfloat16"}],
        [{"revision": 1234567}, {"revision": "1234567"}],
        [{"device_map": {"b": 1, "a": "cpu"}}, {"device_map": {"a": "cpu", "b": 1}}],
    ],
)
def test_the_same_arguments_in_other_words(two_gpus, ways):
    assert len({weights_key("a/b", way) for way in ways}) == 1


def test_other_arguments_are_other_weights(two_gpus):
    ways = [
        {},
        {"device": 1},
        {"device": "cpu"},
        {"dtype": "float16"},
        {"device_map": "auto"},
        {"device_map": {"": 1}},
        {"load_in_4bit": True},
        {"attn_implementation": "eager"},
    ]
    assert len({weights_key("a/b", way) for way in ways}) == len(ways)


def test_without_cuda_the_cpu_computes_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    key = weights_key("a/b", {})
    assert (key.device, key.dtype) == ("cpu", "float32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "int3"}, "-M dtype=int3 is not known"),
        ({"device": "gpu"}, "-M device=gpu is no device"),
        ({"device": True}, "-M device=True is no device"),
        ({"device": 7}, "there are 2 CUDA devices"),
        ({"device": 0, "device_map": "auto"}, "exclude each other"),
        ({"load_in_4bit": True, "load_in_8bit": True}, "exclude each other"),
        ({"load_in_4bit": "yes"}, "-M load_in_4bit=yes: true or false"),
        ({"trust_remote_code": 1}, "-M trust_remote_code=1: true or false"),
        ({"device_map": ["a"]}, "-M device_map"),
        ({"device_map": {"a": None}}, "-M device_map"),
        ({"attn_implementation": 2}, "-M attn_implementation=2"),
    ],
)
def test_a_senseless_argument_is_a_clear_error(two_gpus, arguments, message):
    with pytest.raises(UserError, match=message):
        weights_key("a/b", arguments)


def test_a_device_that_is_not_there_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="no CUDA device here"):
        weights_key("a/b", {"device": 0})


def test_relative_and_absolute_paths_share_one_load(loads, llava, adapter, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").symlink_to(llava)
    (tmp_path / "lora").symlink_to(adapter)
    ways = [
        ("./base", {"adapter": "./lora", "device": "cpu"}),
        (f"{tmp_path}/base/", {"adapter": f"{tmp_path}/lora", "device": "cpu", "dtype": "float32"}),
        ("base", {"device_map": {"": "cpu"}, "dtype": "float32"}),
    ]
    models = [get_model(f"hf-vlm/{name}", memoize=False, **given).api for name, given in ways]
    for model in models:
        model.load()
    assert len(loads) == 2  # the device map is another way of loading
    assert models[0]._replicas.vlms[0].engine is models[1]._replicas.vlms[0].engine
    assert models[0]._replicas.vlms[0].user.adapter == models[1]._replicas.vlms[0].user.adapter
    for model in models:
        model.close()


def test_an_absolute_path_is_found_behind_one_slash(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    typed = str(tmp_path)
    assert weights_key(typed.lstrip("/"), {}) == weights_key(typed, {})


@pytest.mark.parametrize("typed", ["/data/no/model", "data/no/model"])
def test_a_path_to_nothing_says_how_to_write_an_absolute_one(typed):
    with pytest.raises(UserError, match=r"no such folder .* hf-vlm//data/no/model"):
        weights_key(typed, {})
