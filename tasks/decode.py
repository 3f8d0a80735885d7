"""Frame numbers -> pictures, each equal to what linear decoding of the whole file gives."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain
from types import TracebackType

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from tasks.damage import Replaced, seconds_of
from tasks.decoder import ABSENT, Decoder
from tasks.errors import DamagedFrame
from tasks.formats import planar_format
from tasks.messages import AS_IT_IS, Probe, ReadSettings
from tasks.pictures import picture_of, thumb_of
from tasks.seekplan import FILE_START, SeekPlan
from vsalign.frames import FrameRange
from vsalign.picture import Picture

__all__ = ["FrameReader", "picture_of"]

_KEPT_PICTURES = 2
#: Where a start gives no right picture, try again this many key frames earlier.
_EARLIER_STARTS = (0, 1, 4)


class FrameReader:
    """Reads one video stream by frame number; a context manager, one decoder, memory independent of the film's length.

    ``read.on_corrupt`` says what becomes of damaged frames: an error, or the last whole frame before. Which frames are damaged
    is a matter of the file alone, wherever reading begins; ``replaced`` tells of those that were asked for. ``threads`` are the
    decoder's; the pictures don't depend on them. With ``only_thumbs`` frames that no other frame is predicted from go without
    the codec's deblocking: :meth:`thumbs` hardly sees it and comes sooner, the rest is refused.
    """

    def __init__(self, probe: Probe, threads: int = 1, *, only_thumbs: bool = False, read: ReadSettings = AS_IT_IS) -> None:
        self._info, self._index, self._read, self._only_thumbs = probe.info, probe.index, read, only_thumbs
        self._plan = SeekPlan.of(probe.index, probe.info.codec)
        # Of frames that others are predicted from all must be right: errors would add up and depend on the key frame.
        options = {"skip_loop_filter": "noref"} if only_thumbs else {}
        self._decoder = Decoder(probe, self._plan, max(1, threads), options)
        self._kept: OrderedDict[int, Picture] = OrderedDict()
        self._last: tuple[int, av.VideoFrame] | None = None
        self._damaged: dict[int, str] = {}
        self._keys_are_right = False
        self._reformatter = VideoReformatter()
        self.replaced: dict[int, Replaced] = {}

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and forget all pictures; reading again opens it anew."""
        self._kept.clear()
        self._last = None
        self._decoder.close()

    def pictures(self, wanted: Iterable[int]) -> Iterator[tuple[int, Picture]]:
        """(frame number, picture) for each wanted number, in the order asked; ascending numbers cost one pass.

        Raises as :meth:`frame`, and ValueError from a reader of thumbs alone.
        """
        if self._only_thumbs:
            raise ValueError("this reader was opened for thumbs alone, accepted is one without only_thumbs")
        for frame in wanted:
            if frame not in self._kept:
                self._keep(frame, self.picture(self.frame(frame)))
            self._kept.move_to_end(frame)
            yield frame, self._kept[frame]

    def thumbs(self, frames: FrameRange, width: int, height: int) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        """(frame number, luma (height, width) uint8, 0 black to 255 white) of a run of frames, averaged down by area."""
        for frame in frames:
            yield frame, self.thumb(self.frame(frame), width, height)

    def thumb(self, frame: av.VideoFrame, width: int, height: int) -> npt.NDArray[np.uint8]:
        """Luma (height, width) uint8 of a decoded frame of this stream, as :meth:`thumbs` gives it."""
        return thumb_of(frame, self._info.colour, self._reformatter, width, height)

    def picture(self, frame: av.VideoFrame) -> Picture:
        """A decoded frame of this stream as :meth:`pictures` gives it. One of another pixel format than the first (a gray
        picture in an image sequence, say) is brought to that one."""
        return picture_of(frame, self._info.colour, self._reformatter, planar_format(self._info.pixel_format))

    def frame(self, number: int) -> av.VideoFrame:
        """Frame ``number`` as the decoder gives it, or the one shown in its place; not to be written to, for the decoder may
        predict others from it.

        Raises IndexError for a number outside the index, DamagedFrame where the settings want no other frame shown.
        """
        if not 0 <= number < len(self._index):
            raise IndexError(f"{self._info.source}: frame {number} is outside [0, {len(self._index)})")
        found = self._whole(number)
        if found is not None:
            return found
        why = self._damaged[number]
        instead = self._instead(number) if self._read.on_corrupt == "repeat" else None
        if instead is None:
            path, seconds = str(self._info.source), seconds_of(self._index, number)
            raise DamagedFrame(path, number, why, seconds, self._read.on_corrupt)
        shown, frame = instead
        self.replaced[number] = Replaced(shown, why)
        return frame

    def _keep(self, frame: int, picture: Picture) -> None:
        self._kept[frame] = picture
        while len(self._kept) > _KEPT_PICTURES:
            self._kept.popitem(last=False)

    def _instead(self, number: int) -> tuple[int, av.VideoFrame] | None:
        """The last whole frame before ``number``, at the film's start the first behind it; None where there is none."""
        before = self.replaced.get(number - 1)
        last = before.shown if before and before.shown < number else number - 1
        for other in chain(range(last, -1, -1), range(number + 1, len(self._index))):
            if (frame := self._whole(other)) is not None:
                return other, frame
        return None

    # --- from frame number to decoded frame

    def _whole(self, number: int) -> av.VideoFrame | None:
        """The decoded frame; None for a damaged one, which ``_damaged`` then names.

        It is judged by what comes when decoding begins at its own key frame, or at earlier ones where that does not give it.
        Going on from the frame before is as good as long as no damage was met on the way.
        """
        if self._last is not None and self._last[0] == number:
            return self._last[1]
        if number in self._damaged:
            return None
        found = self._by_going_on(number)
        if found is None and number not in self._damaged:
            if self._decoder.is_harmed and self._decoder.threads > 1:
                self._decoder.close()
                self._decoder.threads = 1  # only so is it known which packet is damaged
            found = self._by_starting_anew(number)
        if found is not None:
            self._last = number, found
        return found

    def _by_going_on(self, number: int) -> av.VideoFrame | None:
        decoder, rank = self._decoder, self._index.packet[number]
        if decoder.next_frame is None or self._plan.worth_seeking(number, decoder.next_frame):
            return None
        found = self._run_to(number)
        if decoder.damaged_from == rank and number in decoder.hopeless:
            self._damaged[number] = decoder.damage[number]
        return found if decoder.damaged_from > rank or decoder.start == self._plan.start_key(number) else None

    def _by_starting_anew(self, number: int) -> av.VideoFrame | None:
        decoder, why, is_harmed = self._decoder, ABSENT, False
        keys = {self._plan.start_key(number, earlier): None for earlier in _EARLIER_STARTS}
        for start in (*keys, *(() if FILE_START in keys else (FILE_START,))):
            # Key frames that are none show in what does not come, with nothing damaged: then all has to be decoded. Once.
            if start == FILE_START and FILE_START not in keys and (is_harmed or self._keys_are_right):
                break
            if (known := decoder.known_doubt(start, number)) is not None:
                why, is_harmed = known[0], is_harmed or known[1]
                continue
            if not decoder.begin(start):
                continue
            if (found := self._run_to(number)) is not None:
                return found
            why, is_harmed = decoder.damage.get(number, ABSENT), is_harmed or decoder.is_harmed
            if number in decoder.hopeless:
                break
            self._keys_are_right |= start == FILE_START
        self._damaged[number] = why
        return None

    def _run_to(self, number: int) -> av.VideoFrame | None:
        """The frame if it comes undamaged."""
        found = self._decoder.run_to(number)
        return None if number in self._decoder.damage else found
