"""Tests that need a carrier's own package, which the environment of the other tests lacks."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

# Set before LiteLLM is imported: it fetches its prices of models otherwise, three times in vain.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

HERE = Path(sys.prefix).name == "integrations"
"""Whether this is the environment of these tests, where none is skipped."""


def needs(package: str) -> None:
    """Skip the module if a package is missing, unless this is the environment for it.

    There, the test that imports it fails.
    """
    if find_spec(package) is None and not HERE:
        why = f"{package} is not installed here; `make test-integrations` runs these tests"
        pytest.skip(why, allow_module_level=True)
