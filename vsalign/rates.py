"""Which clip frame is expected at a ref frame when both run at constant rates, in whole numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt


def expected_frames(num_ref: int, num_clip: int, ratio: Fraction = Fraction(1)) -> npt.NDArray[np.int64]:
    """Clip frame (num_ref,) for every ref frame; ``ratio``: clip frames per ref frame.

    A clip at a higher rate: its first frame that begins with the ref frame or later. At a lower rate: the frame it shows when
    the ref frame begins. Ref frames beyond the clip's end expect its last frame.
    """
    up, down = ratio.numerator, ratio.denominator
    extra = down - 1 if ratio > 1 else 0
    last = num_clip - 1
    # Python's integers: rates such as 24000/1001 times the frames of a film leave 64 bits behind soon enough.
    return np.array([min((n * up + extra) // down, last) for n in range(num_ref)], np.int64)
