"""Reads blocks of YAML as the programs do for which they are written."""

import ast
from pathlib import Path

import yaml
from support.documents import REPO

from vlmguard.guard.guard_models.formats import guard_format
from vlmguard.results.run.chosen import read_config_for
from vlmguard.tasks.any_set.preset import read_preset


def beside_a_suite(file: Path) -> None:
    """What `vlmguard run --suite NAME --config FILE` takes."""
    read_config_for("core", file, ["mockllm/model"], ["none"], ["grader=mockllm/judge"])


def as_preset(file: Path) -> None:
    """A preset of `vlm_safety`; the page shows all keys, of which `parts` is instead of `file`."""
    whole = yaml.safe_load(file.read_text())
    for left_out in ("parts", "file"):
        kept = {key: value for key, value in whole.items() if key != left_out}
        file.write_text(yaml.safe_dump(kept))
        read_preset(file)


def as_policy(file: Path) -> None:
    """The option `policy` of the format `custom`."""
    guard_format("custom", {"policy": str(file)})


def as_guardrails(file: Path) -> None:
    """LiteLLM's guardrails; the gateway itself reads them in `tests/integrations`.

    Of ours, in the gateway's process, the options are those of the class.
    """
    (guardrail,) = yaml.safe_load(file.read_text())["guardrails"]
    given = guardrail["litellm_params"]
    if given["guardrail"] == "generic_guardrail_api":
        assert given.keys() == {"guardrail", "mode", "api_base", "default_on"}
        return
    module, _, name = given["guardrail"].rpartition(".")
    source = (REPO / "src" / f"{module.replace('.', '/')}.py").read_text()
    (defined,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    (made,) = (
        node
        for node in defined.body
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    taken = {each.arg for each in (*made.args.args, *made.args.kwonlyargs)}
    assert given.keys() - {"guardrail", "mode"} <= taken, given.keys() - taken
