"""How unlike two pictures are, and the choice among the clip frames around the one that is expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from vsalign.picture import Picture

Costs = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]
Select = Literal["argmin", "path"]


class Metric(Protocol):
    """How unlike two pictures of one size and format are; lower is more alike."""

    def features(self, picture: Picture) -> Any:
        """What of a picture is compared: made once per frame, kept by the caller."""
        ...

    def costs(self, pairs: Sequence[tuple[Any, Any]]) -> Costs:
        """(len(pairs),) costs of (ref features, clip features)."""
        ...


@runtime_checkable
class BoundedMetric(Metric, Protocol):
    """A metric that can prove of a frame that it is none of the two most alike, without comparing it in full."""

    def least_costs(self, ref: Any, candidates: Sequence[Any]) -> Costs:
        """Costs of ``candidates``, the preferred one first; +inf instead where a candidate is proven to be neither the choice
        (least cost, ties to the preferred) nor of less cost than the second least."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """The clip frame chosen for a ref frame; ``confidence`` in [0, 1], see :func:`choose`."""

    clip_frame: int
    cost: float
    confidence: float


def window(expected: int, tr: int, num_clip: int) -> list[int]:
    """The clip frames within ``tr`` of the expected one, nearest first, forward before backward; the clip's ends cut it.

    A frame expected beyond the clip stands for the clip's frame at that end.
    """
    centre = min(max(expected, 0), num_clip - 1)
    around = [centre] + [centre + side * k for k in range(1, min(tr, num_clip) + 1) for side in (1, -1)]
    return [frame for frame in around if 0 <= frame < num_clip]


def row_costs_of(metric: Metric, ref: Any, candidates: Sequence[Any], prune: bool) -> Doubles:
    """Costs of ``candidates``, the preferred one first; what is no number counts as infinitely unlike.

    With ``prune`` candidates that can't matter to :func:`choose` are +inf where the metric can tell.
    """
    if prune and isinstance(metric, BoundedMetric):
        costs = metric.least_costs(ref, candidates)
    else:
        costs = metric.costs([(ref, candidate) for candidate in candidates])
    doubles = np.asarray(costs, np.float64)
    return np.where(np.isnan(doubles), np.inf, doubles)


def choose(frames: Sequence[int], costs: Doubles) -> Choice:
    """The frame of least cost; among equals the one that stands first.

    Confidence is 1 - least / second least cost: 0 where two frames do equally well, near 1 where all others are much worse,
    and 1 where there is no other. Costs below 0, which a network may give, count as 0 there, and are told as 0.
    """
    best = int(np.argmin(costs))
    least = max(float(costs[best]), 0.0)
    second = float(np.partition(costs, 1)[1]) if len(costs) > 1 else np.inf
    beaten = second > least and not np.isinf(least)
    return Choice(frames[best], least, 1.0 - least / second if beaten else 0.0)
