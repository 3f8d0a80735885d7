"""A reader that decodes on the GPU, and from the first thing that is not as it should be in software, without a word.

Frames come down as the GPU keeps them and are laid out as the software decoder would have: same samples, same planes. Which
frame is which, where decoding starts and what is damaged is all decided by the code that decodes in software.
"""

from __future__ import annotations

import av
from av.codec.context import ThreadType
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from tasks.decode import FrameReader
from tasks.decoder import GUESSED, Decoder
from tasks.errors import StorageError
from tasks.hwaccel import count_frame, gpu_is_here, note_fault, why_software
from tasks.messages import Probe, ReadSettings
from tasks.openfilm import open_stream
from tasks.packing import planar
from tasks.refusal import causes_of
from vsalign.errors import InputError

_DEVICE = "cuda"


class HardwareFault(Exception):
    """The GPU does not do it; software may."""


def gpu_reader(probe: Probe, read: ReadSettings) -> FrameReader | None:
    """A reader on the GPU, where the settings want one, this worker has one, and it gives the samples that software does."""
    if read.hwaccel == "none" or not gpu_is_here() or _DEVICE not in hwdevices_available() or why_software(probe.info):
        return None
    return GpuReader(probe, read)


class GpuReader(FrameReader):
    """As :class:`tasks.decode.FrameReader`, for pictures. Damage is judged in software alone: a frame that the GPU does not
    give whole is asked of software, as are all after it."""

    def __init__(self, probe: Probe, read: ReadSettings) -> None:
        super().__init__(probe, read=read)
        self._probe = probe
        self._decoder: Decoder = GpuDecoder(probe, self._plan, 1, {})
        self._on_gpu = True

    def _whole(self, number: int) -> av.VideoFrame | None:
        if not self._on_gpu:
            return super()._whole(number)
        try:
            if (found := super()._whole(number)) is not None:
                return found
            why = f"frame {number}: {self._damaged.pop(number, 'it does not come')}"
        except (HardwareFault, av.FFmpegError, InputError, StorageError) as error:
            why = str(error)
        self._fall_back(why)
        return super()._whole(number)

    def _fall_back(self, why: str) -> None:
        note_fault(str(self._info.source), why)
        self._on_gpu = False
        self._decoder.close()
        self._decoder, self._last = Decoder(self._probe, self._plan, 1, {}), None
        self._damaged.clear()
        self._keys_are_right = False


class GpuDecoder(Decoder):
    """A decoder on the GPU. Raises HardwareFault where it can't be had or gives something else than samples of the stream's
    format."""

    def _opened(self) -> tuple[InputContainer, VideoStream]:
        if self._container is None:
            try:
                hardware = HWAccel(_DEVICE, allow_software_fallback=False)
                self._container, self._stream = open_stream(self._info.source, self._info.version, hwaccel=hardware)
            except Exception as error:  # of drivers anything can come; the film's own faults show in software too
                raise HardwareFault(_reason(error)) from error
            self._stream.thread_count, self._stream.thread_type = 1, ThreadType.SLICE
        return super()._opened()

    def _decoded(self, packet: Packet[VideoStream], rank: int) -> list[av.VideoFrame]:
        return [self._brought_down(frame) for frame in super()._decoded(packet, rank)]

    def _brought_down(self, frame: av.VideoFrame) -> av.VideoFrame:
        number = self._number(frame.pts)
        if number is not None and frame.is_corrupt:
            self._note(int(self._index.packet[number]), GUESSED, hopeless=False)
        try:
            made = planar(frame, self._info.pixel_format)
        except ValueError as error:
            raise HardwareFault(str(error)) from error
        count_frame(str(self._info.source))
        return made


def _reason(error: Exception) -> str:
    """FFmpeg's own line on it, where it wrote one: "Could not dynamically load CUDA"."""
    logged = [log for cause in causes_of(error) if (log := getattr(cause, "log", None))]
    return " ".join(str(logged[0][2] if logged else error).split())
