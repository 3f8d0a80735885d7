"""What a path is worth: cost and confidence of every frame, which frames have no counterpart, and one score for the film."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vsalign.band import Band
from vsalign.contrast import Floats
from vsalign.framemap import UNMATCHED, FrameMap, Source
from vsalign.path import ExactPath
from vsalign.rowcost import CLEAR_TEXTURE, running_median

Flags = npt.NDArray[np.bool_]

#: Difference in correlation above which two clip frames count as visibly different.
VISIBLE = 0.004
#: Path costs by which the runner-up must be worse for a confidence of 63 %.
SURE_MARGIN = 8.0
#: The margin that stands for frames without a visibly different neighbour: any choice is right, none can be checked.
STILL_MARGIN = 4.0
#: 1 - correlation above which frames have nothing in common, whatever is usual in the film.
NOTHING_IN_COMMON = 0.7
#: By how much more than usual the pairs of a stretch cost that may be none; how many frames away in time others are looked at,
#: and by how much worse those are at least where the pairs are right.
MISSED_BY, NEIGHBOURS, SUPPORT = 0.3, 3, 0.03
#: By how much more each single one of them costs.
CLEARLY_WORSE = 0.25
#: Runs of rows without a counterpart that are too short to be believed by their looks alone.
LONE = 2
#: Correlation that the best of a band of unrelated frames reaches.
CHANCE = 0.25
#: Texture (share of local contrast above the noise) at which a frame counts in full; a black frame has none.
FULL_TEXTURE = 0.02


def judge(path: ExactPath, band: Band, num_clip: int) -> tuple[FrameMap, float]:
    """The frame map of ``path`` and the film's score in [0, 1]; num_clip, clip frames.

    Confidence is quality (correlation, texture) times 1 - exp(-margin / SURE_MARGIN), where margin is how much worse the whole
    path gets when it must pass through the best visibly different frame (max-marginals of the Viterbi path).
    """
    cost = cost_along(path, band, num_clip)
    inside = (path.clip_frame >= 0) & (path.clip_frame < num_clip)
    seen = np.minimum(band.texture / FULL_TEXTURE, 1.0)
    matched = inside & ~path.missing & ~_elsewhere(path, cost, band)
    rival = band.unlike - cost[:, None] > VISIBLE
    margin = np.where(rival, path.margin, np.inf).min(1)
    margin = np.where(np.isfinite(margin), margin, STILL_MARGIN)
    quality = np.clip((0.8 - cost) / 0.5, 0.0, 1.0) * seen
    frame_map = FrameMap(
        np.where(matched, path.clip_frame, UNMATCHED),
        cost,
        np.where(matched, quality * (1.0 - np.exp(-margin / SURE_MARGIN)), 0.0).astype(np.float32),
        np.where(matched, Source.MATCH, Source.UNMATCHED).astype(np.uint8),
    )
    return frame_map, _score(cost, matched, seen, num_clip)


def _score(cost: Floats, matched: Flags, seen: Floats, num_clip: int) -> float:
    """Summed correlation above chance of the matched frames, over what the shorter film could reach; frames count by what they
    show."""
    total = float((seen * np.clip((1.0 - cost - CHANCE) / (1.0 - CHANCE), 0.0, 1.0) * matched).sum(dtype=np.float64))
    possible = float(np.sort(seen)[::-1][:num_clip].sum(dtype=np.float64))
    return min(1.0, total / possible) if possible > 1e-3 else 0.0


def cost_along(path: ExactPath, band: Band, num_clip: int) -> Floats:
    """1 - correlation (N,) of the pairs that the path goes through; 1 beyond the clip."""
    inside = (path.clip_frame >= 0) & (path.clip_frame < num_clip)
    column = np.clip(path.clip_frame - band.first, 0, band.unlike.shape[1] - 1)
    return np.where(inside, band.unlike[np.arange(len(column)), column], 1.0).astype(np.float32)


def usual_cost(cost: Floats, band: Band) -> float:
    """What a pair of this film usually costs; 1 when no frame shows anything."""
    telling = (cost < 1.0) & (band.texture > FULL_TEXTURE)
    return float(np.median(cost[telling])) if telling.any() else 1.0


def _elsewhere(path: ExactPath, cost: Floats, band: Band) -> Flags:
    """Rows whose moment the clip shows nowhere near: frames that have nothing in common, or far less than is usual in the film
    while others some frames away are just as good, which is not so where something moves and is only hard to see."""
    usual = usual_cost(cost, band)
    seen = band.texture > CLEAR_TEXTURE
    nothing = cost > max(NOTHING_IN_COMMON, min(usual + 0.25, 0.9))
    column = (path.clip_frame - band.first)[:, None]
    far = np.where(np.abs(np.arange(band.unlike.shape[1]) - column) > NEIGHBOURS, band.unlike, np.inf).min(1)
    support = running_median(np.where(np.isfinite(far), far, 1.0).astype(np.float32) - cost)
    vague = (running_median(cost) > usual + MISSED_BY) & (cost > usual + CLEARLY_WORSE) & (support < SUPPORT)
    rows = _without_lone(seen & (nothing | (vague & (band.texture > 1.5 * CLEAR_TEXTURE))))
    # Nor do a frame or two that hardly resemble anything make a match amid frames that have none.
    islands = ~rows & ~_without_lone(~rows) & (cost > usual + CLEARLY_WORSE)
    return np.asarray(rows | islands, np.bool_)


def _without_lone(rows: Flags) -> Flags:
    """A frame or two amid good ones are only spoilt: a clip that lacks them holds or skips there, which the path has seen."""
    begins = np.flatnonzero(np.diff(rows, prepend=False, append=False))
    out = rows.copy()
    for start, stop in begins.reshape(-1, 2):
        if stop - start <= LONE:
            out[start:stop] = False
    return out
