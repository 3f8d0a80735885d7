"""From how unlike frames are to costs that a path can add up: what each choice in a band is worth as evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vsalign.band import Band
from vsalign.contrast import Floats

#: What a dissimilarity as large as the usual remainder counts. Were that remainder white noise, half the number of its pixels
#: would be due; most of it is error of geometry, codec and grading, which lasts from frame to frame.
EVIDENCE = 16.0
#: A row's worst cost, so that one bad frame can't force a detour.
WORST = 20.0
#: A ref frame that lies before the clip's first or after its last frame; less than a held frame costs, so that running straight
#: out of the clip is cheaper than waiting at its end.
OUTSIDE = 0.6
#: 1 - correlation below which all matches are alike: rounding of the signatures.
ROUNDING = 1e-3
#: Rows each side from which the usual remainder is taken.
USUAL_RADIUS = 16
#: Where this many times more is left over than usual in the film (or than GOOD_REMAINDER, if that is more), it is misfit
#: (fades, flashes), not noise: evidence counts less by the power MISFIT of it.
GOOD_REMAINDER, MISFIT = 0.05, 2.5
#: Texture (share of local contrast above the noise) below which a picture, in a fade or black, is strange by nature, and below
#: which it says nothing about what is usual in the film.
CLEAR_TEXTURE, SOME_TEXTURE = 0.1, 0.02
#: A row whose best candidate leaves this many times the usual remainder begins to look like one without a counterpart, and
#: each doubling beyond that costs so much, up to a limit: codecs spoil single frames, too.
STRANGE, PER_DOUBLING, STRANGEST = 1.5, 2.0, 6.0
#: What is usual near a row counts as such between these bounds: 1 - correlation, and times what is usual in the film.
LEAST_USUAL, MOST_USUAL = 0.03, 3.0


@dataclass(frozen=True, eq=False)
class RowCosts:
    """match: (N,K) float32, how much worse than the best of its row and of its column each pair is; strange: (N,) float32, how
    little even the row's best is what one would expect of a match. In units of a frame held or skipped."""

    match: Floats
    strange: Floats


def row_costs(band: Band, num_clip: int) -> RowCosts:
    """Costs of a band's states; num_clip, clip frames.

    A log likelihood ratio: what a pair leaves over beyond the best of its row and of its column (a clip frame that is sharper
    than its neighbours is liked by all rows), against what is usual around the row (a running median, or what the row's best
    leaves if that is more: such a row says little).
    """
    frames = band.first[:, None] + np.arange(band.unlike.shape[1])
    inside = (frames >= 0) & (frames < num_clip)
    reached = inside.any(1)
    best = np.where(reached, np.where(inside, band.unlike, np.inf).min(1), 1.0).astype(np.float32)
    near = running_median(best) + np.float32(ROUNDING)
    telling = reached & (band.texture > SOME_TEXTURE)
    film = float(np.median(best[telling])) if telling.any() else 1.0
    usual = np.maximum(near, best + np.float32(ROUNDING))
    believed = EVIDENCE / usual / np.maximum(usual / max(film, GOOD_REMAINDER), 1.0) ** MISFIT
    match = believed[:, None] * (band.unlike - 0.5 * (best[:, None] + _column_best(band, frames, inside, num_clip)))
    strange = PER_DOUBLING * np.log2(
        np.maximum(best / (STRANGE * np.clip(near, LEAST_USUAL, max(MOST_USUAL * film, 0.1))), 1e-6)
    )
    strange = np.where(reached & (band.texture > CLEAR_TEXTURE), np.clip(strange, 0.0, STRANGEST), 0.0)
    return RowCosts(np.where(inside, np.minimum(match, WORST), OUTSIDE).astype(np.float32), strange.astype(np.float32))


def _column_best(band: Band, frames: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_], num_clip: int) -> Floats:
    """For each state (N,K) what the clip frame's best pair leaves over; 0 beyond the clip."""
    best = np.full(num_clip + 1, np.inf, np.float32)
    np.minimum.at(best, frames[inside], band.unlike[inside])
    best[-1] = 0.0
    return best[np.where(inside, frames, num_clip)]


def running_median(values: Floats) -> Floats:
    """Median of each value and its neighbours within USUAL_RADIUS, the ends repeated; (N,) -> (N,)."""
    padded = np.pad(values, USUAL_RADIUS, mode="edge")
    windows: npt.NDArray[np.float32] = np.lib.stride_tricks.sliding_window_view(padded, 2 * USUAL_RADIUS + 1)
    return np.asarray(np.median(windows, axis=1), np.float32)
