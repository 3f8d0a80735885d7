"""Wide search against known homographies: other crops, rotation to 45 degrees, scale 0.4 to 2.5, shear, slight perspective.

    python benchmarks/wide_search.py [--seed 0] [--seed 1 ...] [--clips ../shared/clips] [--cases 40] [--engine homography]

Real frames are shown twice, through two homographies, once degraded; ``vsalign.estimate_warp(clip, ref, wide_search=True,
precision=3)`` is held against the truth. The error (EPE) is the mean distance, always in clip pixels, over the ref pixels
whose true position lies in the clip; at scale 2.5 a clip pixel is 0.4 ref pixels, and the clip shows nothing finer than the
ref, at 0.4 it is the other way round. Times are CPU seconds of one thread, of the search alone and of all. With
``--engine homography`` the error is that of the search alone.

The bar, per seed: below 0.5 px in 38 of 40 cases, the rest said to be not found; and of 40 pairs of unrelated frames every one
refused. Exit status 1 where it is missed. Nothing is tuned to a seed: run others.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from film import CLIPS, Image, as_batch, rgb_frames

import vsalign
from vsalign.wide import find_homography

Array = npt.NDArray[np.float64]
#: Clip pixel from ref pixel (NaN where not found), positions (H,W,2) in clip pixels.
Answer = tuple[Array, Image]

#: (scene, file, first frame, end): frames of one scene show the same place; those of different scenes nothing in common.
SHOTS = (
    ("opening", "bbb_720p24_vp8.webm", 60, 283),
    ("burrow", "bbb_720p24_vp8.webm", 283, 376),
    ("meadow", "bbb_720p24_vp8.webm", 376, 551),
    ("stretch", "bbb_720p24_vp8.webm", 551, 720),
    ("wake", "bbb_wake_720p25_h264.mp4", 0, 210),
    ("morning", "bbb_wake_720p25_h264.mp4", 210, 324),
    ("juggle", "sam2_juggle_720p24.mp4", 0, 247),
    ("rabbit", "mdn_rabbit_720x480_h264.mp4", 0, 234),
    ("elf", "mdn_elf_h264.mp4", 0, 241),
    ("chaplin", "chaplin_360p25.mp4", 0, 241),
    ("nasa", "nasa_13013_two_streams.mp4", 205, 325),
)
WIDE, NARROW = (352, 640), (360, 480)
LOOKS = ("dvd", "grade")
LARGEST_ERROR_PX, LEAST_FOUND_SHARE = 0.5, 38 / 40
_MARGIN = 8


@dataclass(frozen=True)
class Case:
    """One pair with its truth ``clip_from_ref`` (3,3); ``overlap`` (H,W) bool: ref pixels that both show."""

    name: str
    clip: Image
    ref: Image
    clip_from_ref: Array
    overlap: npt.NDArray[np.bool_]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--engine", choices=("whole", "homography"), default="whole")
    options = parser.parse_args()
    if not options.clips.is_dir():
        print(f"skipped: no real film clips in {options.clips}")
        return 0
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    engine = whole if options.engine == "whole" else homography_only
    passed = [run(options.clips, seed, options.cases, engine) for seed in options.seed or [0]]
    return 0 if all(passed) else 1


def run(folder: Path, seed: int, count: int, engine: Callable[[Image, Image], Answer]) -> bool:
    """Both tables of one seed; True when the bar is met."""
    print(f"seed {seed}")
    print(f"  case  {'scene':8s} {'look':5s} {'kind':9s} scale  turn  shear  overlap  inliers  EPE px  search    all s")
    good = wrong = 0
    searching, all_of_it = [], []
    for number, case in enumerate(cases(folder, seed, count)):
        match, seconds = timed(lambda c=case: find_homography(luma(c.clip), luma(c.ref), None))
        searching.append(seconds)
        (homography, positions), seconds = timed(lambda c=case: engine(c.clip, c.ref))
        all_of_it.append(seconds)
        error = mean_error(positions, case)
        found, exact = bool(np.isfinite(homography).all()), error < LARGEST_ERROR_PX
        good, wrong = good + (found and exact), wrong + (found and not exact)
        verdict = "not found" if not found else "" if exact else "WRONG"
        inliers, times = match.num_inliers if match else 0, f"{searching[-1]:6.2f}  {all_of_it[-1]:5.2f}"
        print(
            f"  {number:4d}  {case.name}  {case.overlap.mean():7.2f}  {inliers:7d}  {error:6.3f}  {times}  {verdict}",
            flush=True,
        )
    refused = sum(refuses(clip, ref) for clip, ref in unrelated(folder, seed, count))
    print(
        f"seed {seed}: {good} of {count} below {LARGEST_ERROR_PX} px, {count - good - wrong} not found, {wrong} wrong; ", end=""
    )
    print(
        f"unrelated pairs refused: {refused} of {count}; median s {np.median(searching):.2f} {np.median(all_of_it):.2f}",
        flush=True,
    )
    return good >= LEAST_FOUND_SHARE * count and not wrong and refused == count


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    """What ``act`` gives, and the CPU seconds it took."""
    start = time.process_time()
    return act(), time.process_time() - start


def whole(clip: Image, ref: Image) -> Answer:
    """The finished warp."""
    warp = vsalign.estimate_warp(as_batch(clip), as_batch(ref), wide_search=True, precision=3)
    assert warp.homography is not None
    return warp.homography[0].numpy(), warp.clip_from_ref[0].permute(1, 2, 0).numpy()


def homography_only(clip: Image, ref: Image) -> Answer:
    """What the wide search says before anything refines it."""
    match = find_homography(luma(clip), luma(ref), None)
    matrix = match.clip_from_ref if match else np.full((3, 3), np.nan)
    return matrix, moved(matrix, grid(ref.shape[:2])).astype(np.float32)


def mean_error(positions: Image, case: Case) -> float:
    truth = moved(case.clip_from_ref, grid(case.ref.shape[:2]))
    return float(np.linalg.norm(positions - truth, axis=-1)[case.overlap].mean())


def refuses(clip: Image, ref: Image) -> bool:
    return find_homography(luma(clip), luma(ref), None) is None


def cases(folder: Path, seed: int, count: int) -> Iterator[Case]:
    """Four of five are wide pictures under any homography; the others 4:3 crops of 16:9 and the reverse, hardly turned."""
    for number in range(count):
        random = np.random.default_rng([seed, number])
        scene, file, start, end = SHOTS[number % len(SHOTS)]
        source = read_frame(folder / file, int(random.integers(start, end)))
        kind = ("4:3->16:9", "16:9->4:3")[number // 5 % 2] if number % 5 == 4 else "16:9"
        sizes = {"16:9": (WIDE, WIDE), "4:3->16:9": (NARROW, WIDE), "16:9->4:3": (WIDE, NARROW)}[kind]
        scale, turn = float(0.4 * 6.25 ** random.random()), float(random.uniform(-45, 45) * (1 if kind == "16:9" else 0.1))
        shear, look = float(random.uniform(-0.2, 0.2)), LOOKS[number // len(SHOTS) % 2] if number % 3 else LOOKS[number % 2]
        matrix = random_homography(random, sizes, scale, turn, shear)
        name = f"{scene:8s} {look:5s} {kind:9s} {scale:5.2f}  {turn:4.0f}  {shear:5.2f}"
        yield make_case(name, source, sizes, matrix, scale, look, random)


def random_homography(
    random: np.random.Generator, sizes: tuple[tuple[int, int], ...], scale: float, turn: float, shear: float
) -> Array:
    """Clip pixel from ref pixel: about the centres, w varies by a twentieth across the ref, the shift by a quarter."""
    (clip_h, clip_w), (ref_h, ref_w) = sizes
    angle = np.deg2rad(turn)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * turned @ np.array([[1, shear], [0, 1]])
    smaller = np.minimum([clip_w, clip_h], [ref_w * scale, ref_h * scale])
    shift = random.uniform(-0.25, 0.25, 2) * smaller
    middle = np.eye(3)
    middle[:2, :2], middle[:2, 2] = linear, shift
    middle[2, :2] = random.uniform(-0.05, 0.05, 2) / [ref_w, ref_h]
    matrix = translation((clip_w - 1) / 2, (clip_h - 1) / 2) @ middle @ translation(-(ref_w - 1) / 2, -(ref_h - 1) / 2)
    return np.asarray(matrix / matrix[2, 2])


def make_case(
    name: str,
    source: Image,
    sizes: tuple[tuple[int, int], ...],
    matrix: Array,
    scale: float,
    look: str,
    random: np.random.Generator,
) -> Case:
    """Whichever of the two shows more of the scene shows all of the source; black where there is none."""
    clip_size, ref_size = sizes
    if scale > 1:
        source_from_ref = fitted(ref_size, source.shape[:2])
        source_from_clip = source_from_ref @ np.linalg.inv(matrix)
    else:
        source_from_clip = fitted(clip_size, source.shape[:2])
        source_from_ref = source_from_clip @ matrix
    clip = degraded(rendered(source, source_from_clip, clip_size), look, random)
    ref = rendered(source, source_from_ref, ref_size)
    points = grid(ref_size)
    in_clip, in_source = moved(matrix, points), moved(source_from_ref, points)
    overlap = inside(in_clip, clip_size) & inside(in_source, source.shape[:2]) & inside(points, ref_size)
    return Case(name, clip, ref, matrix, overlap)


def unrelated(folder: Path, seed: int, count: int) -> Iterator[tuple[Image, Image]]:
    """Pairs of frames of different scenes, the first with a look."""
    for number in range(count):
        random = np.random.default_rng([seed, number, 1])
        first, second = random.choice(len(SHOTS), 2, replace=False)
        pictures = []
        for _, file, start, end in (SHOTS[first], SHOTS[second]):
            source = read_frame(folder / file, int(random.integers(start, end)))
            pictures.append(rendered(source, fitted(WIDE, source.shape[:2]), WIDE))
        yield degraded(pictures[0], LOOKS[number % 2], random), pictures[1]


@cache
def read_frame(path: Path, index: int) -> Image:
    return rgb_frames(path, index, 1)[0]


def degraded(image: Image, look: str, random: np.random.Generator) -> Image:
    """dvd: three fifths of the resolution, other gains, coarse JPEG. grade: darker, half the colour, tinted, noisy."""
    h, w = image.shape[:2]
    if look == "dvd":
        small = cv2.resize(image, (w * 3 // 5, h * 3 // 5), interpolation=cv2.INTER_AREA)
        tinted = cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC) * np.float32([1.05, 1, 0.95]) + np.float32(0.01)
        coded = cv2.imencode(".jpg", (tinted.clip(0, 1) * 255).round().astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
        return cv2.imdecode(coded, cv2.IMREAD_COLOR).astype(np.float32) / 255
    dark = image.clip(0, 1) ** 1.5
    gray = dark.mean(-1, keepdims=True)
    tinted = ((dark + gray) / 2) * np.float32([1.15, 1, 0.8]) + np.float32([0.03, 0.02, 0.06])
    return (tinted + random.normal(0, 0.02, image.shape).astype(np.float32)).clip(0, 1)


def rendered(source: Image, source_from_picture: Array, size: tuple[int, int]) -> Image:
    """``source`` seen through a homography, each pixel the mean of enough samples that nothing aliases."""
    h, w = size
    corner = np.linalg.norm(source_from_picture[:2, :2] / source_from_picture[2, 2], axis=0).max()
    fold = max(2, int(np.ceil(2 * corner)))
    fine = source_from_picture @ np.array([[1 / fold, 0, 0.5 / fold - 0.5], [0, 1 / fold, 0.5 / fold - 0.5], [0, 0, 1]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.resize(
        cv2.warpPerspective(source, fine, (w * fold, h * fold), flags=flags), (w, h), interpolation=cv2.INTER_AREA
    ).clip(0, 1)


def fitted(size: tuple[int, int], source_size: tuple[int, ...]) -> Array:
    """Source pixel from picture pixel: the picture fills as much of the source as its aspect allows, about the centre."""
    (h, w), (source_h, source_w) = size, source_size
    scale = min(source_h / h, source_w / w)
    return (
        translation((source_w - 1) / 2, (source_h - 1) / 2)
        @ np.diag([scale, scale, 1])
        @ translation(-(w - 1) / 2, -(h - 1) / 2)
    )


def translation(x: float, y: float) -> Array:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], float)


def grid(size: tuple[int, ...]) -> Array:
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    return np.stack([x, y], -1).astype(float)


def moved(matrix: Array, points: Array) -> Array:
    mapped = np.concatenate([points, np.ones_like(points[..., :1])], -1) @ matrix.T
    return np.asarray(mapped[..., :2] / mapped[..., 2:])


def inside(points: Array, size: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    low, high = _MARGIN, np.array([size[1] - 1 - _MARGIN, size[0] - 1 - _MARGIN])
    return np.asarray(((points >= low) & (points <= high)).all(-1))


def luma(image: Image) -> torch.Tensor:
    """(1,1,h,w)"""
    return torch.from_numpy(image @ np.float32([0.299, 0.587, 0.114]))[None, None]


if __name__ == "__main__":
    sys.exit(main())
