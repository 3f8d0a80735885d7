"""A frame map for people: written as CSV, drawn, and told as edits; solved just now, or the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.config import JobConfig
from orchestrator.inputs import Inputs
from orchestrator.outcheck import check_out_path, check_plot_path
from orchestrator.preflight import load_frame_map, look_at_sources
from tasks.outfile import write_out
from vsalign.editkinds import Edit
from vsalign.edits import find_edits
from vsalign.framemap import FrameMap


@dataclass(frozen=True, slots=True)
class MapView:
    """What is wanted of a map: ``plot``, path of a picture, "" for none; ``edits`` printed; ``write``, the map to OUT."""

    plot: str = ""
    edits: bool = False
    write: bool = True


ONLY_WRITTEN = MapView()


def check_view(config: JobConfig, view: MapView) -> None:
    """Look at the picture's path before long work begins. Raises InputError."""
    if view.plot:
        check_plot_path(config, view.plot)


def describe_map(config: JobConfig, view: MapView) -> tuple[FrameMap, tuple[Edit, ...]]:
    """The user's own map, read against both films, and its edits; no job directory is made. Raises InputError."""
    if view.write:
        check_out_path(config, out_may_exist=False)
    check_view(config, view)
    inputs = look_at_sources(config)
    clip, ref = inputs.clip.index, inputs.ref.index
    frame_map = load_frame_map(config, len(ref), len(clip))
    edits = find_edits(frame_map, clip.seconds(), ref.seconds())
    if view.write:
        write_map(config, frame_map)
    plot_map(config, inputs, frame_map, edits, view)
    return frame_map, edits


def write_map(config: JobConfig, frame_map: FrameMap) -> None:
    """The map as CSV in OUT, whole or not at all."""
    write_out(config.out, frame_map.to_csv().encode())


def plot_map(config: JobConfig, inputs: Inputs, frame_map: FrameMap, edits: Sequence[Edit], view: MapView) -> None:
    """The picture that ``view`` asks for, if any."""
    if not view.plot:
        return
    from orchestrator.plot import write_plot

    matched = f"{int(frame_map.matched.sum())} of {len(frame_map)} ref frames matched"
    number = f"{len(edits)} edit{'' if len(edits) == 1 else 's'}"
    title = f"{Path(config.clip).name} on {Path(config.ref).name}: {matched}, {number}"
    write_plot(Path(view.plot), frame_map, edits, inputs.clip.index.seconds(), inputs.ref.index.seconds(), title)
