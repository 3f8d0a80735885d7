"""Frames made of fields, by number: what :mod:`tasks.fieldplan` promises, on top of the reader of the file's own frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from types import TracebackType
from typing import Self

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from tasks.damage import Replaced
from tasks.decode import FrameReader
from tasks.errors import DecodeError
from tasks.fieldfilter import Filtered, Frames, Recent, bwdif, fieldmatch, planar, planar_name, samples
from tasks.fieldplan import CYCLE, Cycles
from tasks.messages import Probe
from vsalign.frames import FrameRange
from vsalign.picture import Picture

_KEPT_PICTURES = 2
#: A cycle, the frame before it and the one behind: nothing is filtered twice.
_KEPT_FRAMES = CYCLE + 3
#: Rows and columns of the blocks by which frames are compared, and the number of columns that suffice.
_BLOCK, _COLUMNS = 16, 320


class FieldReader:
    """Reads a source's filtered frames by number, as :class:`tasks.decode.FrameReader` reads those of a file.

    ``coded`` reads the frames of ``probe.coded`` and is closed with this one. Every frame is what filtering the whole film
    gives, wherever reading begins. ``replaced`` counts the file's own frames.
    """

    def __init__(self, coded: FrameReader, probe: Probe, *, only_thumbs: bool = False) -> None:
        assert probe.coded is not None
        fields, num_coded = probe.info.fields, len(probe.coded)
        self._coded = coded
        self._info, self._only_thumbs, self._num_frames = probe.info, only_thumbs, len(probe.index)
        self._reformatter = VideoReformatter()
        self._pictures = Recent(self._picture, _KEPT_PICTURES)
        frames, first = self._coded_frame, fields.top_field_first
        if fields.filter == "bwdif":
            self._frame: Frames = Filtered(frames, num_coded, bwdif(first)).frame
        else:
            self._frame = _Detelecined(frames, Cycles.of(probe.coded), num_coded, first).frame

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def replaced(self) -> Mapping[int, Replaced]:
        return self._coded.replaced

    def close(self) -> None:
        """Close the file and forget all pictures; reading again opens it anew."""
        self._pictures.clear()
        self._coded.close()

    def pictures(self, wanted: Iterable[int]) -> Iterator[tuple[int, Picture]]:
        """(frame number, picture) for each wanted number, in the order asked; ascending numbers cost one pass.

        Raises as :meth:`frame`, and ValueError from a reader of thumbs alone.
        """
        if self._only_thumbs:
            raise ValueError("this reader was opened for thumbs alone, accepted is one without only_thumbs")
        return ((frame, self._pictures.get(frame)) for frame in wanted)

    def thumbs(self, frames: FrameRange, width: int, height: int) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        """(frame number, luma (height, width) uint8, 0 black to 255 white) of a run of frames, averaged down by area."""
        return ((frame, self._coded.thumb(self.frame(frame), width, height)) for frame in frames)

    def frame(self, number: int) -> av.VideoFrame:
        """Filtered frame ``number``; IndexError for one outside the index, else what the reader of the file's frames raises,
        and InputError where the filter can't take a picture."""
        if not 0 <= number < self._num_frames:
            raise IndexError(f"{self._info.source}: frame {number} is outside [0, {self._num_frames})")
        return self._frame(number)

    def _picture(self, number: int) -> Picture:
        return self._coded.picture(self.frame(number))

    def _coded_frame(self, number: int) -> av.VideoFrame:
        """The file's own frame, refused where it is unlike the others: the filters take no change half way."""
        frame, info = planar(self._coded.frame(number), self._reformatter), self._info
        found = (frame.width, frame.height, frame.format.name)
        expected = (info.width, info.height, planar_name(info.pixel_format))
        if found != expected:
            was, began = ("{}x{} {}".format(*kind) for kind in (found, expected))
            raise DecodeError(str(info.source), number, f"it is {was}, the stream began as {began}")
        return frame


class _Detelecined:
    """Frames with their two fields together again, and without the repetitions."""

    def __init__(self, frames: Frames, cycles: Cycles, num_coded: int, top_field_first: bool) -> None:
        self._cycles = cycles
        self._matched = Recent(Filtered(frames, num_coded, fieldmatch(top_field_first)).frame, _KEPT_FRAMES)
        self._mended = Filtered(self._matched.get, num_coded, bwdif(top_field_first))
        self._repetitions = Recent(self._repetition, 2)

    def frame(self, number: int) -> av.VideoFrame:
        place = self._cycles.place(number)
        if place is None:
            return self._whole(int(self._cycles.rows[number]))
        first, at = place
        return self._whole(first + at + (at >= self._repetitions.get(first)))

    def _whole(self, row: int) -> av.VideoFrame:
        """Where no neighbour has the other half, it is made of the first one."""
        matched = self._matched.get(row)
        return self._mended.frame(row) if matched.interlaced_frame else matched

    def _repetition(self, first: int) -> int:
        """Which of the five frames from ``first`` on is most like the one before it."""
        lumas = [_luma(self._matched.get(row)) for row in range(max(0, first - 1), first + CYCLE)]
        apart = [_apart(before, after) for before, after in pairwise(lumas)]
        return min(range(len(apart)), key=apart.__getitem__) + CYCLE - len(apart)


def _luma(frame: av.VideoFrame) -> npt.NDArray[np.int32]:
    return samples(frame, 0)[:, :: max(1, frame.width // _COLUMNS)].astype(np.int32)


def _apart(before: npt.NDArray[np.int32], after: npt.NDArray[np.int32]) -> tuple[float, float]:
    """Mean difference where it is greatest, and on the whole: what moves in a small place tells frames apart."""
    apart = np.abs(after - before)
    rows, columns = (max(1, size // _BLOCK) for size in apart.shape)
    height, width = apart.shape[0] // rows, apart.shape[1] // columns
    blocks = apart[: rows * height, : columns * width].reshape(rows, height, columns, width).mean(axis=(1, 3))
    return float(blocks.max()), float(blocks.mean())
