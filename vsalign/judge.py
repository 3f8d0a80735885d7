"""What a path is worth: cost and confidence of every frame, which frames have no counterpart, and one score for the film."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vsalign.band import Band
from vsalign.framemap import UNMATCHED, FrameMap, Source
from vsalign.path import ExactPath, running_median
from vsalign.signature import Floats

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Difference in correlation above which two clip frames count as visibly different.
VISIBLE = 0.004
#: Path costs by which the runner-up must be worse for a confidence of 63 %.
SURE_MARGIN = 8.0
#: The margin that stands for frames without a visibly different neighbour: any choice is right, none can be checked.
STILL_MARGIN = 4.0
#: 1 - correlation above which frames have nothing in common, whatever is usual in the film.
NOTHING_IN_COMMON = 0.7
#: Correlation that the best of a band of unrelated frames reaches.
CHANCE = 0.25
#: A held frame lacks a counterpart when its cost exceeds the usual one by this much and by this many usual deviations.
HELD_EXCESS, HELD_DEVIATIONS = 0.05, 5.0
#: Texture (share of local contrast above the noise) at which a frame counts in full; a black frame has none.
FULL_TEXTURE = 0.02
#: Below this texture (fades from black, mostly codec noise) nothing is declared missing for being unlike.
CLEAR_TEXTURE = 0.1


def judge(path: ExactPath, band: Band, step: Doubles, num_clip: int) -> tuple[FrameMap, float]:
    """The frame map of ``path`` and the film's score in [0, 1]; step (N,) expected clip frames since the row before.

    Confidence is quality (correlation, texture) times 1 - exp(-margin / SURE_MARGIN), where margin is how much worse the whole
    path gets when it must pass through the best visibly different frame (max-marginals of the Viterbi path).
    """
    rows = np.arange(len(band.unlike))
    inside = (path.clip_frame >= 0) & (path.clip_frame < num_clip)
    cost = np.where(inside, band.unlike[rows, path.clip_frame - band.first], 1.0).astype(np.float32)
    seen = np.minimum(band.texture / FULL_TEXTURE, 1.0)
    matched = inside & ~_missing(path.clip_frame, cost, inside, band.texture, step)
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


def _missing(clip_frame: Ints, cost: Floats, inside: Flags, texture: Floats, step: Doubles) -> Flags:
    """Rows whose moment the clip does not have, where that can be seen."""
    seen = inside & (texture > FULL_TEXTURE)
    usual = running_median(cost)
    deviation = 1.48 * running_median(np.abs(cost - usual))
    film = float(np.median(cost[seen])) if seen.any() else 1.0
    nothing = (texture > CLEAR_TEXTURE) & (cost > max(NOTHING_IN_COMMON, min(film + 0.25, 0.9)))
    # A short cut makes the path wait on one clip frame: of the rows that share it, all but the best lack their own.
    held = _shares_frame(clip_frame, cost) & (step > 0.9)
    held &= cost > usual + np.maximum(HELD_EXCESS, HELD_DEVIATIONS * deviation)
    missing: Flags = seen & (nothing | held)
    return missing


def _shares_frame(clip_frame: Ints, cost: Floats) -> Flags:
    """True where a neighbouring row shows the same clip frame at less cost."""
    begins = np.flatnonzero(np.concatenate([[True], np.diff(clip_frame) != 0]))
    run = np.cumsum(np.concatenate([[False], np.diff(clip_frame) != 0]))
    least = np.minimum.reduceat(cost, begins)
    return np.asarray(np.greater(cost, least[run]), dtype=np.bool_)
