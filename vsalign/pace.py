"""How fast the clip's time runs against the ref's, measured along the finished map."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

#: Rates that have a reason, the likelier ones first: as tagged, PAL speed-up, NTSC's 1000/1001, both, and their reverses.
KNOWN = tuple(pal * ntsc for ntsc in (1.0, 1000 / 1001, 1001 / 1000) for pal in (1.0, 24 / 25, 25 / 24))
#: Matched frames between the two ends of a measurement, at most; cuts spoil only those that they lie in.
_APART = 5000
#: Frames by which both ends of a measurement may be off together.
_OFF = 1.5
#: Share of the measurements that has to agree.
_AGREED = 0.3


def measured_rate(clip_seconds: Doubles, ref_seconds: Doubles, usual: float) -> float:
    """Clip seconds per ref second of the matched frames' times (K,) in order of the ref; the first known rate that fits.

    The slope that many pairs of frames agree on; ``usual`` where there are too few frames, or too many cuts, to tell.
    """
    apart = min(_APART, len(ref_seconds) // 3)
    if apart < 12:
        return usual
    ref_span = ref_seconds[apart:] - ref_seconds[:-apart]
    slopes = (clip_seconds[apart:] - clip_seconds[:-apart]) / ref_span
    tolerance = _OFF * float(np.median(np.diff(ref_seconds))) / float(np.median(ref_span))
    # A cut in the middle spoils half of the pairs: their median may lie anywhere, the others still agree.
    shares = [_share(slopes, known, tolerance) for known in KNOWN]
    if max(shares) > _AGREED:
        return next(known for known, share in zip(KNOWN, shares, strict=True) if share >= 0.9 * max(shares))
    rate = float(np.median(slopes))
    return rate if _share(slopes, rate, tolerance) > _AGREED else usual


def _share(slopes: Doubles, rate: float, tolerance: float) -> float:
    return float(np.mean(np.abs(slopes - rate) <= tolerance))
