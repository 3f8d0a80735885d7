"""Picture metrics that VapourSynth plugins bring: Butteraugli, or SSIMULACRA2 where there is none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import vapoursynth as vs

from vsalign.metric import Doubles
from vsalign.picture import MATRIX_UNSPECIFIED, Picture, usual_matrix
from vsalign.vspicture import put

#: vapoursynth.VideoNode; the package carries no types that a checker may rely on.
Node = Any
#: Brightness of a screen, cd/m2, that Butteraugli reckons with.
_INTENSITY = 80
#: Pairs that the core is asked for together.
_AT_ONCE = 16
#: Values of `_Matrix` that no YUV picture can mean: that of RGB, unspecified, reserved.
_NO_MATRIX = (0, MATRIX_UNSPECIFIED, 3)
_log = logging.getLogger("vsalign")
_noticed: set[str] = set()


@dataclass(frozen=True, slots=True)
class PluginFilter:
    """A plugin's filter that compares two RGB nodes frame by frame. ``compare`` (ref, clip) gives a node whose frame props
    hold what ``cost`` makes a cost of, lower is more alike. ``plugin``: the namespace it comes from."""

    name: str
    compare: Callable[[Node, Node], Node]
    cost: Callable[[Mapping[str, Any]], float]
    plugin: str = ""

    @property
    def version(self) -> str:
        """The plugin's own, "23.1"; "" where it tells none."""
        told = getattr(getattr(vs.core, self.plugin, None), "version", None)
        return ".".join(str(number) for number in told) if isinstance(told, tuple) else ""


def find_filter(backend: str | None = None, quiet: bool = False) -> PluginFilter:
    """The filter of precision 2: Butteraugli of julek or vszip on the CPU, of Vship on CUDA (``backend`` "cuda"; it is also
    taken where it is the only one), else SSIMULACRA2 of vszip, of which the log tells once unless ``quiet``.

    Raises ValueError naming what to install when no such plugin is loaded.
    """
    core = vs.core
    plugin = "julek" if _filter(core, "julek", "Butteraugli") is not None else "vszip"
    on_cpu = _filter(core, plugin, "Butteraugli")
    on_cuda = _filter(core, "vship", "BUTTERAUGLI")
    if backend == "cuda":
        if on_cuda is None:
            raise ValueError("precision is 2 and backend is 'cuda': install the VapourSynth plugin Vship, or use backend 'cpu'")
        return _vship(on_cuda)
    if on_cpu is not None:
        props = ("_FrameButteraugli", "Butteraugli")
        return PluginFilter(
            "Butteraugli", lambda ref, clip: on_cpu(ref, clip, intensity_target=_INTENSITY), lambda f: _first(f, props), plugin
        )
    if on_cuda is not None and backend is None:
        return _vship(on_cuda)
    other = _filter(core, "vszip", "SSIMULACRA2")
    if other is None:
        raise ValueError(
            "precision is 2 and no plugin for it is loaded: install the VapourSynth plugin julek or vszip (CPU) or Vship (CUDA)"
        )
    if not quiet:
        _notice("precision 2: no Butteraugli plugin (julek, Vship) is loaded, SSIMULACRA2 of vszip takes its place")
    # 100 for equal pictures, 0 for bad ones, without a lower end.
    return PluginFilter("SSIMULACRA2", other, lambda f: (100.0 - _first(f, ("SSIMULACRA2", "_SSIMULACRA2"))) / 100.0, "vszip")


def limit_threads(num_threads: int) -> None:
    """Let the core of this process use so many threads; 0 leaves it its own number."""
    if num_threads:
        vs.core.num_threads = num_threads


def rgb(node: Node) -> Node:
    """``node`` as RGB floats, by the matrix and range that its frames' props tell, else by those usual for its size."""
    if node.format.color_family == vs.RGB:
        return node.resize.Point(format=vs.RGBS)
    told = node
    if node.format.color_family == vs.YUV:
        tagged = node.std.SetFrameProps(_Matrix=usual_matrix(node.height))

        def choose(n: int, f: Any) -> Node:
            return tagged if f.props.get("_Matrix", MATRIX_UNSPECIFIED) in _NO_MATRIX else node

        told = node.std.FrameEval(choose, prop_src=[node], clip_src=[tagged, node])
    return told.resize.Bilinear(format=vs.RGBS)


class PluginMetric:
    """A :class:`PluginFilter` as a :class:`vsalign.metric.Metric` over pictures in memory.

    It asks the core for frames and waits, so it must not be called by one of the core's own threads. ``filter``: the one to
    use instead of :func:`find_filter`'s.
    """

    def __init__(self, backend: str | None = None, filter: PluginFilter | None = None) -> None:
        self._filter = filter or find_filter(backend)

    def features(self, picture: Picture) -> Picture:
        """The picture itself: these plugins look at pairs only."""
        return picture

    def costs(self, pairs: Sequence[tuple[Picture, Picture]]) -> Doubles:
        """(len(pairs),) costs of (ref, clip)."""
        if not pairs:
            return np.empty(0)
        refs, clips = (rgb(_node_of([pair[side] for pair in pairs])) for side in (0, 1))
        compared = self._filter.compare(refs, clips)
        costs = np.empty(len(pairs))
        # Not VideoNode.frames(): it collects garbage at every end, 0.15 s in a process that has torch.
        for start in range(0, len(pairs), _AT_ONCE):
            block = range(start, min(start + _AT_ONCE, len(pairs)))
            for index, coming in [(index, compared.get_frame_async(index)) for index in block]:
                with coming.result() as told:
                    costs[index] = self._filter.cost(told.props)
        return costs


def _node_of(pictures: Sequence[Picture]) -> Node:
    first = pictures[0]
    family = {"rgb": vs.RGB, "yuv": vs.YUV, "gray": vs.GRAY}[first.format.family]
    kind = vs.FLOAT if first.planes[0].dtype.kind == "f" else vs.INTEGER
    shifts = (first.format.log2_chroma_w, first.format.log2_chroma_h)
    # Odd depths such as 9 bit are formats of VapourSynth, too.
    format = vs.core.query_video_format(family, kind, first.format.bit_depth, *shifts)
    blank = vs.core.std.BlankClip(format=format.id, width=first.width, height=first.height, length=len(pictures), keep=True)

    def fill(n: int, f: Any) -> Any:
        out = f.copy()
        put(pictures[n], out)
        colour = pictures[n].colour
        if first.format.family != "rgb":
            out.props["_Matrix"] = colour.matrix
        if colour.range:
            out.props["_Range"] = int(colour.range == 2)
        return out

    return blank.std.ModifyFrame(blank, fill)


def _vship(function: Callable[..., Node]) -> PluginFilter:
    return PluginFilter(
        "Butteraugli",
        lambda ref, clip: function(ref, clip, intensity_multiplier=_INTENSITY),
        lambda f: _first(f, ("_BUTTERAUGLI_INFNorm",)),
        "vship",
    )


def _filter(core: Any, plugin: str, name: str) -> Callable[..., Node] | None:
    return getattr(getattr(core, plugin, None), name, None)


def _first(props: Mapping[str, Any], names: tuple[str, ...]) -> float:
    return next((float(props[name]) for name in names if name in props), float("nan"))


def _notice(text: str) -> None:
    if text not in _noticed:
        _noticed.add(text)
        _log.warning(text)
