"""A small folder for each benchmark that has files, for tests of what all of them do alike."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from support.benchmark_folders.holisafe import write_holisafe
from support.benchmark_folders.jailbreakv import write_jailbreakv
from support.benchmark_folders.mis import write_mis
from support.benchmark_folders.mme import write_mme_parquet
from support.benchmark_folders.mmstar import write_mmstar
from support.benchmark_folders.mossbench import write_mossbench
from support.benchmark_folders.mssbench import write_mssbench
from support.benchmark_folders.msts import write_msts
from support.benchmark_folders.pope import write_pope
from support.benchmark_folders.presets import write_preset
from support.benchmark_folders.scienceqa import write_scienceqa
from support.benchmark_folders.spa_vl import write_spa_vl
from support.benchmark_folders.vlsbench import write_vlsbench
from support.folders import write_figstep, write_mm_safetybench, write_vlguard
from support.siuo_folder import write_siuo

from vlmguard.tasks.any_set.cards import PRESETS

Writer = Callable[[Path], Path]

EVERY: dict[str, tuple[Writer, dict[str, Any]]] = {
    "figstep": (write_figstep, {"split": "tiny"}),
    "holisafe": (write_holisafe, {}),
    "jailbreakv": (lambda root: write_jailbreakv(root, 4), {"missing_images": "refuse"}),
    "mis": (lambda root: write_mis(root, 1), {}),
    "mm_safetybench": (
        lambda root: write_mm_safetybench(root, 1, ("SD", "TYPO", "SD_TYPO")),
        {},
    ),
    "mme": (write_mme_parquet, {}),
    "mmstar": (write_mmstar, {}),
    "mossbench": (write_mossbench, {}),
    "mssbench": (write_mssbench, {}),
    "msts": (write_msts, {}),
    "pope": (write_pope, {}),
    "scienceqa": (write_scienceqa, {}),
    "siuo": (lambda root: write_siuo(root, 2), {}),
    "spa_vl": (write_spa_vl, {}),
    "vlguard": (lambda root: write_vlguard(root, unsafe=1, safe=1), {}),
    "vlsbench": (write_vlsbench, {}),
    **{name: (partial(write_preset, name), {}) for name in PRESETS},
}
"""By name of the card: writes a folder, and the task's arguments with which it runs on that."""
