"""Images pass the vision tower once; no features of another image or adapter are used."""

import gc
import weakref

import pytest
import torch
from inspect_ai.model import GenerateConfig
from support.adapters import answers, make_adapter
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.image_features import ImageFeatures
from vlmguard.guard.hf_vlm.prepared import Prepared, digest_of
from vlmguard.guard.hf_vlm.vlm import MEBIBYTE

SHORT = GenerateConfig(max_tokens=3)


@pytest.fixture
def patches():
    """Count the inputs of a model's vision tower: Qwen2-VL's patches, LLaVA's images."""

    def watch(model):
        inner = model.api._replicas.vlms[0].engine.weights.model.base_model
        tower = inner.visual if "visual" in dict(inner.named_children()) else inner.vision_tower
        seen = []
        tower.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[0]))
        return seen

    return watch


@pytest.mark.parametrize(("name", "once"), [("qwen", 16), ("llava", 1)])
async def test_sentences_of_five_candidates_read_an_image_once(
    name, once, request, load, ask, patches
):
    """The requests of `eta`: a longer answer each time, with five continuations."""
    model = load(request.getfixturevalue(name))
    seen = patches(model)
    text = "As an AI"
    for _ in range(3):
        config = GenerateConfig(max_tokens=4, num_choices=5, temperature=1.5, seed=1)
        output = await model.generate(ask(prefix=text), config=config)
        text += f" {output.choices[0].message.text}"
    assert sum(seen) == once


async def test_the_image_counts_not_where_it_came_from(llava, load, ask, patches):
    model = load(llava)
    seen = patches(model)
    for images in ([0], [1], [0, 1], [1, 0], [0], [1, 0]):
        await model.generate(ask(images=images), config=SHORT)
    assert sum(seen) == 6  # 0, 1, and the two pairs: the images of a request are one entry


async def test_nothing_is_kept_where_nothing_may_be(llava, load, ask, patches):
    model = load(llava, image_cache_mib=0)
    seen = patches(model)
    for _ in range(2):
        await model.generate(ask(images=[0]), config=SHORT)
    assert sum(seen) == 2


def test_the_size_is_a_whole_number(load, llava):
    with pytest.raises(UserError, match=r"-M image_cache_mib=-1"):
        load(llava, image_cache_mib=-1)


async def test_an_adapter_of_the_tower_has_features_of_its_own(llava, load, ask, tmp_path):
    """Switching between the base and two adapters does not change their answers."""
    paths = [
        make_adapter(llava, tmp_path / str(seed), seed, ("fc1", "fc2", "linear_1"))
        for seed in (1, 2)
    ]
    models = [load(llava), *(load(llava, adapter=str(path)) for path in paths)]
    assert len({id(model.api._replicas.vlms[0].engine) for model in models}) == 1
    for model in models:
        await answers(model, ask)
    models[0].api._replicas.vlms[0].engine.features.clear()
    alone = []
    for model in models:
        model.api._replicas.vlms[0].engine.features.clear()
        alone.append(await answers(model, ask))
    assert len({str(each) for each in alone}) == 3
    for index in (0, 1, 2, 0, 2, 1, 0):
        assert await answers(models[index], ask) == alone[index]


async def test_other_settings_of_the_processor_are_other_images(qwen, load, ask, patches):
    small, large = load(qwen, max_pixels=56 * 56), load(qwen, max_pixels=112 * 112)
    seen = patches(small)
    for model in (small, large, small, large):
        await model.generate(ask(size=(112, 112)), config=SHORT)
    assert sum(seen) == 16 + 64


async def test_features_go_with_the_weights(llava, load, ask):
    model = load(llava)
    await model.generate(ask(), config=SHORT)
    features = model.api._replicas.vlms[0].engine.features
    [entry] = features._entries.values()
    kept = weakref.ref(entry.pooled[0])
    del entry
    engine = model.api._replicas.vlms[0].engine
    model.api.close()
    engine.batcher.join(30)
    gc.collect()
    assert kept() is None


async def test_memory_that_runs_out_takes_features_along(llava, load, ask, monkeypatch):
    model = load(llava)
    await model.generate(ask(), config=SHORT)
    features = model.api._replicas.vlms[0].engine.features
    assert features._entries

    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr("vlmguard.guard.hf_vlm.engine.generate_batch", full)
    with pytest.raises(RuntimeError, match="Out of memory for a single request"):
        await model.generate(ask(), config=SHORT)
    assert not features._entries


class Tower:
    """A model whose features are 4 bytes for each pixel, and that counts images."""

    dtype = torch.float32
    device = torch.device("cpu")

    def __init__(self):
        self.base_model = self
        self.images = 0

    def get_image_features(self, pixel_values, return_dict=True):
        self.images += len(pixel_values)
        return BaseModelOutputWithPooling(pooler_output=pixel_values.clone())


class DeepTower(Tower):
    """As Qwen3-VL: a list by image, and features of all images together for two later layers."""

    def get_image_features(self, pixel_values, return_dict=True):
        self.images += len(pixel_values)
        return BaseModelOutputWithDeepstackFeatures(
            pooler_output=list(pixel_values),
            deepstack_features=[pixel_values + 10, pixel_values + 20],
        )


def prepared(value, pixels=MEBIBYTE // 4):
    inputs = {"input_ids": torch.zeros(1, 3), "pixel_values": torch.full((1, pixels), value)}
    return Prepared("", [], inputs, [], False, digest_of(inputs))


def test_the_least_recently_used_goes_first():
    tower, features = Tower(), ImageFeatures(2)
    one, two, three = (prepared(float(value)) for value in range(3))
    for request in (one, two, one, three):
        features.of(tower, None, [request])
    assert tower.images == 3
    features.of(tower, None, [one])
    assert tower.images == 3
    features.of(tower, None, [two])
    assert tower.images == 4


def test_what_does_not_fit_at_all_throws_nothing_else_out():
    tower, features = Tower(), ImageFeatures(1)
    one, huge = prepared(1.0), prepared(2.0, MEBIBYTE)
    for request in (one, huge, one):
        features.of(tower, None, [request])
    assert tower.images == 2


def test_images_of_one_size_share_a_pass_and_keep_their_order():
    tower, features = Tower(), ImageFeatures(4)
    values = [3.0, 1.0, 2.0, 1.0]
    output = features.of(tower, None, [prepared(value, 8) for value in values])
    assert output.pooler_output[:, 0].tolist() == values
    assert tower.images == 3


def test_features_for_later_layers_are_kept_by_layer():
    tower, features = DeepTower(), ImageFeatures(4)
    features.of(tower, None, [prepared(1.0, 8), prepared(2.0, 8)])
    output = features.of(tower, None, [prepared(value, 8) for value in (2.0, 3.0, 1.0)])
    assert tower.images == 3
    assert [int(each[0]) for each in output.pooler_output] == [2, 3, 1]
    deep = [[int(row[0]) for row in layer] for layer in output.deepstack_features]
    assert deep == [[12, 13, 11], [22, 23, 21]]
