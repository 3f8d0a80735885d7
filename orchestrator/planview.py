"""PURE: a plan as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from orchestrator.estimate import Estimate
from orchestrator.inputs import Inputs
from orchestrator.plan import Chunk, Plan
from vsalign.timecode import timecode

#: Tables longer than this show their ends only; --json has every row.
MAX_ROWS = 40


def plan_table(plan: Plan, inputs: Inputs, need: Estimate, num_workers: int) -> tuple[Table, str]:
    """The chunks as a table, and one paragraph of estimates."""
    table = Table(title=_title(plan, inputs), box=None, header_style="bold")
    for header in ("chunk", "ref frames", "from", "clip frames read", "clip packets", "MB"):
        table.add_column(header, no_wrap=True)
    shown = plan.chunks if len(plan.chunks) <= MAX_ROWS else (*plan.chunks[: MAX_ROWS // 2], *plan.chunks[-MAX_ROWS // 2 :])
    for chunk in shown:
        if shown is not plan.chunks and chunk.index == shown[MAX_ROWS // 2].index:
            table.add_row("...", f"{len(plan.chunks) - MAX_ROWS} more", "", "", "", "")
        table.add_row(*_row(chunk, inputs))
    halo = max(max(c.ref_frames.start - c.observed.start, c.observed.stop - c.ref_frames.stop) for c in plan.chunks)
    return table, _compared(plan, inputs, need) + _halo(halo) + _slower(inputs) + _estimates(need, num_workers)


def plan_json(plan: Plan, inputs: Inputs, need: Estimate, num_workers: int, fingerprints: Sequence[str]) -> dict[str, Any]:
    """Every chunk and scan; ranges are [start, stop). ``fingerprints``: of each chunk, were the map as expected."""
    return {
        "num_ref_frames": len(inputs.ref.index),
        "num_clip_frames": len(inputs.clip.index),
        "workers": num_workers,
        "chunks": [
            {
                "index": chunk.index,
                "ref_frames": [chunk.ref_frames.start, chunk.ref_frames.stop],
                "observed_ref_frames": [chunk.observed.start, chunk.observed.stop],
                "clip_frames": [chunk.clip_frames.start, chunk.clip_frames.stop],
                "clip_packets": [chunk.clip_packets.start, chunk.clip_packets.stop],
                "clip_bytes": chunk.clip_bytes,
                "fingerprint": fingerprint,
            }
            for chunk, fingerprint in zip(plan.chunks, fingerprints, strict=True)
        ],
        "scans": [{"role": scan.role, "frames": [scan.frames.start, scan.frames.stop]} for scan in plan.scans],
        "compare": _compare_json(plan, inputs),
        "estimate": {
            "job_dir_bytes": need.job_dir_bytes,
            "output_bytes": need.output_bytes,
            "scan_seconds": round(need.scan_seconds, 1),
            "compare_seconds": round(need.compare_seconds, 1),
            "render_seconds": round(need.render_seconds, 1),
        },
    }


def _title(plan: Plan, inputs: Inputs) -> str:
    return f"{len(inputs.ref.index)} ref frames, {len(inputs.clip.index)} clip frames, {len(plan.chunks)} chunks"


def _row(chunk: Chunk, inputs: Inputs) -> tuple[str, ...]:
    ref = inputs.ref.index
    start = float((int(ref.pts[chunk.ref_frames.start]) - int(ref.pts[0])) * ref.time_base)
    return (
        f"{chunk.index:05d}",
        str(chunk.ref_frames),
        timecode(start),
        str(chunk.clip_frames),
        str(chunk.clip_packets),
        f"{chunk.clip_bytes / 1e6:.2f}",
    )


def _compared(plan: Plan, inputs: Inputs, need: Estimate) -> str:
    if inputs.metric is None:
        return ""
    return (
        f"after the solve {inputs.metric.name} compares each of the {len(plan.chunks)} chunks with the clip frames around its "
        f"own, about {need.compare_seconds:.0f} s{' without a GPU' if inputs.metric.on_gpu else ''}; then the map is chosen\n"
    )


def _compare_json(plan: Plan, inputs: Inputs) -> dict[str, Any] | None:
    """The units of the compare stage; None where the signatures decide alone."""
    metric = inputs.metric
    if metric is None:
        return None
    ranges = [[chunk.ref_frames.start, chunk.ref_frames.stop] for chunk in plan.chunks]
    return {"precision": metric.precision, "metric": str(metric), "ref_frames": ranges}


def _slower(inputs: Inputs) -> str:
    """The estimate knows our own estimator only."""
    return "engine rife takes many times longer than said below, above all without a GPU\n" if inputs.weights_sha256 else ""


def _halo(num_frames: int) -> str:
    if not num_frames:
        return ""
    return f"each chunk also observes up to {num_frames} ref frames on each side, so that its warps are steady across cuts\n"


def _estimates(need: Estimate, num_workers: int) -> str:
    return (
        f"about {need.job_dir_bytes / 1e6:.0f} MB in the job directory, {need.output_bytes / 1e6:.0f} MB of output; "
        f"about {need.scan_seconds:.0f} s to scan and {need.render_seconds:.0f} s to render on {num_workers} workers"
    )
