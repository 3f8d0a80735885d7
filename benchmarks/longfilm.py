"""Two hours of signatures of made thumbs, the film's and those of an edited version, and a solve of them on its own.

python benchmarks/longfilm.py FOLDER TR        # solves what make_long left in FOLDER; prints a line of JSON
"""

from __future__ import annotations

import json
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

from vsalign.signature import sign
from vsalign.sync import solve
from vsalign.thumb import SIGNATURE_BYTES, THUMB_HEIGHT, THUMB_WIDTH

Image = npt.NDArray[np.float32]

RATE = 24
LATE, CUT_AT, CUT_FRAMES = 50, 0.4, 180 * RATE
_GRAIN, _OTHER_GRAIN = 2.4, 3.6
_TEXTURE_HEIGHT, _TEXTURE_WIDTH = 500, 780


def make_long(folder: Path, num_frames: int) -> None:
    """ref.npy, clip.npy (signatures); facts.npz: ``shows`` (M,), each clip frame's ref frame, ``group`` as in truth.told."""
    shows = np.concatenate(
        [np.arange(LATE, int(num_frames * CUT_AT)), np.arange(int(num_frames * CUT_AT) + CUT_FRAMES, num_frames)]
    )
    ref = np.lib.format.open_memmap(folder / "ref.npy", "w+", np.uint8, (num_frames, SIGNATURE_BYTES))
    clip = np.lib.format.open_memmap(folder / "clip.npy", "w+", np.uint8, (len(shows), SIGNATURE_BYTES))
    random = np.random.default_rng(5)
    noise = random.standard_normal((THUMB_HEIGHT + 64, THUMB_WIDTH + 64)).astype(np.float32)
    group, at = np.zeros(num_frames, np.int64), np.full(num_frames, -1)
    at[shows] = np.arange(len(shows))

    def signed(picture: Image, sigma: float) -> npt.NDArray[np.uint8]:
        y, x = random.integers(0, 64, 2)
        grain = noise[y : y + THUMB_HEIGHT, x : x + THUMB_WIDTH] * np.float32(sigma)
        return sign(np.asarray(np.clip(np.rint(picture + grain), 0, 255), np.uint8)[None])[0]

    before: Image | None = None
    for n, (seen, other) in enumerate(walk(num_frames, random)):
        if before is not None:
            group[n] = group[n - 1] + (cv2.absdiff(seen, before).mean() >= TELLING)
        before = seen
        ref[n] = signed(seen, _GRAIN)
        if at[n] >= 0:
            clip[at[n]] = signed(other * np.float32(0.93) + 6, _OTHER_GRAIN)
    np.savez(folder / "facts.npz", shows=shows, group=group)


def walk(num_frames: int, random: np.random.Generator) -> Iterator[tuple[Image, Image]]:
    """(ref's, clip's) clean thumbs of scenes of 2 to 12 s: walks over textures, one in six back in the place of the last but
    one, one in ten standing still; the clip a thumb pixel aside."""
    places: list[Image] = []
    done = 0
    while done < num_frames:
        again = len(places) > 1 and random.random() < 1 / 6
        places = [*places[-1:], places[-2] if again else _texture(random)]
        length = min(int(RATE * random.uniform(2, 12)), num_frames - done)
        speed = 0.0 if random.random() < 0.1 else float(np.exp(random.uniform(np.log(0.18), np.log(2.5))))
        turn = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, 0.05, length))
        steps = speed * np.stack([np.cos(turn), np.sin(turn)], -1)
        where = np.array([_TEXTURE_WIDTH, _TEXTURE_HEIGHT]) / 2 + random.uniform(-70, 70, 2) + np.cumsum(steps, 0)
        for x, y in where:
            yield _seen(places[-1], x, y), _seen(places[-1], x + 1.0, y - 0.7)
        done += length


def _seen(texture: Image, x: float, y: float) -> Image:
    return np.asarray(cv2.getRectSubPix(texture, (THUMB_WIDTH, THUMB_HEIGHT), (float(x), float(y))))


def _texture(random: np.random.Generator) -> Image:
    height, width = _TEXTURE_HEIGHT, _TEXTURE_WIDTH
    total = np.zeros((height, width), np.float32)
    for cell in (3, 10, 30, 85, 210):
        noise = random.standard_normal((2 + height // cell, 2 + width // cell)).astype(np.float32)
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(cell**0.6)
    return np.asarray(random.uniform(80, 150) + np.float32(35) * total / total.std(), np.float32)


def solve_long(folder: Path, tr: int) -> dict[str, Any]:
    """Seconds, on the wall and of the CPU, and memory of one solve.

    ``peak_mb`` counts the mapped signatures, ``anonymous_mb`` only what the process holds, ``idle_mb`` that before the solve.
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
    started, cpu = time.perf_counter(), time.process_time()
    result = solve(clip, ref, np.arange(len(clip)) / RATE, seconds, tr)
    took, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
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
        "cpu_seconds": cpu_seconds,
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


if __name__ == "__main__":
    print(json.dumps(solve_long(Path(sys.argv[1]), int(sys.argv[2]))))
