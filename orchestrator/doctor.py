"""What this machine can do, looked up rather than assumed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from orchestrator.sections import CODECS
from tasks.encode import choose_pixel_format
from vsalign.errors import InputError


def findings() -> Iterator[tuple[str, str]]:
    """(name, finding) pairs, cheap ones first."""
    for package in ("vsalign", "av", "ray", "torch", "numpy", "vapoursynth", "vapoursynth-bestsource", "vapoursynth-lsmas"):
        yield package, _version(package)
    yield "cores", str(len(os.sched_getaffinity(0)))
    yield "disk here", f"{shutil.disk_usage(Path.cwd()).free / 1e9:.0f} GB free"
    yield "encoders", ", ".join(codec for codec in CODECS if _has_encoder(codec))
    yield "GPUs", _gpus()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _has_encoder(codec: str) -> bool:
    try:
        choose_pixel_format(codec, "yuv420p")
    except InputError:
        return False
    return True


def _gpus() -> str:
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ", ".join(names) or "none that torch can use; everything runs on the CPU"
