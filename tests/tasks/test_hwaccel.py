"""Decoding on a GPU where there is none: which films would be, what comes when it fails, what is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from orchestrator.config import job_config
from orchestrator.decodereport import decoding_lines, summarise_decoding
from tasks import gpureader
from tasks.decode import FrameReader
from tasks.gpureader import GpuReader, gpu_reader
from tasks.hwaccel import decode_facts, gpu_is_here, read_of, why_software
from tasks.messages import AS_IT_IS, Probe, ReadSettings, Source
from tasks.openfilm import open_stream
from tasks.packing import planar
from tasks.probe import probe
from tasks.reading import open_reader
from tests.factories import inputs_of, probe_of, record
from tests.synth import OPEN_GOP_H264, Video, make_film, picture_hash
from vsalign.errors import InputError

without_gpu = pytest.mark.skipif(gpu_is_here(), reason="this machine has a GPU")


def info(codec: str, pixel_format: str) -> object:
    return replace(probe_of("x").info, codec=codec, pixel_format=pixel_format)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "why"),
    [
        ("h264", "yuv420p", ""),
        ("h264", "yuvj420p", ""),
        ("h264", "yuv420p10le", "no NVDEC for h264 4:2:0 of 10 bits"),
        ("h264", "yuv422p", "no NVDEC for h264 4:2:2 of 8 bits"),
        ("h264", "gray", "no NVDEC for h264 gray"),
        ("hevc", "yuv420p10le", ""),
        ("hevc", "yuv420p12le", ""),
        ("hevc", "yuv444p12le", ""),
        ("hevc", "yuv422p10le", "no NVDEC for hevc 4:2:2 of 10 bits"),
        ("hevc", "gbrp", "no NVDEC for hevc rgb"),
        ("vp9", "yuv420p", ""),
        ("vp9", "yuv444p", "no NVDEC for vp9 4:4:4 of 8 bits"),
        ("mpeg2video", "yuv420p", "its standard lets decoders differ"),
        ("mpeg4", "yuv420p", "its standard lets decoders differ"),
        ("mjpeg", "yuvj420p", "its standard lets decoders differ"),
        ("av1", "yuv420p", "its decoder here has no hardware"),
        ("prores", "yuv422p10le", "no NVDEC for prores"),
        ("ffv1", "yuv420p", "no NVDEC for ffv1"),
    ],
)
def test_only_what_a_standard_fixes_to_the_sample_is_decoded_on_the_gpu(codec: str, pixel_format: str, why: str) -> None:
    assert why_software(info(codec, pixel_format)) == why  # type: ignore[arg-type]


def test_only_films_that_were_scanned_are() -> None:
    read = ReadSettings(hwaccel="auto")
    assert read_of("clip", read) == read_of("ref", read) == read
    assert read_of("mask", read).hwaccel == read_of("fallback", read).hwaccel == "none"


@pytest.mark.parametrize(
    ("tables", "wanted"),
    [
        ({}, "auto"),
        ({"run": {"hwaccel": "none"}}, "none"),
        ({"run": {"device": "cpu"}}, "none"),
        ({"decode": {"on_corrupt": "repeat"}}, "none"),
        ({"sync": {"mode": "none"}}, "none"),
    ],
)
def test_damage_that_a_gpu_would_hide_was_looked_for_before(tables: dict[str, object], wanted: str) -> None:
    config = job_config({"clip": "a", "ref": "b", "out": "c.mkv", **tables}, "x")
    assert config.read_settings().hwaccel == wanted


@without_gpu
def test_without_a_gpu_nothing_is_tried(tmp_path: Path) -> None:
    found = probe(Source(str(make_film(tmp_path / "f.mkv"))))
    assert gpu_reader(found, ReadSettings()) is None
    assert type(open_reader(found)) is FrameReader


def a_gpu(monkeypatch: pytest.MonkeyPatch, is_there: bool = True) -> None:
    monkeypatch.setattr(gpureader, "gpu_is_here", lambda: is_there)


@pytest.mark.parametrize(
    ("read", "thumbs", "is_there", "tried"),
    [
        (ReadSettings(), False, True, True),
        (ReadSettings(), False, False, False),
        (ReadSettings(), True, True, False),
        (ReadSettings(hwaccel="none"), False, True, False),
    ],
)
def test_when_a_gpu_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: ReadSettings, thumbs: bool, is_there: bool, tried: bool
) -> None:
    a_gpu(monkeypatch, is_there)
    found = probe(Source(str(make_film(tmp_path / "f.mkv"))))
    assert isinstance(open_reader(found, read, only_thumbs=thumbs), GpuReader) == tried
    other = replace(found, info=replace(found.info, codec="mpeg2video"))
    assert type(open_reader(other, read)) is FrameReader


def hashes(reader: FrameReader, wanted: list[int]) -> list[str]:
    with reader:
        return [picture_hash(picture) for _, picture in reader.pictures(wanted)]


X265 = {"x265-params": "log-level=error:pools=1"}
FILMS = {
    "h264": Video(codec="libx264", options=OPEN_GOP_H264, num_frames=40),
    "hevc10": Video(codec="libx265", pixel_format="yuv420p10le", num_frames=24, options=X265),
    "hevc12": Video(codec="libx265", pixel_format="yuv444p12le", num_frames=24, options=X265),
}
WANTED = [0, 1, 2, 15, 16, 5, 23, 22, 7]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Probe]:
    folder = tmp_path_factory.mktemp("films")
    return {name: probe(Source(str(make_film(folder / f"{name}.mkv", video)))) for name, video in FILMS.items()}


@without_gpu
@pytest.mark.parametrize("film", FILMS)
def test_where_hardware_cannot_be_opened_software_gives_the_frames(films: dict[str, Probe], film: str) -> None:
    """The real thing: FFmpeg is asked for CUDA, and this machine has none."""
    found = films[film]
    assert hashes(GpuReader(found, AS_IT_IS), WANTED) == hashes(FrameReader(found), WANTED)
    facts = decode_facts("clip", found.info)
    assert facts == {"gpu_frames_clip": 0, "gpu_fault_clip": "Could not dynamically load CUDA"}
    assert not decode_facts("clip", found.info), "told once"


def as_the_gpu_has_it(frame: av.VideoFrame) -> av.VideoFrame:
    """A decoded frame as NVDEC's come down: chroma interleaved, deep samples at the upper end of 16 bits."""
    name = frame.format.name
    deep, full = name.endswith("le"), "444" in name
    made = av.VideoFrame(
        frame.width, frame.height, "yuv444p16le" if full else ("p016le" if "12" in name else "p010le") if deep else "nv12"
    )
    dtype = np.uint16 if deep else np.uint8
    shift = {"10": 6, "12": 4}.get(name[-4:-2], 0) if deep else 0
    planes = [
        np.frombuffer(p, dtype).reshape(-1, p.line_size // dtype().itemsize)[: p.height, : p.width] << shift
        for p in frame.planes
    ]
    rows = [np.frombuffer(p, dtype).reshape(-1, p.line_size // dtype().itemsize) for p in made.planes]
    if full:
        for into, plane in zip(rows, planes, strict=True):
            into[: plane.shape[0], : plane.shape[1]] = plane
    else:
        height, width = planes[0].shape
        rows[0][:height, :width] = planes[0]
        rows[1][: planes[1].shape[0], 0 : 2 * planes[1].shape[1] : 2] = planes[1]
        rows[1][: planes[2].shape[0], 1 : 2 * planes[2].shape[1] : 2] = planes[2]
    made.pts = frame.pts
    if frame.time_base is not None:
        made.time_base = frame.time_base
    return made


def stand_in_gpu(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[av.VideoFrame], av.VideoFrame] = as_the_gpu_has_it
) -> list[int]:
    """Hardware that decodes in software and hands frames out as a GPU does; counts them."""
    frames: list[int] = []
    monkeypatch.setattr(gpureader, "HWAccel", lambda *args, **options: None)
    monkeypatch.setattr(gpureader, "open_stream", lambda source, version, hwaccel: open_stream(source, version))

    def brought_down(frame: av.VideoFrame, pixel_format: str) -> av.VideoFrame:
        frames.append(frame.pts or 0)
        return planar(change(frame), pixel_format)

    monkeypatch.setattr(gpureader, "planar", brought_down)
    return frames


@pytest.mark.parametrize("film", FILMS)
def test_frames_of_a_gpu_are_laid_out_as_software_s(
    films: dict[str, Probe], monkeypatch: pytest.MonkeyPatch, film: str
) -> None:
    found, frames = films[film], stand_in_gpu(monkeypatch)
    assert hashes(GpuReader(found, AS_IT_IS), WANTED) == hashes(FrameReader(found), WANTED)
    assert decode_facts("ref", found.info) == {"gpu_frames_ref": len(frames)} and frames


@pytest.mark.parametrize("after", [0, 9])
@pytest.mark.parametrize(
    "error",
    [av.error.ExternalError(1, "CUDA_ERROR_UNKNOWN"), av.error.MemoryError(12, "out of surfaces"), ValueError("odd format")],
)
def test_whatever_fails_on_the_way_software_goes_on(
    films: dict[str, Probe], monkeypatch: pytest.MonkeyPatch, error: Exception, after: int
) -> None:
    given = list[int]()

    def fails(frame: av.VideoFrame) -> av.VideoFrame:
        given.append(1)
        if len(given) > after:
            raise error
        return as_the_gpu_has_it(frame)

    stand_in_gpu(monkeypatch, fails)
    found = films["h264"]
    assert hashes(GpuReader(found, AS_IT_IS), WANTED) == hashes(FrameReader(found), WANTED)
    facts = decode_facts("clip", found.info)
    assert facts["gpu_frames_clip"] == after and str(facts["gpu_fault_clip"])


def test_a_gpu_that_leaves_frames_out_is_not_believed(films: dict[str, Probe], monkeypatch: pytest.MonkeyPatch) -> None:
    found = films["h264"]
    stand_in_gpu(monkeypatch)
    monkeypatch.setattr(gpureader.GpuDecoder, "_decoded", lambda self, packet, rank: [])
    assert hashes(GpuReader(found, AS_IT_IS), [3, 4]) == hashes(FrameReader(found), [3, 4])
    assert "frame 3" in str(decode_facts("clip", found.info)["gpu_fault_clip"])


@pytest.mark.parametrize(
    ("name", "wanted"), [("nv12", "yuv420p10le"), ("p010le", "yuv420p"), ("rgb24", "yuv420p"), ("nv12", "yuv444p")]
)
def test_a_format_that_does_not_hold_the_stream_s_samples_is_refused(name: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"frames came as {name}, expected {wanted}"):
        planar(av.VideoFrame(64, 64, name), wanted)


def test_a_missing_film_is_told_as_by_software(
    tmp_path: Path, films: dict[str, Probe], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = replace(films["h264"], info=replace(films["h264"].info, source=Source(str(tmp_path / "gone.mkv"))))
    with pytest.raises(InputError, match="no such file"):
        hashes(GpuReader(gone, AS_IT_IS), [0])
    decode_facts("clip", gone.info)


# --- the report


def made(**facts: int | str) -> object:
    return record(device="cuda", facts=facts)


def test_the_report_says_in_one_line_what_was_decoded_where() -> None:
    inputs = inputs_of()
    ref = replace(inputs.ref, info=replace(inputs.ref.info, pixel_format="yuv422p"))
    inputs = replace(inputs, ref=ref)
    found = summarise_decoding([made(gpu_frames_clip=40), made(gpu_frames_clip=50)], inputs, True)  # type: ignore[list-item]
    assert found == {
        "clip": {"gpu_frames": 90, "why": ""},
        "ref": {"gpu_frames": 0, "why": "no NVDEC for h264 4:2:2 of 8 bits"},
    }
    assert decoding_lines(found) == ["decoded   on the GPU: clip; in software: ref (no NVDEC for h264 4:2:2 of 8 bits)"]


def test_the_report_counts_chunks_that_fell_back() -> None:
    records = [
        made(gpu_frames_clip=40, gpu_frames_ref=40),
        made(gpu_frames_clip=3, gpu_fault_clip="CUDA_ERROR", gpu_frames_ref=40),
    ]
    (line,) = decoding_lines(summarise_decoding(records, inputs_of(), True))  # type: ignore[arg-type]
    assert line == "decoded   on the GPU: clip, ref; in software: clip (in 1 of 2 chunks: CUDA_ERROR)"


def test_the_report_is_silent_where_no_gpu_was_there_or_none_was_wanted() -> None:
    assert summarise_decoding([record(facts={})], inputs_of(), True) == {}
    assert summarise_decoding([made(gpu_frames_clip=40)], inputs_of(), False) == {}  # type: ignore[list-item]
    assert decoding_lines({}) == []
