"""PURE: rough disk and time of a job before it runs; printed by ``plan`` and held against the free disk before ``render``."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.config import JobConfig
from orchestrator.inputs import Inputs
from vsalign.thumb import SIGNATURE_BYTES

#: Bits per pixel of ordinary film at the codec's default quality; grain may need twice as much.
BITS_PER_PIXEL = {
    **{"libx264": 0.25, "libx265": 0.15, "libsvtav1": 0.12, "ffv1": 6.0, "prores_ks": 4.5},
    **{"h264_nvenc": 0.3, "hevc_nvenc": 0.2, "av1_nvenc": 0.15},
}
DEFAULT_CRF = {"libx264": 16.0, "libx265": 18.0, "libsvtav1": 24.0, "h264_nvenc": 19.0, "hevc_nvenc": 21.0, "av1_nvenc": 28.0}
#: Million output pixels per second of one CPU core, measured on a 2-core server of 2023; expect half to double.
ALIGN_MPIX_PER_CORE_SECOND = {1: 6.0, 2: 2.5, 3: 0.8, 4: 0.4}
ENCODE_MPIX_PER_CORE_SECOND = {
    **{"libx264": 10.0, "libx265": 2.5, "libsvtav1": 4.0, "ffv1": 25.0, "prores_ks": 20.0},
    **dict.fromkeys(("h264_nvenc", "hevc_nvenc", "av1_nvenc"), 200.0),  # by the GPU; not measured
}
SCAN_MPIX_PER_CORE_SECOND = 200.0
#: By sync's precision: million pixels of a pair of frames per second of one CPU core, and how many pairs a ref frame has at
#: most (where signatures rank the clip frames first, few are left).
COMPARE_MPIX_PER_CORE_SECOND = {1: 4000.0, 2: 25.0, 3: 0.4}
MOST_COMPARED = {1: 2001, 2: 12, 3: 12}
#: Decoding both films once more and laying the clip onto the ref.
LAY_MPIX_PER_CORE_SECOND = 10.0
#: Bytes of a clip frame's number and cost, about half of which is left when they are stored.
COST_BYTES = 8


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes on disk while the job runs, and seconds of work by stage over ``num_workers`` workers."""

    segment_bytes: int
    scan_bytes: int
    output_bytes: int
    scan_seconds: float
    render_seconds: float
    compare_seconds: float = 0.0
    compare_bytes: int = 0
    sound_bytes: int = 0
    """Of the clip's sound, should it be laid on ref's time."""

    @property
    def job_dir_bytes(self) -> int:
        return self.segment_bytes + self.scan_bytes + self.compare_bytes + self.sound_bytes


def estimate(inputs: Inputs, config: JobConfig, num_workers: int, num_chunks: int = 1) -> Estimate:
    """What ``config`` will need, to within a factor of about two; engine "rife" on a CPU takes many times longer.

    Every cut between chunks has the pairs within the smoothing radius of it observed from both sides.
    """
    codec = config.encode.settings().codec
    frames = len(inputs.ref.index)
    mpix = inputs.video.width * inputs.video.height / 1e6
    segment_bytes = int(frames * mpix * 1e6 * _bits_per_pixel(codec, config.encode.settings().crf) / 8)
    synced = config.sync.mode == "auto"
    scan_frames = (len(inputs.clip.index) + frames) if synced else 0
    scan_mpix = sum(len(p.index) * p.info.width * p.info.height / 1e6 for p in (inputs.clip, inputs.ref)) if synced else 0.0
    render_seconds = frames * mpix / ENCODE_MPIX_PER_CORE_SECOND[codec]
    if config.align.warp:
        observed = frames + 2 * config.align.radius * (num_chunks - 1)
        render_seconds += observed * config.align.iterations * mpix / ALIGN_MPIX_PER_CORE_SECOND[config.align.precision]
    pairs = _compared_pairs(config) * frames
    compare_seconds = 0.0
    if pairs:
        compare_seconds = pairs * mpix / COMPARE_MPIX_PER_CORE_SECOND[config.sync.precision]
        compare_seconds += frames * mpix / LAY_MPIX_PER_CORE_SECOND
    sound_bytes = inputs.clip.info.size_bytes // 20 if inputs.choice.of("clip", "audio") else 0
    workers = max(num_workers * config.run.cores_per_worker, 1)
    return Estimate(
        segment_bytes=segment_bytes,
        scan_bytes=scan_frames * SIGNATURE_BYTES,
        output_bytes=segment_bytes + _copied_bytes(inputs) + sound_bytes,
        scan_seconds=scan_mpix / SCAN_MPIX_PER_CORE_SECOND / workers,
        render_seconds=render_seconds / workers,
        compare_seconds=compare_seconds / workers,
        compare_bytes=pairs * COST_BYTES,
        sound_bytes=sound_bytes,
    )


def _copied_bytes(inputs: Inputs) -> int:
    """All that ref has beside its picture, which is what most films of it get."""
    index = inputs.ref.coded or inputs.ref.index
    beside = max(inputs.ref.info.size_bytes - int(index.packet_bytes.sum()), 0)
    return beside if inputs.choice.of("ref") else 0


def _compared_pairs(config: JobConfig) -> int:
    """Clip frames that a metric compares with each ref frame; 0 where the signatures decide alone."""
    if config.sync.mode != "auto" or config.sync.precision not in MOST_COMPARED:
        return 0
    return min(2 * config.sync.tr + 1, MOST_COMPARED[config.sync.precision])


def _bits_per_pixel(codec: str, crf: float | None) -> float:
    """Six steps of CRF halve or double the size, by x264's own rule of thumb."""
    if crf is None or codec not in DEFAULT_CRF:
        return BITS_PER_PIXEL[codec]
    return BITS_PER_PIXEL[codec] * float(2 ** ((DEFAULT_CRF[codec] - crf) / 6))
