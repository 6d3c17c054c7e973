"""Describes the machine, and reads its memory and time.

PYTHONPATH=tests python -m bench.gpu.machine
"""

import gc
import importlib.metadata
import platform
import time

import torch
from bench.gpu.scale import Scale, arguments

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.bfloat16 if DEVICE == "cuda" else torch.float32

PACKAGES = (
    *("torch", "torchvision", "transformers", "tokenizers", "accelerate", "peft", "trl"),
    *("liger-kernel", "flash-attn", "datasets", "inspect-ai", "vlmguard"),
)


def main() -> None:
    _, scale = arguments()
    check_device(scale)
    print(f"device: {device()}")
    print(f"Python {platform.python_version()}, CUDA {torch.version.cuda}")
    print(", ".join(f"{package} {version(package)}" for package in PACKAGES))


def device() -> str:
    """Name and memory of the device."""
    if DEVICE == "cpu":
        return f"CPU, {torch.get_num_threads()} threads"
    found = torch.cuda.get_device_properties(0)
    return f"{found.name}, {found.total_memory / 2**30:.1f} GiB"


def version(package: str) -> str:
    """Version of a package, or that it is absent."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def check_device(scale: Scale) -> None:
    """End the process if the scale needs a GPU and there is none."""
    if scale.needs_gpu and DEVICE == "cpu":
        raise SystemExit("No CUDA device here. --tiny tries the same code on a CPU.")


def start_peak() -> None:
    """Free unused memory, and measure the peak of memory from here."""
    gc.collect()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak() -> str:
    """The most memory of the device since `start_peak`, in GiB."""
    if DEVICE == "cpu":
        return "peak not measured on a CPU"
    allocated, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    return f"peak {allocated / 2**30:.1f} GiB ({reserved / 2**30:.1f} reserved)"


def held() -> str:
    """The device's memory in use now, in GiB."""
    if DEVICE == "cpu":
        return "memory not measured on a CPU"
    return f"{torch.cuda.memory_allocated() / 2**30:.1f} GiB held"


def now() -> float:
    """Seconds on a steady clock, after the device has finished all its work."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
