"""The frame map: which clip frame shows the moment of each ref frame, and how sure that is.

It is the product of sync and the input of align; the user may read, plot and edit it as CSV and pass it back in.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vsalign.errors import InputError
from vsalign.frames import FrameRange

COLUMNS = ("ref_frame", "clip_frame", "cost", "confidence", "source")
UNMATCHED = -1


class Source(IntEnum):
    """Who decided a row; the CSV holds the lower-case name, the array the code."""

    MATCH = 0
    FALLBACK = 1
    EDITED = 2
    UNMATCHED = 3

    @property
    def label(self) -> str:
        return self.name.lower()


_SOURCE_OF_LABEL = {source.label: source for source in Source}


@dataclass(frozen=True, eq=False)
class FrameMap:
    """One row per ref frame, arrays of length N.

    clip_frame: int64, 0-based frame of the clip that shows the ref frame's moment, -1 when there is none. cost: float32,
    matching cost >= 0, lower is better. confidence: float32 in [0, 1]. source: uint8 codes of ``Source``.
    Raises ValueError when the arrays differ in length or hold a value outside its range.
    """

    clip_frame: npt.NDArray[np.int64]
    cost: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]
    source: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        # Frozen: the only way to pin the dtypes that the docstring promises.
        for name, dtype in (("clip_frame", np.int64), ("cost", np.float32), ("confidence", np.float32), ("source", np.uint8)):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=dtype))
        shapes = {a.shape for a in (self.clip_frame, self.cost, self.confidence, self.source)}
        if len(shapes) != 1 or self.clip_frame.ndim != 1:
            raise ValueError(f"FrameMap needs four arrays of one length, got shapes {sorted(shapes)}")
        if len(self) and self.clip_frame.min() < UNMATCHED:
            raise ValueError(f"FrameMap: clip frame {self.clip_frame.min()} is neither a frame nor -1")
        if not (np.all(self.cost >= 0) and np.all((self.confidence >= 0) & (self.confidence <= 1))):
            raise ValueError("FrameMap: cost must be >= 0 and confidence in [0, 1], none of them NaN")
        if len(self) and self.source.max() > max(Source):
            raise ValueError(f"FrameMap: source code {self.source.max()} is none of {[int(s) for s in Source]}")

    def __len__(self) -> int:
        return len(self.clip_frame)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrameMap) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("clip_frame", "cost", "confidence", "source")
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"FrameMap({len(self)} ref frames, {int(self.matched.sum())} matched)"

    @property
    def matched(self) -> npt.NDArray[np.bool_]:
        """True where the ref frame has a clip frame."""
        return self.clip_frame >= 0

    @classmethod
    def of_clip_frames(cls, clip_frame: npt.NDArray[np.int64], num_clip: int, source: Source = Source.MATCH) -> FrameMap:
        """A map taken for certain (cost 0, confidence 1); frames outside [0, num_clip) become unmatched (confidence 0)."""
        inside = (clip_frame >= 0) & (clip_frame < num_clip)
        return cls(
            np.where(inside, clip_frame, UNMATCHED).astype(np.int64),
            np.zeros(len(clip_frame), np.float32),
            inside.astype(np.float32),
            np.where(inside, source, Source.UNMATCHED).astype(np.uint8),
        )

    @classmethod
    def identity(cls, num_ref: int, num_clip: int) -> FrameMap:
        """Clip frame = ref frame while the clip lasts; ref frames after its end are unmatched."""
        return cls.of_clip_frames(np.arange(num_ref, dtype=np.int64), num_clip)

    @classmethod
    def constant_offset(cls, num_ref: int, expected: npt.NDArray[np.int64], offset: int, num_clip: int) -> FrameMap:
        """Clip frame = ``expected`` (num_ref,) + ``offset`` clip frames; what falls outside the clip is unmatched.

        Raises ValueError when ``expected`` is not of length ``num_ref``.
        """
        if len(expected) != num_ref:
            raise ValueError(f"expected holds {len(expected)} frames, the ref has {num_ref}")
        return cls.of_clip_frames(np.asarray(expected, np.int64) + offset, num_clip)

    def slice(self, frames: FrameRange) -> FrameMap:
        """The rows of the ref frames in ``frames``, clamped to the film; row 0 is ``frames.start``."""
        rows = frames.clamp(FrameRange(0, len(self)))
        cut = slice(rows.start, rows.stop)
        return FrameMap(self.clip_frame[cut], self.cost[cut], self.confidence[cut], self.source[cut])

    def nearest_matched(self) -> npt.NDArray[np.int64]:
        """The nearest matched ref frame of every ref frame (N,): itself where matched, ties to the earlier one.

        -1 only when nothing matches at all.
        """
        rows = np.arange(len(self))
        if not self.matched.any():
            return np.full(len(self), UNMATCHED, np.int64)
        before = np.maximum.accumulate(np.where(self.matched, rows, -len(self) - 1))
        after = np.minimum.accumulate(np.where(self.matched, rows, 3 * len(self))[::-1])[::-1]
        return np.asarray(np.where(rows - before <= after - rows, before, after), dtype=np.int64)

    def shown_frames(self) -> npt.NDArray[np.int64]:
        """Clip frame per ref frame (N,) when unmatched frames hold the nearest matched one's; -1 when nothing matches."""
        nearest = self.nearest_matched()
        return np.where(nearest >= 0, self.clip_frame[nearest], UNMATCHED)

    def to_csv(self, path: Path | str | None = None) -> str:
        """The map as CSV text, also written to ``path`` when given; ``clip_frame`` is empty when there is none.

        Floats are the shortest text that reads back as the same float32, so ``from_csv`` returns an equal map.
        """
        clip = np.where(self.matched, self.clip_frame.astype("U20"), "")
        labels = np.array([source.label for source in Source])[self.source]
        cells = (
            np.arange(len(self)),
            clip.tolist(),
            self.cost.astype("U32").tolist(),
            self.confidence.astype("U32").tolist(),
            labels,
        )
        lines = [",".join(COLUMNS)] + [
            f"{n},{c},{cost},{sure},{source}" for n, c, cost, sure, source in zip(*cells, strict=True)
        ]
        text = "\n".join(lines) + "\n"
        if path is not None:
            Path(path).write_text(text, encoding="utf-8", newline="\n")
        return text

    @classmethod
    def from_csv(cls, text: str, num_ref: int, num_clip: int) -> FrameMap:
        """Read what ``to_csv`` wrote or a user edited; rows in any order, one per ref frame.

        Only ``ref_frame`` and ``clip_frame`` are required (empty or -1 = unmatched). Where there is no ``source`` column the
        rows count as edited, with cost 0 and confidence 1. Raises InputError, one line, for anything that can't be read.
        """
        rows = csv.reader(text.removeprefix("\ufeff").splitlines(), quoting=csv.QUOTE_NONE)
        columns = _header_columns(next(_lines(rows), []))
        clip_frame = np.full(num_ref, UNMATCHED, np.int64)
        cost, confidence = np.zeros(num_ref, np.float32), np.zeros(num_ref, np.float32)
        source = np.full(num_ref, Source.UNMATCHED, np.uint8)
        line_of_row = np.zeros(num_ref, np.int64)
        for cells in _lines(rows):
            if not cells:
                continue
            line = rows.line_num
            if len(cells) != len(columns):
                raise InputError(f"frame map line {line}: {len(cells)} cells; the header names {len(columns)} columns")
            row = dict(zip(columns, cells, strict=True))
            n = _frame(row["ref_frame"], num_ref, "ref_frame", line)
            if n < 0:
                raise InputError(f"frame map line {line}: ref_frame is {row['ref_frame']!r}; accepted is 0 to {num_ref - 1}")
            if line_of_row[n]:
                raise InputError(
                    f"frame map line {line}: ref_frame {n} was given on line {line_of_row[n]} already; one row each is accepted"
                )
            line_of_row[n] = line
            clip_frame[n] = _frame(row["clip_frame"], num_clip, "clip_frame", line)
            found = clip_frame[n] >= 0
            source[n] = _source(row.get("source", ""), bool(found), line)
            cost[n] = _number(row.get("cost") or "0", float("inf"), "cost", line)
            confidence[n] = _number(row.get("confidence") or ("1" if found else "0"), 1.0, "confidence", line)
        missing = np.flatnonzero(line_of_row == 0)
        if len(missing):
            raise InputError(
                f"frame map line {rows.line_num}: the end, and ref_frame {missing[0]} has no row ({len(missing)} missing); "
                f"accepted is one row for each of {num_ref} ref frames"
            )
        return cls(clip_frame, cost, confidence, source)


def _lines(rows: Any) -> Iterator[list[str]]:
    try:
        yield from rows
    except csv.Error as error:
        raise InputError(f"frame map line {rows.line_num}: not a line of a CSV ({error})") from None


def _header_columns(header: Sequence[str]) -> list[str]:
    columns = [name.strip() for name in header]
    for needed in COLUMNS[:2]:
        if needed not in columns:
            raise InputError(
                f"frame map line 1: column {needed} is missing, seen {','.join(columns)!r}; accepted is {','.join(COLUMNS)}"
            )
    if len(set(columns)) != len(columns):
        raise InputError(f"frame map line 1: a column is named twice in {','.join(columns)!r}; accepted is {','.join(COLUMNS)}")
    return columns


def _frame(cell: str, count: int, column: str, line: int) -> int:
    """A frame number below ``count``, or -1 for an empty cell or -1."""
    try:
        frame = int(cell) if cell.strip() else UNMATCHED
    except ValueError:
        frame = UNMATCHED - 1
    if UNMATCHED <= frame < count:
        return frame
    raise InputError(
        f"frame map line {line}: {column} is {cell!r}; accepted is 0 to {count - 1}, or empty for a clip frame that is missing"
    )


def _number(cell: str, most: float, column: str, line: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = -1.0
    if 0.0 <= value <= most:
        return value
    raise InputError(f"frame map line {line}: {column} is {cell!r}; accepted is a number from 0{'' if most > 1 else ' to 1'}")


def _source(cell: str, found: bool, line: int) -> Source:
    """The row's source; a row whose clip frame was taken out or put in by hand is corrected to what it now is."""
    label = cell.strip().lower()
    if label and label not in _SOURCE_OF_LABEL:
        raise InputError(f"frame map line {line}: source is {cell!r}; accepted is {', '.join(_SOURCE_OF_LABEL)}")
    source = _SOURCE_OF_LABEL.get(label, Source.EDITED)
    if found:
        return Source.EDITED if source is Source.UNMATCHED else source
    return source if source is Source.FALLBACK else Source.UNMATCHED
