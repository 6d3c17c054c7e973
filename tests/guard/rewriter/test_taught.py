"""A trained rewriter is asked with the version of the prompt that its folder states."""

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import GenerateConfig, ModelAPI, ModelOutput, get_model, modelapi

from vlmguard.guard.errors import UserError
from vlmguard.guard.rewriter import Rewriter
from vlmguard.guard.rewriter.taught import read_statement, write_statement


@modelapi(name="kept-requests")
def kept_requests() -> Any:
    return KeptRequests


class KeptRequests(ModelAPI):
    """A provider that keeps its requests, for any model name."""

    def __init__(self, model_name: str, config: GenerateConfig, **rest: Any) -> None:
        super().__init__(model_name, config=config)

    async def generate(self, input: Any, *rest: Any) -> ModelOutput:
        raise AssertionError("no call is needed")


def test_a_folder_states_its_version(tmp_path: Path) -> None:
    assert read_statement(tmp_path) is None
    for version in (1, 2):
        write_statement(tmp_path, version)
        assert read_statement(tmp_path) == version
        rewriter = Rewriter(f"hf-vlm/{tmp_path}")
        assert (rewriter.prompt, rewriter.taught) == (version, version)
    assert Rewriter(f"hf-vlm/{tmp_path}", prompt=1).prompt == 1


def test_the_adapter_counts_and_not_its_base(tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    base.mkdir()
    adapter.mkdir()
    write_statement(base, 1)
    with_adapter = get_model(f"hf-vlm/{base}", adapter=str(adapter))
    assert Rewriter(with_adapter).taught is None
    assert Rewriter(with_adapter).prompt == 2
    assert Rewriter(get_model(f"hf-vlm/{base}")).prompt == 1


def test_what_has_no_folder_is_asked_with_the_latest() -> None:
    assert Rewriter("kept-requests/made-up").prompt == 2
    assert Rewriter("hf-vlm/made/up").prompt == 2


@pytest.mark.parametrize("said", ["{}", "[]", '{"prompt": 7}', '{"prompt": "2"}'])
def test_a_version_that_is_not_known_is_refused(tmp_path: Path, said: str) -> None:
    (tmp_path / "rewriter.json").write_text(said)
    with pytest.raises(UserError, match=r"rewriter\.json: prompt is .* 1, 2"):
        read_statement(tmp_path)


def test_shipped_rewriters_state_what_they_were_taught(repo: Path) -> None:
    for name in ("base", "rewriter"):
        folder = repo / "training" / "microworld" / "weights" / name
        assert json.loads((folder / "rewriter.json").read_text()) == {"prompt": 1}
        assert Rewriter(f"microworld/{name}").prompt == 1


async def test_an_answer_is_begun_where_the_provider_continues_one(tmp_path: Path) -> None:
    sent: list[list[str]] = []

    async def generate(input: Any, **rest: Any) -> ModelOutput:
        sent.append([turn.role for turn in input])
        return ModelOutput.from_content("x", "Harmless.</reasoning><prompt>Why not?</prompt>")

    for name, begun in ((f"hf-vlm/{tmp_path}", True), ("kept-requests/made-up", False)):
        rewriter = Rewriter(name)
        rewriter.model.generate = generate  # type: ignore[method-assign, assignment]
        rewrite = await rewriter.rewrite(None, "Why?")
        assert (sent[-1] == ["user", "assistant"]) == begun
        assert rewrite.rewritten == "Why not?"
        assert rewrite.reasoning == "Harmless."
    write_statement(tmp_path, 2)  # a trained rewriter knows the form
    trained = Rewriter(get_model(f"hf-vlm/{tmp_path}", memoize=False))
    trained.model.generate = generate  # type: ignore[method-assign, assignment]
    await trained.rewrite(None, "Why?")
    assert sent[-1] == ["user"]
