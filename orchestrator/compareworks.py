"""PURE: the solve's map + settings -> units that compare pictures by a metric, and the one that chooses the frame map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.config import JobConfig
from orchestrator.inputs import Inputs
from orchestrator.plan import Plan
from orchestrator.works import content_digest, digest, identity, versions
from tasks.damage import over_damage
from tasks.messages import MetricSettings
from tasks.work import CHOOSE_ABI, COMPARE_ABI, ChooseWork, CompareWork, Record
from tasks.work import Inputs as WorkInputs
from vsalign.framemap import FrameMap
from vsalign.frames import FrameRange


def compare_works(
    plan: Plan, inputs: Inputs, config: JobConfig, solved: FrameMap, film_geometry: tuple[float, ...], job_dir: str
) -> list[CompareWork]:
    """One unit per chunk of ref frames, each against the clip frames within ``sync.tr`` of those that ``solved`` gives it.

    Raises ValueError without a metric.
    """
    metric = _metric_of(inputs)
    shared = {
        "abi": str(COMPARE_ABI),
        **_common(inputs, config, metric),
        "film geometry": " ".join(map(str, film_geometry)),
        **versions("av", "ffmpeg", "numpy", "torch", "numba"),
    }
    if metric.precision == 1:
        # Which costs are worked out in full depends on what is chosen of them; of the other metrics always the same.
        shared["sync.select"] = config.sync.select
    common = CompareWork(
        name="",
        job_dir=job_dir,
        inputs=shared,
        num_frames=0,
        ref_frames=FrameRange(0, 0),
        expected=(),
        film_geometry=film_geometry,
        tr=config.sync.tr,
        metric=metric,
        select=config.sync.select,
        device=config.run.device if metric.precision == 3 else "cpu",
        read=over_damage(config.read_settings()),
        # In this process the plugin may use the whole machine, on a cluster what its worker has booked.
        threads=config.run.cores_per_worker if config.run.pool == "ray" else 0,
    )
    return [_compare_work(common, index, frames, solved) for index, frames in enumerate(c.ref_frames for c in plan.chunks)]


def choose_work(
    inputs: Inputs,
    config: JobConfig,
    works: Sequence[CompareWork],
    compared: Mapping[str, Record],
    solved: Record,
    job_dir: str,
) -> ChooseWork:
    """The one unit that turns the costs of all ``works`` (``compared``: records by unit name) into the frame map; ``solved`` is
    the record of the solve's map."""
    return ChooseWork(
        name="choose",
        job_dir=job_dir,
        inputs={
            "abi": str(CHOOSE_ABI),
            **_common(inputs, config, _metric_of(inputs)),
            "sync.select": config.sync.select,
            "solve": solved.fingerprint,
            "costs": content_digest(compared[work.name] for work in works),
            **versions("numpy", "numba"),
        },
        num_frames=len(inputs.ref.index),
        solved_blob=solved.blob,
        cost_blobs=tuple(compared[work.name].blob for work in works),
        tr=config.sync.tr,
        select=config.sync.select,
    )


def _compare_work(common: CompareWork, index: int, frames: FrameRange, solved: FrameMap) -> CompareWork:
    expected = solved.clip_frame[frames.start : frames.stop]
    return replace(
        common,
        name=f"compare-{index:05d}",
        inputs={**common.inputs, "frames": str(frames), "expected frames": digest(expected)},
        num_frames=len(frames),
        ref_frames=frames,
        expected=tuple(expected.tolist()),
    )


def _common(inputs: Inputs, config: JobConfig, metric: MetricSettings) -> WorkInputs:
    return {
        "clip": identity(inputs.clip.info),
        "ref": identity(inputs.ref.info),
        "sync.precision": str(metric.precision),
        "sync.tr": str(config.sync.tr),
        "metric": str(metric),
    }


def _metric_of(inputs: Inputs) -> MetricSettings:
    if inputs.metric is None:
        raise ValueError("nothing to compare by: the job was planned without a metric")
    return inputs.metric
