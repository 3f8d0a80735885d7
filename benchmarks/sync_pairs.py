"""Sync on real pairs whose relation in time is known: two encodes of one film each, both ways.

    python benchmarks/sync_pairs.py [--only NAME ...] [--clips ../shared/clips] [--json FILE]

Two neighbouring frames tie where either film alone cannot tell them: their mean difference, in luma as coded, is below 0.15 of
255 in the ref or, between their counterparts, in the clip. A ref frame is observable when it has a counterpart and does not
tie with both neighbours (one it has not counts as tied); it is exact when its clip frame is the counterpart, or one that ties
with it from each frame to the next. Frames that miss are named with the clip frame found and the true one. "none": of the ref
frames without counterpart, how many were said to have none.

The bar: exact in 99 of 100 observable frames of every pair. Exit status 1 where it is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from film import CLIPS
from truth import TELLING, Doubles, Ints, run_sync, steps_of, told

LEAST_EXACT = 0.99
_LISTED = 40


@dataclass(frozen=True)
class Pair:
    """Clip frame = ref frame + ``offset``."""

    clip: str
    ref: str
    offset: int

    @property
    def name(self) -> str:
        return f"{Path(self.clip).stem} <- {Path(self.ref).stem}"


_ONE_WAY = (
    Pair("bbb_720p24_vp8.webm", "bbb_480p24_h264.mp4", -2),
    Pair("bbb_480p24_h264.mp4", "bbb_240p24_anamorphic.mp4", -1),
    Pair("bbb_wake_720p25_h264.mp4", "bbb_wake_720p25_mpeg4.mp4", 0),
    Pair("mdn_elf_h264.mp4", "mdn_elf_vp8.webm", 0),
    Pair("mdn_rabbit_720x480_h264.mp4", "mdn_rabbit_320x240_vp8.webm", 0),
)
PAIRS = tuple(pair for one in _ONE_WAY for pair in (one, Pair(one.ref, one.clip, -one.offset)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--keep", type=Path, help="nothing is made here; taken so that all sync benchmarks take it")
    parser.add_argument("--only", nargs="+", default=[], help="pairs whose names hold one of these")
    parser.add_argument("--tr", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not options.clips.is_dir():
        print(f"skipped: no real film clips in {options.clips}")
        return 0
    print(f"{'clip <- ref':56s}  frames  observable   exact    off       none  seconds", flush=True)
    rows, step = list[dict[str, Any]](), dict[str, Doubles]()
    with tempfile.TemporaryDirectory() as folder:
        for pair in PAIRS:
            if options.only and not any(part in pair.name for part in options.only):
                continue
            for name in (pair.clip, pair.ref):
                if name not in step:
                    step[name] = steps_of(options.clips / name)
            rows.append(one(pair, step[pair.clip], step[pair.ref], options, Path(folder)))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    missed, worst = sum(row["exact"] < LEAST_EXACT for row in rows), min((row["exact"] for row in rows), default=0.0)
    verdict = "pass" if rows and not missed else f"MISS in {missed}"
    print(f"exact >= {LEAST_EXACT} of the observable frames of every pair: {verdict}; worst {worst:.4f} of {len(rows)} pairs")
    return 0 if rows and not missed else 1


def one(pair: Pair, clip_step: Doubles, ref_step: Doubles, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run one pair, print its row and the frames that miss, give the row back."""
    answer = run_sync(options.clips / pair.clip, options.clips / pair.ref, len(ref_step) + 1, folder, options.tr)
    truth = np.arange(len(ref_step) + 1) + pair.offset
    present = (truth >= 0) & (truth <= len(clip_step))
    step = joint_step(ref_step, clip_step, pair.offset)
    observable = present & seen(step)
    right = is_right(answer.match, truth, told(step), pair.offset)
    wrong = np.flatnonzero(observable & ~right)
    exact = float(right[observable].mean())
    away = np.where(answer.match < 0, 60, np.minimum(np.abs(answer.match - truth), 60))[observable].mean()
    none = f"{int((answer.match[~present] < 0).sum())} of {int((~present).sum())}" if not present.all() else "-"
    numbers = f"{len(truth):6d}  {int(observable.sum()):10d}  {exact:6.4f}  {away:5.2f}  {none:>9s}  {answer.seconds:7.1f}"
    print(f"{pair.name:56s}  {numbers}  {answer.error or ('' if exact >= LEAST_EXACT else 'MISS')}".rstrip(), flush=True)
    if len(wrong):
        listed = ", ".join(f"{n}: {answer.match[n]} for {truth[n]}" for n in wrong[:_LISTED])
        more = f", and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
        print(f"    {listed}{more}", flush=True)
    return {
        "pair": pair.name,
        "frames": len(truth),
        "observable": int(observable.sum()),
        "exact": exact,
        "off": float(away),
        "none": none,
        "seconds": answer.seconds,
        "error": answer.error,
        "wrong": wrong.tolist(),
    }


def joint_step(ref_step: Doubles, clip_step: Doubles, offset: int) -> Doubles:
    """Difference of each ref frame from the next (N - 1,), the lesser of both films; 0 where the clip lacks one of the two."""
    at = np.arange(len(ref_step)) + offset
    there = (at >= 0) & (at < len(clip_step))
    return np.where(there, np.minimum(ref_step, clip_step[np.clip(at, 0, len(clip_step) - 1)]), 0.0)


def seen(step: Doubles) -> np.ndarray:
    """Frames (N,) that can be told from one neighbour at least."""
    apart = step >= TELLING
    return np.asarray(np.concatenate([[False], apart]) | np.concatenate([apart, [False]]))


def is_right(match: Ints, truth: Ints, group: Ints, offset: int) -> np.ndarray:
    """Whether the frame found is the true one or ties with it (N,)."""
    found = match - offset  # The ref frame whose counterpart was found.
    inside = (match >= 0) & (found >= 0) & (found < len(group))
    return np.asarray((match == truth) | (inside & (group[np.clip(found, 0, len(group) - 1)] == group)))


if __name__ == "__main__":
    sys.exit(main())
