"""The machine that figures were measured on, in words, and tables to put them in."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path

import torch


def described(device: torch.device) -> str:
    """Processor, cores, GPU if it is used, torch."""
    parts = [processor(), f"{len(os.sched_getaffinity(0))} cores"]
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        parts.append(f"{card.name} ({card.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda})")
    return ", ".join([*parts, f"torch {torch.__version__}"])


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def markdown(heads: Iterable[str]) -> str:
    """The first two lines of a table."""
    cells = list(heads)
    return "| " + " | ".join(cells) + " |\n" + "|---" * len(cells) + "|"
