"""The metric of a precision, and the node whose frames tell its costs of a ref frame's candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vsalign.filterargs import Backend, TemporalPrecision
from vsalign.metric import Metric
from vsalign.metricband import KEPT_FRAMES, SignatureMetric, kept_by_signature
from vsalign.planestats import PlaneStats
from vsalign.pluginmetric import find_filter, rgb
from vsalign.temporalargs import Nodes, TemporalSettings
from vsalign.vsframe import Frame
from vsalign.vsrows import FeatureRows, GiveFrames, plugin_rows, row_of

#: vapoursynth.VideoNode, read by its attributes.
Node = Any


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where costs are worked out: ``num_threads`` frames at a time; ``hold`` gives a node a cache for a window of frames."""

    backend: Backend | None
    num_threads: int
    hold: Callable[[Node], Node]


@dataclass(frozen=True, slots=True)
class CostRows:
    """``node``: see :mod:`vsalign.vsrows`; ``name`` of the metric; ``memories``, to be forgotten with the core."""

    node: Node
    name: str
    memories: Sequence[FeatureRows]


def cost_rows(
    base: Node, nodes: Nodes, settings: TemporalSettings, candidates: GiveFrames, at: Workplace, metric: Metric | None
) -> CostRows:
    """Rows of ``metric``, or of precision 1 or 2 where that is None.

    Raises ValueError when precision 2 lacks its plugin.
    """
    room = 2 * settings.tr + 1 + 2 * at.num_threads
    if settings.precision == TemporalPrecision.PLANESTATS:
        # A path needs all costs of a row, not only the two least.
        exact = FeatureRows(PlaneStats(), room, at.num_threads, settings.prune and settings.select == "argmin")
        return CostRows(exact.node(base, nodes.clip, nodes.ref, candidates), "PlaneStats", [exact])
    plugin = None
    if metric is None:
        plugin = find_filter(None if at.backend is None else at.backend.value)
    before, give, memories = None, candidates, list[FeatureRows]()
    if settings.prune and 2 * settings.tr + 1 > KEPT_FRAMES:
        ranking = FeatureRows(SignatureMetric(), room, at.num_threads, False)
        before, give, memories = ranking.node(base, nodes.clip, nodes.ref, candidates), _kept, [ranking]
    if plugin is not None:
        rows_node = plugin_rows(base, at.hold(rgb(nodes.clip)), rgb(nodes.ref), plugin, give, before)
        return CostRows(rows_node, plugin.name, memories)
    assert metric is not None
    rows = FeatureRows(metric, room, at.num_threads, False)
    return CostRows(rows.node(base, nodes.clip, nodes.ref, give, before), "TOPIQ", [*memories, rows])


def _kept(n: int, ranked: Frame | None) -> list[int]:
    return kept_by_signature(*row_of(ranked))
