"""Loaded by Inspect at start-up through the `inspect_ai` entry point.

This module and `cli` join the parts, the microworld included; guard/, solvers/ and scorers/ do not
know it.

Importing this module registers every task, solver, scorer and model API of the package. Each
`inspect` process imports it, so it may not import torch.
"""

from vlmguard import scorers, solvers, tasks
from vlmguard.guard import hf_vlm
from vlmguard.training import adashield_pool, synthesize
from vlmguard.training.microworld.models import api as microworld

__all__ = [
    "adashield_pool",
    "hf_vlm",
    "microworld",
    "scorers",
    "solvers",
    "synthesize",
    "tasks",
]
