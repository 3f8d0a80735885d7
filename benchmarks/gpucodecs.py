"""What a GPU must do before it decodes or encodes for us: the frames of software, and segments that join.

    python benchmarks/gpucodecs.py

Decoding: films of H.264, HEVC (8 and 10 bits) and VP9 are made here, read whole and from chunk starts through the GPU's reader,
and compared by hash with the same frames from software. NVENC: each codec that opens encodes the same pictures twice; the bytes
must repeat, headers of different pictures agree, and the pictures come back at 35 dB or more. ``bash benchmarks/gpu.sh`` runs
this too. Exit status 1 where something that a GPU claims to do differs; what it does not claim is only said.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from tasks.builds import no_hardware_decoding, why_not
from tasks.decode import FrameReader
from tasks.encode import SegmentWriter, choose_pixel_format
from tasks.formats import planar_format
from tasks.gpureader import GpuReader
from tasks.hwaccel import decode_facts
from tasks.messages import AS_IT_IS, EncodeSettings, Probe, Source, VideoFormat
from tasks.probe import probe
from vsalign.picture import ColourTags, Picture

_WIDTH, _HEIGHT, _FRAMES = 640, 368, 90
_FILMS = (
    ("libx264", "yuv420p", {"x264-params": "keyint=30:bframes=3:open-gop=1"}),
    ("libx265", "yuv420p", {"x265-params": "keyint=30:log-level=none", "preset": "fast"}),
    ("libx265", "yuv420p10le", {"x265-params": "keyint=30:log-level=none", "preset": "fast"}),
    ("libx265", "yuv444p12le", {"x265-params": "keyint=30:log-level=none", "preset": "fast"}),
    ("libvpx-vp9", "yuv420p", {"g": "30", "deadline": "realtime", "cpu-used": "8"}),
)
_NVENC = ("h264_nvenc", "hevc_nvenc", "av1_nvenc")
#: Decibels between what went into an encoder and what comes out.
_LEAST_PSNR = 35.0
_VIDEO = VideoFormat(_WIDTH, _HEIGHT, Fraction(24), Fraction(1), ColourTags(1, 1, 1, 1, 1))


def main() -> int:
    if not torch.cuda.is_available():
        print("no GPU here: torch sees no CUDA device. Not checked: NVDEC against software, NVENC.")
        return 0
    print(f"{torch.cuda.get_device_name()}, decoding: {no_hardware_decoding() or 'usable'}\n")
    good = True
    with tempfile.TemporaryDirectory() as folder:
        print("| film | frames by the GPU | whole film, frames/s GPU / software | |\n|---|---|---|---|")
        for codec, name, options in _FILMS:
            good &= same_frames(Path(folder), codec, name, options)
        print("\n| encoder | frames/s | PSNR | bytes repeat | headers agree | |\n|---|---|---|---|---|---|")
        for codec in _NVENC:
            good &= encodes(Path(folder), codec)
    return 0 if good else 1


def same_frames(folder: Path, codec: str, name: str, options: dict[str, str]) -> bool:
    path = folder / f"{codec}-{name}.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=24, options=options)
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, name
        for n in range(_FRAMES):
            out.mux(stream.encode(_frame(name, n)))
        out.mux(stream.encode(None))
    found = probe(Source(str(path)))
    starts = [0, 7, 31, 44, 62]
    began = time.perf_counter()
    wanted = hashes(FrameReader(found), found, starts)
    software, began = time.perf_counter() - began, time.perf_counter()
    ours = hashes(GpuReader(found, AS_IT_IS), found, starts)
    gpu = time.perf_counter() - began
    facts = decode_facts("clip", found.info)
    fault, frames = str(facts.get("gpu_fault_clip", "")), int(facts.get("gpu_frames_clip", 0))
    same = ours == wanted
    verdict = ("the same" if frames and not fault else f"software: {fault}") if same else "DIFFERENT"
    print(f"| {codec} {name} | {frames} | {len(wanted) / gpu:.0f} / {len(wanted) / software:.0f} | {verdict} |", flush=True)
    return same


def hashes(reader: FrameReader, found: Probe, starts: list[int]) -> list[str]:
    """Of the whole film, then of ten frames from each of ``starts``."""
    wanted = [*range(len(found.index)), *(n for s in starts for n in range(s, min(s + 10, len(found.index))))]
    with reader:
        return [
            hashlib.sha256(b"".join(p.tobytes() for p in picture.planes)).hexdigest() for _, picture in reader.pictures(wanted)
        ]


def encodes(folder: Path, codec: str) -> bool:
    if why := why_not(codec):
        print(f"| {codec} | | | | | not usable: {why} |", flush=True)
        return True
    settings, good = EncodeSettings(codec=codec), True
    name, _ = choose_pixel_format(codec, "yuv420p10le")
    pictures = [_picture(name, n) for n in range(_FRAMES)]
    began = time.perf_counter()
    segments = [written(folder / f"{codec}-{k}.mkv", pictures, settings, name) for k in range(2)]
    speed = 2 * _FRAMES / (time.perf_counter() - began)
    other = written(folder / f"{codec}-other.mkv", pictures[40:50], settings, name)
    repeat = (folder / f"{codec}-0.mkv").read_bytes() == (folder / f"{codec}-1.mkv").read_bytes()
    alike = segments[0] == segments[1] == other
    found = probe(Source(str(folder / f"{codec}-0.mkv")))
    with FrameReader(found) as reader:
        error = np.mean(
            [_error(sent, seen) for sent, (_, seen) in zip(pictures, reader.pictures(found.index.whole), strict=True)]
        )
    peak = (1 << planar_format(name).bit_depth) - 1
    psnr = float(10 * np.log10(peak**2 / max(error, 1e-9)))
    good = repeat and alike and psnr >= _LEAST_PSNR
    print(f"| {codec} {name} | {speed:.0f} | {psnr:.1f} | {repeat} | {alike} | {'pass' if good else 'MISSED'} |", flush=True)
    return good


def written(path: Path, pictures: list[Picture], settings: EncodeSettings, name: str) -> str:
    """The header's hash of a segment with ``pictures``."""
    with SegmentWriter(str(path), _VIDEO, settings, name) as writer:
        for picture in pictures:
            writer.write(picture)
        return writer.close().header_sha256


def _error(sent: Picture, seen: Picture) -> float:
    return float(np.square(sent.planes[0].astype(np.float64) - seen.planes[0]).mean())


def _picture(name: str, number: int) -> Picture:
    """A drifting texture with a little noise."""
    layout, dice = planar_format(name), np.random.default_rng(number)
    planes = []
    for plane in range(layout.num_planes):
        width, height = layout.plane_size(plane, _WIDTH, _HEIGHT)
        x, y = np.arange(width)[None, :], np.arange(height)[:, None]
        light = 120 + 50 * np.sin((x + 3 * number) / 17) * np.cos((y - 2 * number) / 23) + dice.normal(0, 1.5, (height, width))
        codes = np.clip(light, 16, 235) * (1 << (layout.bit_depth - 8))
        planes.append(codes.astype(np.uint16 if layout.bit_depth > 8 else np.uint8))
    return replace(Picture(tuple(planes), layout), colour=_VIDEO.colour)


def _frame(name: str, number: int) -> av.VideoFrame:
    picture = _picture(name, number)
    frame = av.VideoFrame(_WIDTH, _HEIGHT, name)
    for plane, samples in zip(frame.planes, picture.planes, strict=True):
        rows = np.frombuffer(plane, samples.dtype).reshape(-1, plane.line_size // samples.dtype.itemsize)
        rows[: samples.shape[0], : samples.shape[1]] = samples
    frame.pts = number
    return frame


if __name__ == "__main__":
    sys.exit(main())
