"""What a GPU must do before its speed counts: give the CPU's warps. And where its time goes.

    python benchmarks/gpu.py [--folder FOLDER] [--clips ../shared/clips]

``bash benchmarks/gpu.sh`` runs this and then the speed tables. Checked for every precision, on frames that differ: a batch's
warps are those of single pairs (within 0.01 px), those of the GPU are the CPU's (0.02 px), and so are warps settled over a
window. The figure is the largest distance over all pixels. Without a GPU the first of these runs on the CPU and the rest is
said to be missing. Then a profile of eight frames of 1440x1080 at precision 3, the 15 dearest kernels. Exit status 1 where a
check fails.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import torch
from film import CLIPS, as_batch
from machine import described, markdown
from pairs import SIZES, frames_of
from torch import Tensor

import vsalign
from vsalign.settings import PRECISIONS, SpatialSettings
from vsalign.steady import observe_all, settle
from vsalign.warp import apply_warp

LARGEST_BATCH_PX, LARGEST_DEVICE_PX = 0.01, 0.02
_FRAMES, _PROFILED = 4, 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--folder", type=Path, help="where the profile goes besides the screen")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{described(device)}\n")
    clips, refs = (torch.cat([as_batch(f) for f in films[::4]]) for films in frames_of(options.clips, SIZES["720x480"]))
    good = batch_is_single(clips, refs, device)
    if device.type == "cpu":
        print("\nno GPU here: torch sees no CUDA device. Not checked: its warps against the CPU's; not measured: its speed.")
        return 0 if good else 1
    good &= gpu_is_cpu(clips, refs, device)
    table = profile(options.clips, device)
    print(table)
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
        (options.folder / "profile.txt").write_text(table)
    return 0 if good else 1


def batch_is_single(clips: Tensor, refs: Tensor, device: torch.device) -> bool:
    print(f"warps of a batch of {_FRAMES} on {device.type} against those of single pairs, largest distance:\n")
    print(markdown(["precision", "px", ""]))
    good = True
    for precision in PRECISIONS:
        together = vsalign.estimate_warp(clips.to(device), refs.to(device), precision=precision).clip_from_ref
        alone = [
            vsalign.estimate_warp(clips[i : i + 1].to(device), refs[i : i + 1].to(device), precision=precision).clip_from_ref
            for i in range(len(refs))
        ]
        good &= said(precision, together, torch.cat(alone), LARGEST_BATCH_PX)
    return good


def gpu_is_cpu(clips: Tensor, refs: Tensor, device: torch.device) -> bool:
    print("\nwarps of the GPU against the CPU's, single pairs, then settled over all of them, largest distance:\n")
    print(markdown(["precision", "px", ""]))
    good = True
    for precision in PRECISIONS:
        settings = SpatialSettings(precision=precision)
        here = observe_all(clips, refs, settings)
        there = observe_all(clips.to(device), refs.to(device), settings)
        for window in (1, _FRAMES):
            ours, theirs = (
                torch.cat(
                    [settle(seen[max(0, i - window + 1) : i + 1], at=min(i, window - 1)).clip_from_ref for i in range(_FRAMES)]
                )
                for seen in (here, there)
            )
            good &= said(precision, theirs, ours, LARGEST_DEVICE_PX)
    return good


def said(precision: int, ours: Tensor, others: Tensor, most: float) -> bool:
    """One row: the largest distance between two warps (B,2,H,W); True when it is at most ``most``."""
    distance = float((ours.cpu() - others.cpu()).square().sum(1).sqrt().max())
    good = distance <= most
    print(f"| {precision} | {distance:.5f} | {'pass' if good else f'MISSED {most}'} |", flush=True)
    return good


def profile(folder: Path, device: torch.device) -> str:
    """Peak memory and the dearest kernels of estimating and applying the warps of a batch."""
    films = frames_of(folder, SIZES["1440x1080"])
    clips, refs = (torch.cat([as_batch(f) for f in film[:_PROFILED]]).to(device) for film in films)

    def once() -> None:
        apply_warp(clips, vsalign.estimate_warp(clips, refs, precision=3))
        torch.cuda.synchronize()

    once()
    torch.cuda.reset_peak_memory_stats()
    kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds) as seen:
        once()
    peak = torch.cuda.max_memory_allocated() / 2**20
    head = f"\n{_PROFILED} frames of 1440x1080 in one batch at precision 3: peak {peak:.0f} MB; the 15 dearest kernels:\n"
    return head + str(seen.key_averages().table(sort_by="self_cuda_time_total", row_limit=15, max_name_column_width=60))


if __name__ == "__main__":
    sys.exit(main())
