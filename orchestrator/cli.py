"""The command line: flags -> JobConfig -> one call -> exit status. Every failure that we know is one line on stderr.

Exit status: 0 done, 1 some chunks failed (all others are finished and kept), 2 bad input or usage, 130 interrupted (resumable).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator import commands, flags, toolcli
from orchestrator.errors import InterruptedRun
from orchestrator.flags import config_of, map_config_of, where_of
from orchestrator.mapview import MapView
from orchestrator.progress import stderr_line
from vsalign.errors import InputError, VsalignError

INTERRUPTED = 130

app = typer.Typer(
    name="vsalign",
    help="Move one version of a film (CLIP) onto another (REF): every ref frame gets the clip frame of the same moment, "
    "warped so that every pixel lies where the ref has it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.add_typer(toolcli.weights_app, name="weights")
app.command()(toolcli.doctor)
app.command("spot-watch")(toolcli.spot_watch)


@app.command()
def render(
    clip: Annotated[str, typer.Argument(help="Film that gets moved, or a JOB.toml.")],
    ref: Annotated[str | None, typer.Argument(help="Film it is moved onto.")] = None,
    out: flags.OutOption = None,
    job: flags.JobOption = None,
    deinterlace: flags.Deinterlace = None,
    detelecine: flags.Detelecine = False,
    fields_of: flags.FieldsOf = None,
    keep_interlaced: flags.KeepInterlaced = False,
    on_corrupt: flags.OnCorrupt = None,
    hwaccel: flags.Hwaccel = None,
    no_sync: flags.NoSync = False,
    offset: flags.Offset = None,
    frame_map: flags.MapOption = None,
    tr: flags.Radius = None,
    sync_precision: flags.SyncPrecision = None,
    sync_select: flags.SyncSelect = None,
    force: flags.Force = False,
    no_warp: flags.NoWarp = False,
    precision: flags.Precision = None,
    smooth_time: flags.SmoothTime = None,
    mask: flags.Mask = None,
    mismatch: flags.Mismatch = None,
    wide_search: flags.WideSearch = False,
    lq_input: flags.LqInput = False,
    iterations: flags.Iterations = None,
    engine: flags.Engine = None,
    weights: flags.Weights = None,
    unmatched: flags.Unmatched = None,
    fallback: flags.Fallback = None,
    codec: flags.Codec = None,
    crf: flags.Crf = None,
    preset: flags.Preset = None,
    encoder_opt: flags.EncoderOpt = None,
    pix_fmt: flags.PixFmt = None,
    encode_threads: flags.EncodeThreads = None,
    audio: flags.Audio = None,
    streams: flags.Streams = None,
    map_stream: flags.MapStream = None,
    overwrite: flags.Overwrite = False,
    clean: flags.Clean = False,
    pool: flags.PoolOption = None,
    address: flags.Address = None,
    workers: flags.Workers = None,
    cores_per_worker: flags.Cores = None,
    gpu_fraction: flags.GpuFraction = None,
    device: flags.Device = None,
    chunk_frames: flags.ChunkFrames = None,
    stall_seconds: flags.StallSeconds = None,
    start_timeout: flags.StartTimeout = None,
    steal: flags.Steal = False,
    allow_truncated: flags.Truncated = False,
    quiet: flags.Quiet = False,
) -> None:
    """Render CLIP onto REF (or the job in JOB.toml) into OUT; a repeated call does only what is missing or stale."""
    raise typer.Exit(commands.render(config_of(locals())))


@app.command()
def plan(
    clip: Annotated[str, typer.Argument(help="Film that gets moved, or a JOB.toml.")],
    ref: Annotated[str | None, typer.Argument(help="Film it is moved onto.")] = None,
    out: flags.OutOption = None,
    deinterlace: flags.Deinterlace = None,
    detelecine: flags.Detelecine = False,
    fields_of: flags.FieldsOf = None,
    keep_interlaced: flags.KeepInterlaced = False,
    offset: flags.Offset = None,
    tr: flags.Radius = None,
    sync_precision: flags.SyncPrecision = None,
    sync_select: flags.SyncSelect = None,
    no_sync: flags.NoSync = False,
    no_warp: flags.NoWarp = False,
    precision: flags.Precision = None,
    smooth_time: flags.SmoothTime = None,
    mask: flags.Mask = None,
    mismatch: flags.Mismatch = None,
    wide_search: flags.WideSearch = False,
    lq_input: flags.LqInput = False,
    iterations: flags.Iterations = None,
    engine: flags.Engine = None,
    weights: flags.Weights = None,
    codec: flags.Codec = None,
    crf: flags.Crf = None,
    pool: flags.PoolOption = None,
    workers: flags.Workers = None,
    cores_per_worker: flags.Cores = None,
    chunk_frames: flags.ChunkFrames = None,
    allow_truncated: flags.Truncated = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show chunks, what each reads, and estimates of disk and time; writes nothing."""
    raise typer.Exit(commands.plan(config_of({**locals(), "out": out or _unnamed(clip)}), json_output))


@app.command()
def sync(
    clip: flags.ClipArg,
    ref: flags.RefArg,
    out: flags.MapOut = None,
    plot: flags.Plot = None,
    edits: flags.Edits = False,
    frame_map: flags.MapIn = None,
    job: flags.JobOption = None,
    deinterlace: flags.Deinterlace = None,
    detelecine: flags.Detelecine = False,
    fields_of: flags.FieldsOf = None,
    keep_interlaced: flags.KeepInterlaced = False,
    on_corrupt: flags.OnCorrupt = None,
    hwaccel: flags.Hwaccel = None,
    tr: flags.Radius = None,
    sync_precision: flags.MapPrecision = None,
    sync_select: flags.MapSelect = None,
    offset: flags.Offset = None,
    force: flags.Force = False,
    overwrite: flags.Overwrite = False,
    pool: Annotated[str | None, typer.Option("--pool", help="ray or local [local for short films, else ray].")] = None,
    address: flags.Address = None,
    workers: flags.Workers = None,
    device: flags.Device = None,
    allow_truncated: flags.Truncated = False,
    quiet: flags.Quiet = False,
) -> None:
    """Write the frame map of CLIP and REF as CSV: ref_frame, clip_frame, cost, confidence, source."""
    view = MapView(plot or "", edits, write=out is not None)
    raise typer.Exit(commands.sync(map_config_of(locals()), pool is None, view))


@app.command()
def resume(
    job_dir: flags.JobDirArg,
    pool: flags.PoolOption = None,
    address: flags.Address = None,
    workers: flags.Workers = None,
    cores_per_worker: flags.Cores = None,
    gpu_fraction: flags.GpuFraction = None,
    device: flags.Device = None,
    stall_seconds: flags.StallSeconds = None,
    start_timeout: flags.StartTimeout = None,
    hwaccel: flags.Hwaccel = None,
    steal: flags.Steal = False,
    quiet: flags.Quiet = False,
) -> None:
    """Go on with the job of JOBDIR where it stopped, on the same workers as before or on others."""
    raise typer.Exit(commands.resume(job_dir, where_of(locals())))


@app.command()
def status(
    job_dir: Annotated[str, typer.Argument(help="Job directory, a folder or the address of one (s3://, gs://).")],
    watch: Annotated[bool, typer.Option("--watch", help="Go on until it is published (0) or nobody is at work (1).")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON; with --watch a line per change.")] = False,
) -> None:
    """Say how far the job of JOBDIR is, from its directory alone; on any machine that sees it."""
    raise typer.Exit(commands.status(job_dir, json_output, watch))


@app.command()
def report(
    job_dir: flags.JobDirArg,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the report of the last run in JOBDIR."""
    raise typer.Exit(commands.report(job_dir, json_output))


@app.command()
def verify(
    out: Annotated[str, typer.Argument(help="A rendered film.")],
    job: flags.JobOption = None,
    full: Annotated[bool, typer.Option("--full", help="Decode at every seam, not at some of them.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check OUT against its job: frames, times, streams, colour, the pictures where segments meet."""
    raise typer.Exit(commands.verify(out, job or "", full, json_output))


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where films, output and picture go.")] = Path("demo"),
    pool: flags.PoolOption = None,
) -> None:
    """Make a film of its own, render a damaged copy back onto it, and hold the result against the truth."""
    raise typer.Exit(commands.demo(folder, pool or "ray"))


def main() -> None:
    """Entry point of the console script."""
    status = run(sys.argv[1:])
    if status == INTERRUPTED:
        # A chunk may still run in a thread of native code, which aborts when the interpreter is taken down around it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """The exit status of ``vsalign ARGUMENTS``; known failures become one line on stderr."""
    try:
        # Commands end in typer.Exit, whose status comes back here because standalone_mode is off.
        return int(app(arguments or ["--help"], prog_name="vsalign", standalone_mode=False) or 0)
    except typer.TyperException as error:
        stderr_line(f"vsalign: {' '.join(error.format_message().split())} (--help lists what is accepted)")
        return 2
    except (VsalignError, OSError, KeyboardInterrupt, typer.Abort) as error:
        stderr_line(f"vsalign: {' '.join(str(error).split()) or 'interrupted; what is finished is kept'}")
        return _status_of(error)


def _status_of(error: BaseException) -> int:
    if isinstance(error, InputError):
        return 2
    return 1 if isinstance(error, (VsalignError, OSError)) and not isinstance(error, InterruptedRun) else INTERRUPTED


def _unnamed(clip: str) -> str | None:
    """A plan needs no output; a job file names one."""
    return None if clip.endswith(".toml") else "OUT.mkv"


if __name__ == "__main__":
    main()
