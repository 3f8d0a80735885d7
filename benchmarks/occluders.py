"""How much do a logo or a hard subtitle on one side disturb the picture around them?

    python benchmarks/occluders.py [--clips ../shared/clips] [--precision 3]

Real frames under a known smooth map, clean or worn like a DVD or under grain. Then one side gets two lines of white lettering
with a black edge, or a coloured logo. The error (mean distance from the truth, clip pixels) is taken over the band of 60 px
around the occluder's box and divided by that of the pair without it: without a mask, and with one over the occluder.

The bar: 1.3 times without a mask, 1.1 times with one, over all cases. Exit status 1 where it is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from film import CLIPS, Image, as_batch, filling, rgb_frames
from steadiness import SHOTS, SIZE, inside, inverse, moved, random_bend, worn

from vsalign import estimate_warp

Mask = npt.NDArray[np.bool_]
Occlude = Callable[[Image, int], tuple[Image, Mask]]

LOOKS = ("clean", "dvd", "grain")
BAND_PX = 60
LARGEST_PLAIN, LARGEST_MASKED = 1.3, 1.1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--precision", type=int, default=3)
    options = parser.parse_args()
    if not options.clips.is_dir():
        print(f"skipped: no real film clips in {options.clips}")
        return 0
    torch.set_num_threads(1)
    print("| look | occluder | on | error without, px | no mask | mask |\n|---|---|---|---|---|---|")
    means = []
    for look in LOOKS:
        for name, occlude in (("subtitle", subtitle), ("logo", logo)):
            for side in ("clip", "ref"):
                cases = [errors(options, number, look, occlude, side) for number in range(len(SHOTS))]
                clean, plain, masked = np.mean(cases, 0)
                means.append((clean, plain, masked))
                print(
                    f"| {look} | {name} | {side} | {clean:.3f} | x {plain / clean:.2f} | x {masked / clean:.2f} |", flush=True
                )
    clean, plain, masked = np.mean(means, 0)
    good = plain <= LARGEST_PLAIN * clean and masked <= LARGEST_MASKED * clean
    print(f"| all | | | {clean:.3f} | x {plain / clean:.2f} | x {masked / clean:.2f} |\n\n{'pass' if good else 'MISSED'}")
    return 0 if good else 1


def errors(options: argparse.Namespace, number: int, look: str, occlude: Occlude, side: str) -> tuple[float, float, float]:
    """Mean error around the occluder: without it, with it, with it under a mask."""
    _, file, first = SHOTS[number]
    ref = filling(rgb_frames(options.clips / file, first, 1)[0], SIZE)
    bend = random_bend(np.random.default_rng(number))
    truth = inverse(bend)
    clip = moved(ref, bend, np.zeros(2))
    if look != "clean":
        clip = worn(clip, look, np.random.default_rng([number, 1]))
    occluded, where = occlude(clip if side == "clip" else ref, number)
    if side == "clip":
        x, y = truth[..., 0].astype(np.float32), truth[..., 1].astype(np.float32)
        where = cv2.remap(where.astype(np.float32), x, y, cv2.INTER_LINEAR) > 0.01
    band = around(where) & inside(truth)
    pair = (occluded, ref) if side == "clip" else (clip, occluded)
    mask = torch.from_numpy(cv2.dilate(where.astype(np.float32), np.ones((5, 5))))[None, None]

    def error(a: Image, b: Image, mask: torch.Tensor | None = None) -> float:
        found = estimate_warp(as_batch(a), as_batch(b), precision=options.precision, mask=mask).clip_from_ref[0]
        return float(np.linalg.norm(found.permute(1, 2, 0).numpy() - truth, axis=-1)[band].mean())

    return error(clip, ref), error(*pair), error(*pair, mask)


def subtitle(image: Image, number: int) -> tuple[Image, Mask]:
    """One or two lines near the lower edge."""
    lines = ["The clip shows what the ref does not,", "and so it goes on for a second line."][: 1 + number % 2]
    codes, where = (image * 255).astype(np.uint8), np.zeros(SIZE, np.uint8)
    for k, line in enumerate(lines):
        (width, _), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_DUPLEX, 0.8, 2)
        at = ((SIZE[1] - width) // 2, SIZE[0] - 26 - 30 * (len(lines) - 1 - k))
        for thickness, colour in ((5, (0, 0, 0)), (2, (255, 255, 255))):
            cv2.putText(codes, line, at, cv2.FONT_HERSHEY_DUPLEX, 0.8, colour, thickness, cv2.LINE_AA)
        cv2.putText(where, line, at, cv2.FONT_HERSHEY_DUPLEX, 0.8, 255, 5)
    return codes.astype(np.float32) / 255, where > 0


def logo(image: Image, number: int) -> tuple[Image, Mask]:
    """A patchwork of 60 x 44 pixels in one of the upper corners, almost opaque."""
    top, left = 30, 40 if number % 2 else SIZE[1] - 100
    patches = np.random.default_rng(number).uniform(0, 1, (5, 6, 3)).astype(np.float32)
    place, where, shown = (slice(top, top + 44), slice(left, left + 60)), np.zeros(SIZE, bool), image.copy()
    shown[place] = 0.15 * shown[place] + 0.85 * cv2.resize(patches, (60, 44), interpolation=cv2.INTER_NEAREST)
    where[place] = True
    return shown, where


def around(where: Mask) -> Mask:
    """The band around the box of ``where``."""
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    box = np.zeros(SIZE, np.uint8)
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = 1
    return np.asarray((cv2.dilate(box, np.ones((2 * BAND_PX + 1,) * 2)) > 0) & (box == 0))


if __name__ == "__main__":
    sys.exit(main())
