"""PURE: plan + settings (+ frame map) -> units of work, each with all that its fingerprint depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace

import numpy as np
import numpy.typing as npt

from orchestrator.config import JobConfig
from orchestrator.inputs import Inputs
from orchestrator.plan import Bounds, Chunk, Plan, Scan, expected_clip_frames, make_plan
from tasks.commit import library_versions
from tasks.damage import over_damage
from tasks.messages import MediaInfo, ReadSettings
from tasks.work import RENDER_ABI, SAME_PICTURE, SCAN_ABI, SOLVE_ABI, Record, RenderWork, ScanWork, SolveWork
from tasks.work import Inputs as WorkInputs
from vsalign.framemap import FrameMap
from vsalign.frames import FrameRange
from vsalign.thumb import SIGNATURE_BYTES, THUMB_HEIGHT, THUMB_WIDTH


def plan_job(config: JobConfig, inputs: Inputs, bounds: Bounds) -> tuple[Plan, npt.NDArray[np.int64]]:
    """The plan of a job cut at ``bounds``, and the clip frame (N,) expected at each ref frame before sync."""
    clip, ref = inputs.clip.index, inputs.ref.index
    expected = expected_clip_frames(clip, ref, config.sync.offset if config.sync.mode == "offset" else 0)
    return make_plan(clip, ref, bounds, expected, config.sync.tr, config.align.radius), expected


def scan_works(plan: Plan, inputs: Inputs, config: JobConfig, job_dir: str) -> list[ScanWork]:
    """One unit per scan of clip and ref."""
    infos = {"clip": inputs.clip.info, "ref": inputs.ref.info}
    read = over_damage(config.read_settings())
    return [_scan_work(scan, infos[scan.role], job_dir, read) for scan in plan.scans]


def solve_work(plan: Plan, inputs: Inputs, config: JobConfig, scans: Mapping[str, Record], job_dir: str) -> SolveWork:
    """The one unit that turns all ``scans`` (records by unit name) into the frame map."""
    settings = config.sync.settings()
    return SolveWork(
        name="solve",
        job_dir=job_dir,
        inputs={
            "abi": str(SOLVE_ABI),
            "signature": f"{THUMB_WIDTH}x{THUMB_HEIGHT} {SIGNATURE_BYTES}",
            "clip": identity(inputs.clip.info),
            "ref": identity(inputs.ref.info),
            "sync.tr": str(settings.temporal_radius),
            "scans": content_digest(scans[_scan_name(scan)] for scan in plan.scans),
            **versions("numpy"),
        },
        num_frames=len(inputs.ref.index),
        clip_blobs=tuple(scans[_scan_name(scan)].blob for scan in plan.scans if scan.role == "clip"),
        ref_blobs=tuple(scans[_scan_name(scan)].blob for scan in plan.scans if scan.role == "ref"),
        settings=settings,
    )


def render_works(
    plan: Plan,
    inputs: Inputs,
    config: JobConfig,
    frame_map: FrameMap,
    job_dir: str,
    film_geometry: tuple[float, ...] = SAME_PICTURE,
) -> list[RenderWork]:
    """One unit per chunk, with the clip frames that ``frame_map`` gives it."""
    aligned_to, clip_frames = shown(frame_map, config.align.unmatched)
    common = RenderWork(
        name="",
        job_dir=job_dir,
        inputs={**_render_inputs(inputs, config), **_warp_inputs(inputs, config, film_geometry)},
        num_frames=0,
        ref_frames=FrameRange(0, 0),
        aligned_to=(),
        clip_frames=(),
        pairs=(),
        film_geometry=film_geometry,
        align=config.align.settings(inputs.weights),
        encode=config.encode.settings(),
        video=inputs.video,
        pixel_format=inputs.pixel_format,
        masked=inputs.mask is not None and config.align.warp,
        device=config.run.device,
        read=config.read_settings(),
    )
    return [_render_work(common, chunk, aligned_to, clip_frames, frame_map, config.align.radius) for chunk in plan.chunks]


def shown(frame_map: FrameMap, unmatched: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Per ref frame (N,): the ref frame whose geometry counts and the clip frame shown, -1 for the substitute.

    Under "hold" an unmatched frame repeats, pixel for pixel, what its nearest matched neighbour shows.
    """
    if unmatched != "hold" or not frame_map.matched.any():
        return np.arange(len(frame_map), dtype=np.int64), frame_map.clip_frame
    return frame_map.nearest_matched(), frame_map.shown_frames()


def window_rows(centres: npt.NDArray[np.int64], frame_map: FrameMap, radius: int) -> npt.NDArray[np.int64]:
    """The matched ref frames within ``radius`` of any of ``centres`` (ascending, matched), ascending."""
    if not len(centres):
        return centres
    first, stop = max(int(centres[0]) - radius, 0), min(int(centres[-1]) + radius + 1, len(frame_map))
    edges = np.zeros(stop - first + 1, np.int64)
    np.add.at(edges, np.maximum(centres - radius - first, 0), 1)
    np.add.at(edges, np.minimum(centres + radius + 1, stop) - first, -1)
    near = np.cumsum(edges[:-1]) > 0
    return np.flatnonzero(near & (frame_map.clip_frame[first:stop] >= 0)) + first


def _scan_work(scan: Scan, info: MediaInfo, job_dir: str, read: ReadSettings) -> ScanWork:
    return ScanWork(
        name=_scan_name(scan),
        job_dir=job_dir,
        inputs={
            "abi": str(SCAN_ABI),
            "source": identity(info),
            "frames": str(scan.frames),
            "signature": f"{THUMB_WIDTH}x{THUMB_HEIGHT} {SIGNATURE_BYTES}",
            **versions("av", "ffmpeg"),
        },
        num_frames=len(scan.frames),
        role=scan.role,
        frames=scan.frames,
        read=read,
    )


def _render_work(
    common: RenderWork,
    chunk: Chunk,
    aligned_to: npt.NDArray[np.int64],
    clip_frames: npt.NDArray[np.int64],
    frame_map: FrameMap,
    radius: int,
) -> RenderWork:
    rows = slice(chunk.ref_frames.start, chunk.ref_frames.stop)
    here = (aligned_to[rows], clip_frames[rows])
    own = np.unique(here[0][here[1] >= 0])
    window = window_rows(own, frame_map, radius)
    halo = np.setdiff1d(window, own, assume_unique=True)
    rows_used = {"frame map": digest(*here), "frame map halo": digest(halo, frame_map.clip_frame[halo]) if len(halo) else ""}
    return replace(
        common,
        name=f"render-{chunk.index:05d}",
        inputs={**common.inputs, "frames": str(chunk.ref_frames), **rows_used},
        num_frames=len(chunk.ref_frames),
        ref_frames=chunk.ref_frames,
        aligned_to=tuple(here[0].tolist()),
        clip_frames=tuple(here[1].tolist()),
        pairs=tuple(zip(window.tolist(), frame_map.clip_frame[window].tolist(), strict=True)),
    )


def _warp_inputs(inputs: Inputs, config: JobConfig, film_geometry: tuple[float, ...]) -> WorkInputs:
    """What is looked at only where frames are warped."""
    if not config.align.warp:
        return {}
    mask = {"mask": f"{inputs.mask_sha256}#v:{inputs.mask.info.source.video_stream}"} if inputs.mask else {}
    weights = {"weights": inputs.weights_sha256} if inputs.weights_sha256 else {}
    return {"film geometry": " ".join(map(str, film_geometry)), **mask, **weights}


def _render_inputs(inputs: Inputs, config: JobConfig) -> WorkInputs:
    """What all chunks share. Keys read like the job file's, for they are shown when a chunk is stale."""
    # Weights count by their hash, wherever they lie.
    align = {f"align.{key}": str(value) for key, value in asdict(config.align.settings()).items() if key != "weights"}
    encode = {f"encode.{key}": str(value) for key, value in asdict(config.encode.settings()).items()}
    video = {f"output {key}": str(value) for key, value in asdict(inputs.video).items()}
    fallback = {"fallback": identity(inputs.fallback.info)} if inputs.fallback else {}
    return {
        "abi": str(RENDER_ABI),
        "clip": identity(inputs.clip.info),
        "ref": identity(inputs.ref.info),
        "pixel format": inputs.pixel_format,
        **fallback,
        **align,
        **encode,
        **video,
        **versions("av", "ffmpeg", "numpy", "torch", "numba", "opencv"),
        "encoder version": library_versions().get(config.encode.settings().codec, ""),
    }


def _scan_name(scan: Scan) -> str:
    return f"scan-{scan.role}-{scan.index:05d}"


def identity(info: MediaInfo) -> str:
    """What a source counts as in fingerprints, wherever it lies."""
    turned = f" turned by {info.turned_degrees}" if info.turned_degrees else ""
    return f"{info.identity}#v:{info.source.video_stream}{turned}{info.fields.fingerprint}"


def versions(*names: str) -> WorkInputs:
    """The versions of libraries that a unit's result depends on."""
    here = library_versions()
    return {f"{name} version": here[name] for name in names}


def content_digest(records: Iterable[Record]) -> str:
    """A short hash of what the files of ``records`` hold: a unit made again, from a film that was repaired, may hold something
    else under the same fingerprint."""
    return hashlib.sha256("".join(record.sha256 for record in records).encode()).hexdigest()[:16]


def digest(*arrays: npt.NDArray[np.int64]) -> str:
    """A short hash of rows of numbers."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    return total.hexdigest()[:16]
