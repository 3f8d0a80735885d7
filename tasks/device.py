"""Which device a worker computes on."""

from __future__ import annotations

import platform


def resolve_device(wanted: str) -> str:
    """ "cpu" or "cuda" for "auto", "cpu" or "cuda"; auto takes the GPU that the worker sees, if any.

    Raises RuntimeError when "cuda" is wanted and torch finds none.
    """
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise RuntimeError("torch finds no CUDA GPU here")
    return "cpu"


def device_name(uses_gpu: bool) -> str:
    """What this process computes on, as its maker names it: equal names are taken to be equally fast."""
    if uses_gpu:
        import torch

        if torch.cuda.is_available():
            return str(torch.cuda.get_device_name())
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
