"""Hold a rendered output against its ref with an estimator that is not ours: how far pixels still lie from the ref's.

    python benchmarks/real_pair.py OUT REF [--estimator ../shared/reference/dense_lk_prototype.py] [--every 60]

The estimator is a Python file with ``estimate(clip, ref, lq) -> (H, W, 2)`` positions, float RGB in [0, 1]. Printed per frame:
the median distance in pixels over textured places (smaller eigenvalue of the structure tensor above that of faint noise).
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

DEFAULT_ESTIMATOR = Path(__file__).parent.parent.parent / "shared" / "reference" / "dense_lk_prototype.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("ref", type=Path)
    parser.add_argument("--estimator", type=Path, default=DEFAULT_ESTIMATOR)
    parser.add_argument("--every", type=int, default=60)
    options = parser.parse_args()
    estimator = load_estimator(options.estimator)
    medians = []
    for number, (out, ref) in enumerate(zip(frames(options.out), frames(options.ref), strict=True)):
        if number % options.every != options.every // 2:
            continue
        moved = estimator.estimate(out, ref, False)
        y, x = np.mgrid[0 : ref.shape[0], 0 : ref.shape[1]].astype(np.float32)
        distance = np.hypot(moved[..., 0] - x, moved[..., 1] - y)
        where = textured(ref)
        medians.append(float(np.median(distance[where])) if where.sum() > 500 else float("nan"))
        print(f"frame {number:6d}  median residual {medians[-1]:.3f} px in {100 * where.mean():.0f} % textured", flush=True)
    print(f"all: median {np.nanmedian(medians):.3f} px, worst frame {np.nanmax(medians):.3f} px, {len(medians)} frames")


def load_estimator(path: Path) -> Any:
    """The module at ``path``."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def frames(path: Path) -> Any:
    """RGB frames as float32 in [0, 1]."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24").astype(np.float32) / 255


def textured(image: np.ndarray) -> np.ndarray:
    """Where a shift shows in both directions; the border is left out."""
    gray = cv2.cvtColor((image * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    gx, gy = (cv2.Sobel(gray, cv2.CV_32F, *axes, scale=1 / 8) for axes in ((1, 0), (0, 1)))
    xx, xy, yy = (cv2.GaussianBlur(v, (0, 0), 4) for v in (gx * gx, gx * gy, gy * gy))
    smaller = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy * xy)
    mask = smaller > (2 / 255) ** 2 * 0.5
    mask[:8], mask[-8:], mask[:, :8], mask[:, -8:] = False, False, False, False
    return mask


if __name__ == "__main__":
    main()
