"""What this machine can do, looked up rather than assumed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from orchestrator.sections import CODECS
from tasks.builds import encoder_version, ffmpeg_version, no_hardware_decoding, why_not
from tasks.encode import choose_pixel_format
from tasks.nvenc import is_hardware
from vsalign.errors import InputError


def findings() -> Iterator[tuple[str, str]]:
    """(name, finding) pairs, cheap ones first."""
    for package in ("vsalign", "av", "ray", "torch", "numpy", "vapoursynth", "vapoursynth-bestsource", "vapoursynth-lsmas"):
        yield package, _version(package)
    yield "cores", str(len(os.sched_getaffinity(0)))
    yield "disk here", f"{shutil.disk_usage(Path.cwd()).free / 1e9:.0f} GB free"
    yield "FFmpeg", ffmpeg_version()
    yield "encoders", ", ".join(_encoders())
    yield "NVENC", _nvenc()
    why = no_hardware_decoding()
    yield "NVDEC", f"not usable: {why}" if why else "usable"
    yield "GPUs", _gpus()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _encoders() -> Iterator[str]:
    """The software encoders that this FFmpeg has, with their libraries' versions where they tell them."""
    for codec in CODECS:
        if not is_hardware(codec):
            try:
                choose_pixel_format(codec, "yuv420p")
            except InputError:
                continue
            yield f"{codec} {encoder_version(codec)}".strip()


def _nvenc() -> str:
    why = {codec: why_not(codec) for codec in CODECS if is_hardware(codec)}
    usable = [codec for codec, reason in why.items() if not reason]
    if len(set(why.values())) == 1:
        return f"not usable: {next(iter(why.values()))}" if not usable else f"usable: {', '.join(usable)}"
    others = [f"{codec} not: {reason}" for codec, reason in why.items() if reason]
    return "; ".join([f"usable: {', '.join(usable)}", *others])


def _gpus() -> str:
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ", ".join(names) or "none that torch can use; everything runs on the CPU"
