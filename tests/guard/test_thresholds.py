"""The safety grade from which an answer counts as safe is written once."""

import ast
import inspect

from vlmguard.guard.thresholds import SAFE_FROM
from vlmguard.scorers.judge import judge
from vlmguard.tasks.microworld import microworld, oracle
from vlmguard.training.finetune.config import TrainConfig

FOLDERS = ("guard", "tasks", "solvers", "scorers", "training", "results")


def test_every_option_has_it_as_its_default():
    for function in (judge, microworld, oracle):
        assert inspect.signature(function).parameters["threshold"].default == SAFE_FROM
    assert TrainConfig(data="rows", output_dir="out").threshold == SAFE_FROM


def test_no_other_file_writes_the_number_down(repo):
    files = [file for folder in FOLDERS for file in (repo / folder).rglob("*.py")]
    holding = [
        str(file.relative_to(repo))
        for file in files
        if any(
            isinstance(node, ast.Constant) and type(node.value) is float and node.value == SAFE_FROM
            for node in ast.walk(ast.parse(file.read_text()))
        )
    ]
    assert holding == ["guard/thresholds.py"]
