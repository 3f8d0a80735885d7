"""How fast the clip's time runs against the ref's, measured along the finished map."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

#: Rates that have a reason, the likelier ones first: as tagged, PAL speed-up and its reverse; each also with NTSC's 1000/1001.
PAL, NTSC = (1.0, 24 / 25, 25 / 24), (1.0, 1000 / 1001, 1001 / 1000)
#: Matched frames between the two ends of a measurement: few, so that most lie between two cuts, and many, to be exact.
_NEAR, _FAR = 48, 5000
#: Frames by which both ends of a measurement may be off together.
_OFF = 1.0
#: Share of the measurements that has to agree.
_AGREED = 0.3


def measured_rate(clip_seconds: Doubles, ref_seconds: Doubles, usual: float) -> float:
    """Clip seconds per ref second of the matched frames' times (K,) in order of the ref; a known rate where one fits.

    The slope that many pairs of frames agree on; ``usual`` where there are too few frames, or too many cuts, to tell.
    """
    if len(ref_seconds) < 3 * _NEAR // 2:
        return usual
    shares = [_share(clip_seconds, ref_seconds, _NEAR, rate) for rate in PAL]
    if max(shares) <= _AGREED:
        slopes = _slopes(clip_seconds, ref_seconds, _NEAR)
        rate = float(np.median(slopes))
        return rate if _share(clip_seconds, ref_seconds, _NEAR, rate) > _AGREED else usual
    base = PAL[int(np.argmax(shares))]
    apart = min(_FAR, len(ref_seconds) // 3)
    exact = [_share(clip_seconds, ref_seconds, apart, base * ntsc) for ntsc in NTSC]
    return base * next(ntsc for ntsc, share in zip(NTSC, exact, strict=True) if share >= 0.9 * max(exact))


def _slopes(clip_seconds: Doubles, ref_seconds: Doubles, apart: int) -> Doubles:
    span = ref_seconds[apart:] - ref_seconds[:-apart]
    return np.asarray((clip_seconds[apart:] - clip_seconds[:-apart]) / span, np.float64)


def _share(clip_seconds: Doubles, ref_seconds: Doubles, apart: int, rate: float) -> float:
    """Of the pairs of frames ``apart``, how many run at ``rate``."""
    return float(np.mean(np.abs(_slopes(clip_seconds, ref_seconds, apart) - rate) <= _OFF / apart))
