"""Two hours of thumbs made in a few seconds, the film's and those of an edited version, and a solve of them on its own.

python benchmarks/longfilm.py FOLDER TR        # solves what make_long left in FOLDER; prints a line of JSON
"""

from __future__ import annotations

import inspect
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from truth import TELLING

from vsalign.sync import solve
from vsalign.thumb import THUMB_HEIGHT, THUMB_WIDTH

Image = npt.NDArray[np.float32]

RATE = 24
LATE, CUT_AT, CUT_FRAMES = 50, 0.4, 180 * RATE
_GRAIN, _OTHER_GRAIN = 1.2, 1.8


def make_long(folder: Path, num_frames: int) -> None:
    """ref.npy, clip.npy (thumbs); facts.npz: ``shows`` (M,), each clip frame's ref frame, and ``group`` as in truth.told."""
    shows = np.concatenate(
        [np.arange(LATE, int(num_frames * CUT_AT)), np.arange(int(num_frames * CUT_AT) + CUT_FRAMES, num_frames)]
    )
    shape = (THUMB_HEIGHT, THUMB_WIDTH)
    ref = np.lib.format.open_memmap(folder / "ref.npy", "w+", np.uint8, (num_frames, *shape))
    clip = np.lib.format.open_memmap(folder / "clip.npy", "w+", np.uint8, (len(shows), *shape))
    random = np.random.default_rng(5)
    noise = random.standard_normal((THUMB_HEIGHT + 64, THUMB_WIDTH + 64)).astype(np.float32)
    group, at = np.zeros(num_frames, np.int64), np.full(num_frames, -1)
    at[shows] = np.arange(len(shows))

    def grainy(picture: Image, sigma: float) -> npt.NDArray[np.uint8]:
        y, x = random.integers(0, 64, 2)
        grain = noise[y : y + THUMB_HEIGHT, x : x + THUMB_WIDTH] * np.float32(sigma)
        return np.asarray(np.clip(np.rint(picture + grain), 0, 255), np.uint8)

    before: Image | None = None
    for n, (seen, other) in enumerate(walk(num_frames, random)):
        if before is not None:
            group[n] = group[n - 1] + (cv2.absdiff(seen, before).mean() >= TELLING)
        before = seen
        ref[n] = grainy(seen, _GRAIN)
        if at[n] >= 0:
            clip[at[n]] = grainy(other * np.float32(0.93) + 6, _OTHER_GRAIN)
    np.savez(folder / "facts.npz", shows=shows, group=group)


def walk(num_frames: int, random: np.random.Generator) -> Iterator[tuple[Image, Image]]:
    """(ref's, clip's) clean thumbs of scenes of 2 to 12 s: walks over textures, one in six back in the place of the last but
    one, one in ten standing still; the clip a third of a thumb pixel aside."""
    places: list[Image] = []
    done = 0
    while done < num_frames:
        again = len(places) > 1 and random.random() < 1 / 6
        places = [*places[-1:], places[-2] if again else _texture(random)]
        length = min(int(RATE * random.uniform(2, 12)), num_frames - done)
        speed = 0.0 if random.random() < 0.1 else float(np.exp(random.uniform(np.log(0.05), np.log(0.7))))
        turn = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, 0.05, length))
        steps = speed * np.stack([np.cos(turn), np.sin(turn)], -1)
        where = np.array([110.0, 70.0]) + random.uniform(-20, 20, 2) + np.cumsum(steps, 0)
        for x, y in where:
            yield _seen(places[-1], x, y), _seen(places[-1], x + 0.3, y - 0.2)
        done += length


def _seen(texture: Image, x: float, y: float) -> Image:
    return np.asarray(cv2.getRectSubPix(texture, (THUMB_WIDTH, THUMB_HEIGHT), (float(x), float(y))))


def _texture(random: np.random.Generator) -> Image:
    total = np.zeros((140, 220), np.float32)
    for cell in (3, 8, 24, 60):
        noise = random.standard_normal((2 + 140 // cell, 2 + 220 // cell)).astype(np.float32)
        total += cv2.resize(noise, (220, 140), interpolation=cv2.INTER_CUBIC) * np.float32(cell**0.6)
    return random.uniform(80, 150) + np.float32(35) * total / total.std()


def solve_long(folder: Path, tr: int) -> dict[str, Any]:
    """Seconds (of the CPU where there is one core) and memory of one solve.

    ``peak_mb`` counts the mapped thumbs, ``anonymous_mb`` only what the process holds, ``idle_mb`` that before the solve.
    """
    clip, ref = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("clip", "ref"))
    small, seconds = np.arange(600), np.arange(len(ref)) / RATE
    solve(clip[small], ref[small], seconds[:600], seconds[:600], tr)  # compiles
    most = [_anonymous_mb()]
    idle_mb, done = most[0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            most[0] = max(most[0], _anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    clock = time.process_time if len(os.sched_getaffinity(0)) == 1 else time.perf_counter
    started = clock()
    result = solve(clip, ref, np.arange(len(clip)) / RATE, seconds, tr)
    took = clock() - started
    done.set()
    watcher.join()
    with np.load(folder / "facts.npz") as facts:
        shows, group = facts["shows"], facts["group"]
    match = result.frame_map.clip_frame
    present = np.isin(np.arange(len(ref)), shows)
    right = (match >= 0) & (group[shows[np.clip(match, 0, len(shows) - 1)]] == group)
    return {
        "frames": len(ref),
        "seconds": took,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "anonymous_mb": most[0],
        "idle_mb": idle_mb,
        "exact": float(right[present].mean()),
        "unmatched_right": float((match[~present] < 0).mean()),
        "score": float(result.score),
    }


def _anonymous_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def takes_device() -> bool:
    """Whether ``solve`` can be told to work on a GPU."""
    return "device" in inspect.signature(solve).parameters


if __name__ == "__main__":
    print(json.dumps(solve_long(Path(sys.argv[1]), int(sys.argv[2]))))
