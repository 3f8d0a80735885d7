"""What a segment is seen to hold when it is closed, and which seams of a film are looked at."""

from __future__ import annotations

import hashlib
from pathlib import Path

import av
import numpy as np
import pytest

from tasks import seams as seaming
from tasks.encode import SegmentWriter
from tasks.errors import SegmentMismatch, StitchError
from tasks.messages import EncodeSettings, VideoFormat
from tasks.seamplan import DIGITS, JoinedSegment, Seams, SegmentEnds, Shown, picked_places
from tasks.seams import frame_sha256, segment_ends
from tests.synth import painted
from tests.tasks.test_stitch import FAST, VIDEO
from vsalign.frames import FrameRange

CODECS = {"libx264": "yuv420p", "libx265": "yuv420p10le", "libsvtav1": "yuv420p", "ffv1": "gbrp", "prores_ks": "yuv422p10le"}
NUM = 31


def write(path: Path, codec: str, num_frames: int = NUM, video: VideoFormat = VIDEO, **options: str) -> Path:
    settings = EncodeSettings(codec, preset=FAST.get(codec, ""), options=tuple(options.items()))
    with SegmentWriter(str(path), video, settings, CODECS[codec]) as writer:
        for n in range(num_frames):
            writer.write(painted(n, video.width, video.height, CODECS[codec]))
        writer.close()
    return path


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("num_frames", [1, 2, NUM])
def test_the_ends_are_those_of_linear_decoding(tmp_path: Path, codec: str, num_frames: int):
    path = write(tmp_path / "s.mkv", codec, num_frames)
    with av.open(str(path)) as container:
        frames = [frame_sha256(frame) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    text = b"".join(f"{len(data)};".encode() + data for data in packets)
    assert segment_ends(str(path)) == SegmentEnds(frames[0], frames[-1], hashlib.sha256(text).hexdigest()[:DIGITS])


def test_only_the_last_group_of_pictures_is_decoded_for_the_last_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "s.mkv", "libx264", **{"x264-params": "keyint=10:min-keyint=10:scenecut=0"})
    decoded: list[int] = []
    real = seaming._decoded

    def counted(packets):
        for frame in real(packets):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(seaming, "_decoded", counted)
    segment_ends(str(path))
    assert len(decoded) == 2 and decoded[0] == 0, "frame 30 is a key frame"


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_segment_whose_end_does_not_decode_is_an_error(tmp_path: Path, codec: str):
    path = write(tmp_path / "s.mkv", codec)
    with av.open(str(path)) as container:
        last = [packet for packet in container.demux(video=0) if packet.size][-1]
        at, size = last.pos, last.size
    data = bytearray(path.read_bytes())
    where = data.rindex(bytes(last)[8:40])
    data[where - 8 : where + size - 8] = np.random.default_rng(1).bytes(size)
    path.write_bytes(data)
    assert at is not None
    with pytest.raises((SegmentMismatch, StitchError)):
        segment_ends(str(path))


def test_the_seams_looked_at_are_few_and_always_the_same():
    assert picked_places(5, None, "") == picked_places(5, 4, "") == [0, 1, 2, 3, 4, 5]
    picked = picked_places(1000, 32, "a film")
    assert len(picked) == 34 and picked == sorted(set(picked)) and (picked[0], picked[-1]) == (0, 1000)
    assert picked == picked_places(1000, 32, "a film") != picked_places(1000, 32, "another")
    assert picked_places(1, 32, "") == [0, 1]


def test_what_is_not_known_is_not_expected():
    frames = [FrameRange(0, 1), FrameRange(1, 5), FrameRange(5, 9)]
    seams = Seams("j", tuple(JoinedSegment(r, SegmentEnds(f"f{r.start}", f"l{r.start}", "p")) for r in frames))
    assert [seams.expected(place) for place in range(4)] == [{0: "f0"}, {0: "l0", 1: "f1"}, {4: "l1", 5: "f5"}, {8: "l5"}]
    assert seams.known() and Seams.from_json(seams.to_json()) == seams
    old = Seams("j", (JoinedSegment(frames[0], SegmentEnds.of_facts({"header_sha256": "h"})), *seams.segments[1:]))
    assert not old.known() and old.expected(1) == {1: "f1"}


def test_times_that_are_rounded_otherwise_belong_to_the_same_frame():
    shown = Shown(np.array([0, 42, 83, 84, 500]))
    assert [shown.number(pts) for pts in (-3, 1, 41, 43, 83, 84, 499, 800)] == [0, 0, 1, 1, 2, 3, 4, 4]
