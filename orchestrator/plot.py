"""A picture of a frame map: offset, cost and confidence over the film, with the edits marked, numbered and listed.

matplotlib is imported when a picture is drawn, for it takes longer to load than most commands run.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from orchestrator.plotdata import columns_of, label_rows, limits, offsets, rate_of, tick_step
from tasks.store import publish_file
from vsalign.editkinds import NO_EDITS, Edit
from vsalign.framemap import FrameMap
from vsalign.timecode import timecode

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Doubles = npt.NDArray[np.float64]

WIDTH_INCHES, PLOT_INCHES, LINE_INCHES, DOTS_PER_INCH = 15.0, 7.6, 0.19, 100
#: Columns that the curves are reduced to, and frames up to which each is drawn as a dot.
MOST_COLUMNS, MOST_DOTS = 1200, 600
#: Edits marked, and listed below the picture, all in one column up to ONE_COLUMN; characters of a line in two.
MOST_MARKED, MOST_LISTED, ONE_COLUMN, LINE_LENGTH = 300, 60, 12, 118
LABEL_ROWS, LABEL_WIDTH = 5, 0.0085
#: An edit narrower than this share of the film is drawn as a line.
NARROW = 0.002
COLOURS = {
    **{"start": "#7a5195", "end": "#7a5195", "missing": "#d62728", "extra": "#1f77b4", "replaced": "#ff7f0e"},
    **{"moved": "#8c564b", "speed": "#2ca02c", "cadence": "#17879c", "uneven": "#bc3f9d", "nothing": "#d62728"},
}
#: Kinds that last: a bar above the curve; what changes the film's frames is shaded in it.
BARS = ("speed", "cadence", "uneven")


def write_plot(
    path: Path, frame_map: FrameMap, edits: Sequence[Edit], clip_seconds: Doubles, ref_seconds: Doubles, title: str
) -> None:
    """Draw ``frame_map`` into ``path`` (.png or .svg), written aside and then renamed.

    clip_seconds (M,), ref_seconds (N,): times of all frames. Edits have their numbers in the given order. Raises OSError.
    """
    import matplotlib

    target = path.resolve()
    part = target.with_name(f".{target.stem}.part{target.suffix}")
    form = target.suffix[1:].lower()
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.hashsalt"] = "vsalign"
        # A film's name may be in a script that the font does not have.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")
        figure = draw(frame_map, edits, clip_seconds, ref_seconds, title)
        try:
            figure.savefig(part, format=form, dpi=DOTS_PER_INCH, metadata={"Date": None} if form == "svg" else None)
            publish_file(part, target)
        finally:
            part.unlink(missing_ok=True)


def draw(frame_map: FrameMap, edits: Sequence[Edit], clip_seconds: Doubles, ref_seconds: Doubles, title: str) -> Figure:
    """The picture, not yet written."""
    from matplotlib.figure import Figure

    listed = list(edits[:MOST_LISTED])
    lines = _list_lines(len(edits)) + 1
    length = _length(ref_seconds)
    rows = _label_rows(listed, length)
    height = PLOT_INCHES + LINE_INCHES * lines
    figure = Figure(figsize=(WIDTH_INCHES, height))
    grid = figure.add_gridspec(
        4,
        1,
        height_ratios=(0.17 * (max(rows, default=0) + 1), 4.8, 1.0, 1.0),
        left=0.065,
        right=0.935,
        top=1.0 - 0.45 / height,
        bottom=(LINE_INCHES * lines + 0.55) / height,
        hspace=0.1,
    )
    strip = figure.add_subplot(grid[0])
    offset, cost, confidence = (figure.add_subplot(grid[k], sharex=strip) for k in (1, 2, 3))
    figure.suptitle(title, fontsize=12, y=1.0 - 0.12 / height, va="top", parse_math=False)
    seconds = ref_seconds - ref_seconds[0] if len(ref_seconds) else ref_seconds
    _offset_panel(offset, frame_map, edits, clip_seconds, ref_seconds, seconds)
    _share_panel(cost, seconds, frame_map.cost, "cost", (0.0, 95.0))
    _share_panel(confidence, seconds, frame_map.confidence, "confidence", (5.0, 100.0))
    unlisted = [-1] * max(0, min(len(edits), MOST_MARKED) - len(listed))
    _mark_edits(strip, (offset, cost, confidence), edits[:MOST_MARKED], [*rows, *unlisted], length)
    _time_axis(strip, confidence, length)
    for axes in (strip, offset, cost):
        axes.tick_params(labelbottom=False)
    _list_edits(figure, edits, height)
    return figure


def _length(seconds: Doubles) -> float:
    step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.04
    return float(seconds[-1] - seconds[0]) + step if len(seconds) else step


def _centres(edits: Sequence[Edit], length: float) -> list[float]:
    return [min(max(sum(edit.ref_seconds) / 2, 0.0), length) for edit in edits]


def _label_rows(edits: Sequence[Edit], length: float) -> list[int]:
    """The row of every edit's number, so that none covers another; -1 where there is no room."""
    widths = [(LABEL_WIDTH * len(str(k + 1)) + 0.004) * length for k in range(len(edits))]
    return label_rows(_centres(edits, length), widths, LABEL_ROWS)


def _offset_panel(
    axes: Axes, frame_map: FrameMap, edits: Sequence[Edit], clip_seconds: Doubles, ref_seconds: Doubles, seconds: Doubles
) -> None:
    rate = rate_of(edits)
    values = offsets(frame_map, clip_seconds, ref_seconds, rate)
    frame = float(np.median(np.diff(clip_seconds))) if len(clip_seconds) > 1 else 0.04
    low, high = limits(values, frame_map.confidence, frame)
    axes.set_ylim(low, high)
    pace = "" if rate == 1.0 else f"{rate:.6g} × "
    axes.set_ylabel(f"clip time - {pace}ref time (s)")
    axes.grid(alpha=0.25)
    axes.ticklabel_format(axis="y", useOffset=False)

    def in_frames(y: Any) -> Any:
        return y / frame

    def in_seconds(y: Any) -> Any:
        return y * frame

    frames = axes.secondary_yaxis("right", functions=(in_frames, in_seconds))
    frames.set_ylabel("clip frames")
    if not np.isfinite(values).any():
        axes.text(0.5, 0.5, "nothing matched", transform=axes.transAxes, ha="center", va="center", fontsize=16, color="#d62728")
        return
    if len(values) <= MOST_DOTS:
        axes.plot(seconds, values, "-o", color="#22304f", markersize=3, linewidth=0.8, zorder=3)
    else:
        column = columns_of(seconds, values, MOST_COLUMNS)
        axes.vlines(column.seconds, column.low, column.high, color="#22304f", linewidth=1.2, zorder=3)
        axes.plot(column.seconds, column.middle, "o", color="#22304f", markersize=1.8, zorder=3)
    outside = int(((values < low) | (values > high)).sum())
    if outside:
        told = f"{outside} uncertain frame{'' if outside == 1 else 's'} outside of the picture"
        axes.text(0.995, 0.02, told, transform=axes.transAxes, ha="right", fontsize=8, color="#666666")


def _share_panel(axes: Axes, seconds: Doubles, values: npt.NDArray[np.float32], name: str, spread: tuple[float, float]) -> None:
    axes.set_ylabel(name)
    axes.grid(alpha=0.25)
    axes.set_ylim(-0.02, max(1.02, float(np.percentile(values, 99.5)) * 1.05 if len(values) else 1.02))
    if not len(values):
        return
    if len(values) <= MOST_DOTS:
        axes.plot(seconds, values, "-o", color="#22304f", markersize=2, linewidth=0.8)
        return
    column = columns_of(seconds, values.astype(np.float64), MOST_COLUMNS, spread)
    axes.fill_between(column.seconds, column.low, column.high, color="#9db4d8", linewidth=0, alpha=0.8)
    axes.plot(column.seconds, column.middle, color="#22304f", linewidth=0.9)


def _mark_edits(strip: Axes, panels: tuple[Axes, ...], edits: Sequence[Edit], rows: Sequence[int], length: float) -> None:
    """Shade what is edited in the panels; number it in the strip above, bars for what lasts."""
    strip.set_ylim(0, max(rows, default=0) + 1)
    strip.set_yticks([])
    strip.tick_params(bottom=False)
    for side in ("top", "left", "right", "bottom"):
        strip.spines[side].set_visible(False)
    centres = _centres(edits, length)
    for k, row in enumerate(rows):
        edit, colour = edits[k], COLOURS[edits[k].kind]
        start, stop = edit.ref_seconds
        if edit.kind in BARS:
            panels[0].plot([start, stop], [0.985, 0.985], transform=panels[0].get_xaxis_transform(), color=colour, linewidth=4)
        else:
            for axes in panels:
                if stop - start > NARROW * length:
                    axes.axvspan(start, stop, color=colour, alpha=0.2, linewidth=0)
                else:
                    axes.axvline((start + stop) / 2, color=colour, linewidth=1.0, alpha=0.7)
        if row >= 0:
            strip.text(centres[k], row + 0.5, str(k + 1), ha="center", va="center", fontsize=8.5, color=colour, weight="bold")
            strip.plot([centres[k], centres[k]], [0, row + 0.1], color=colour, linewidth=0.4, alpha=0.6)


def _time_axis(strip: Axes, bottom: Axes, length: float) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    step = tick_step(length)
    whole = step >= 1
    strip.set_xlim(0.0 - 0.004 * length, 1.004 * length)
    bottom.xaxis.set_major_locator(MultipleLocator(step))
    bottom.xaxis.set_major_formatter(FuncFormatter(lambda x, _: timecode(x)[: 8 if whole else 12] if x >= 0 else ""))
    bottom.set_xlabel("ref time")


def _list_lines(number: int) -> int:
    shown = min(number, MOST_LISTED) + (number > MOST_LISTED)
    return max(1, shown if number <= ONE_COLUMN else -(-shown // 2))


def _list_edits(figure: Figure, edits: Sequence[Edit], height: float) -> None:
    """The edits in words, down the first column, then down the second."""
    texts = [(f"{k + 1}", edit.words(), COLOURS[edit.kind]) for k, edit in enumerate(edits[:MOST_LISTED])]
    if len(edits) > MOST_LISTED:
        texts.append(("", f"and {len(edits) - MOST_LISTED} more (--edits lists them all)", "#444444"))
    if not edits:
        texts = [("", NO_EDITS, "#444444")]
    rows = _list_lines(len(edits))
    for k, (number, words, colour) in enumerate(texts):
        column, row = divmod(k, rows)
        left, y = 0.045 + 0.48 * column, (LINE_INCHES * (rows - row) + 0.08) / height
        short = words if len(edits) <= ONE_COLUMN or len(words) <= LINE_LENGTH else f"{words[: LINE_LENGTH - 1]}…"
        figure.text(left - 0.004, y, number, ha="right", va="center", fontsize=8, color=colour, weight="bold")
        figure.text(left, y, short, ha="left", va="center", fontsize=7.6, color="#222222", parse_math=False)
