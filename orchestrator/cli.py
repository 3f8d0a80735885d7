"""The command line: flags -> JobConfig -> one call -> exit status. Every failure that we know is one line on stderr.

Exit status: 0 done, 1 some chunks failed (all others are finished and kept), 2 bad input or usage, 130 interrupted (resumable).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator import commands, flags, weightstore
from orchestrator.errors import InterruptedRun
from orchestrator.flags import config_of, map_config_of, where_of
from orchestrator.mapview import MapView
from orchestrator.progress import stderr_line
from vsalign.errors import InputError, VsalignError
from vsalign.published import PublishedWeights

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

weights_app = typer.Typer(
    help="Network weights: which are here, and getting more.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(weights_app, name="weights")


@app.command()
def render(
    clip: Annotated[str, typer.Argument(help="Film that gets moved, or a JOB.toml.")],
    ref: Annotated[str | None, typer.Argument(help="Film it is moved onto.")] = None,
    out: flags.OutOption = None,
    job: flags.JobOption = None,
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
def verify(out: Annotated[str, typer.Argument(help="A rendered film.")], job: flags.JobOption = None) -> None:
    """Check OUT against its job: bytes, number of frames, every PTS."""
    raise typer.Exit(commands.verify(out, job or ""))


@app.command()
def doctor() -> None:
    """Say what this machine can do: versions, cores, GPUs, encoders."""
    raise typer.Exit(commands.doctor())


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where films, output and picture go.")] = Path("demo"),
    pool: flags.PoolOption = None,
) -> None:
    """Make a film of its own, render a damaged copy back onto it, and hold the result against the truth."""
    raise typer.Exit(commands.demo(folder, pool or "ray"))


@app.command("spot-watch")
def spot_watch(
    file: Annotated[
        Path | None, typer.Option("--file", envvar="VSALIGN_DRAIN_FILE", help="Drain when this file appears; SECONDS in it.")
    ] = None,
    node_id: Annotated[str | None, typer.Option("--node-id", help="Ray node to drain [this machine's].")] = None,
    address: Annotated[str | None, typer.Option("--address", help="HOST:PORT of the cluster's head [this machine's].")] = None,
    aws: Annotated[str | None, typer.Option("--aws", help="Metadata service to ask [AWS's own].")] = None,
    gcp: Annotated[str | None, typer.Option("--gcp", help="Metadata service to ask [GCP's own].")] = None,
    every: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between two looks.")] = 2.0,
    drain_on_rebalance: Annotated[bool, typer.Option("--drain-on-rebalance", help="AWS's early advice counts too.")] = False,
) -> None:
    """On a spot machine: wait until the cloud takes it back, tell the Ray cluster, and end."""
    from orchestrator import spotwatch

    plan = spotwatch.WatchPlan(
        file, aws or spotwatch.AWS_METADATA, gcp or spotwatch.GCP_METADATA, every, drain_on_rebalance, node_id, address
    )
    raise typer.Exit(spotwatch.watch(plan, lambda line: print(f"spot-watch: {line}", flush=True)))


@weights_app.command("list")
def weights_list() -> None:
    """Print title and licence of all weights, and where each was found or how to get it."""
    print(weightstore.listing())


@weights_app.command("get")
def weights_get(
    name: Annotated[str, typer.Argument(help="As in `vsalign weights list`.")],
    to: Annotated[Path | None, typer.Option("--to", help="Folder to put the file in [the user's own].")] = None,
    source: Annotated[str, typer.Option("--from", help="URL or file to take it from [its authors' page].")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Agree to the file's terms.")] = False,
) -> None:
    """Fetch a published weights file, after its terms were agreed to."""

    def agree(published: PublishedWeights) -> bool:
        if yes or not sys.stdin.isatty():
            return yes
        stderr_line(f"{published.title} is {published.terms}.")
        return typer.confirm("Fetch it?", err=True)

    print(weightstore.get(name, to, source, agree))


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
