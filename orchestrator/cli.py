"""The command line: flags -> JobConfig -> one call -> exit status. Every failure that we know is one line on stderr.

Exit status: 0 done, 1 some chunks failed (all others are finished and kept), 2 bad input or usage, 130 interrupted (resumable).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator import commands
from orchestrator.config import job_config, load_job_file, merge
from orchestrator.errors import InterruptedRun
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

ClipArg = Annotated[str, typer.Argument(help="Film that gets moved; film.mkv#v:1 is its second video stream.")]
RefArg = Annotated[str, typer.Argument(help="Film it is moved onto.")]
OutOption = Annotated[str | None, typer.Option("-o", "--out", help="Output: .mkv, .mp4 or .mov.")]
JobOption = Annotated[str | None, typer.Option("--job", help="Job directory [OUT.vsalign].")]
NoSync = Annotated[bool, typer.Option("--no-sync", help="Clip frame = ref frame.")]
Offset = Annotated[int | None, typer.Option("--offset", help="No search: clip frame = expected frame + N.")]
MapOption = Annotated[str | None, typer.Option("--frame-map", help="Your own map: CSV with ref_frame, clip_frame.")]
Radius = Annotated[int | None, typer.Option("--tr", help="Temporal radius: clip frames searched on each side [20].")]
Force = Annotated[bool, typer.Option("--force", help="Go on although clip and ref seem to have nothing in common.")]
NoWarp = Annotated[bool, typer.Option("--no-warp", help="Leave geometry alone but for scaling to ref's size.")]
Precision = Annotated[int | None, typer.Option("--precision", help="1 (fastest) to 4 (most exact) [2].")]
Unmatched = Annotated[str | None, typer.Option("--unmatched", help="Without counterpart: hold, ref, fallback, black [hold].")]
Fallback = Annotated[str | None, typer.Option("--fallback", help="Film for --unmatched fallback, frame for frame with ref.")]
Codec = Annotated[str | None, typer.Option("--codec", help="libx264, libx265, libsvtav1, ffv1, prores_ks [libx264].")]
Crf = Annotated[float | None, typer.Option("--crf", help="Quality, lower is better [libx264: 16].")]
Preset = Annotated[str | None, typer.Option("--preset", help="The codec's own presets.")]
EncoderOpt = Annotated[list[str] | None, typer.Option("--encoder-opt", help="k=v, handed to the encoder; repeatable.")]
PixFmt = Annotated[str | None, typer.Option("--pix-fmt", help="Pixel format [the clip's].")]
EncodeThreads = Annotated[int | None, typer.Option("--encode-threads", help="Encoder threads; the bytes depend on it [2].")]
Audio = Annotated[str | None, typer.Option("--audio", help="ref, clip or none [ref].")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")]
Clean = Annotated[bool, typer.Option("--clean", help="Delete the segments once OUT is verified.")]
PoolOption = Annotated[str | None, typer.Option("--pool", help="ray or local (this process) [ray].")]
Address = Annotated[str | None, typer.Option("--address", help="Join the Ray cluster at this address.")]
Workers = Annotated[int | None, typer.Option("--workers", help="Workers [one per GPU, or per group of cores].")]
Cores = Annotated[int | None, typer.Option("--cores-per-worker", help="CPU cores that one worker books [1].")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda [auto].")]
ChunkFrames = Annotated[int | None, typer.Option("--chunk-frames", help="Ref frames per chunk [48 to 720, by key frames].")]
Truncated = Annotated[bool, typer.Option("--allow-truncated", help="Use what is there of a truncated file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


@app.command()
def render(
    clip: Annotated[str, typer.Argument(help="Film that gets moved, or a JOB.toml.")],
    ref: Annotated[str | None, typer.Argument(help="Film it is moved onto.")] = None,
    out: OutOption = None,
    job: JobOption = None,
    no_sync: NoSync = False,
    offset: Offset = None,
    frame_map: MapOption = None,
    tr: Radius = None,
    force: Force = False,
    no_warp: NoWarp = False,
    precision: Precision = None,
    unmatched: Unmatched = None,
    fallback: Fallback = None,
    codec: Codec = None,
    crf: Crf = None,
    preset: Preset = None,
    encoder_opt: EncoderOpt = None,
    pix_fmt: PixFmt = None,
    encode_threads: EncodeThreads = None,
    audio: Audio = None,
    overwrite: Overwrite = False,
    clean: Clean = False,
    pool: PoolOption = None,
    address: Address = None,
    workers: Workers = None,
    cores_per_worker: Cores = None,
    device: Device = None,
    chunk_frames: ChunkFrames = None,
    allow_truncated: Truncated = False,
    quiet: Quiet = False,
) -> None:
    """Render CLIP onto REF (or the job in JOB.toml) into OUT; a repeated call does only what is missing or stale."""
    raise typer.Exit(commands.render(_config(locals())))


@app.command()
def plan(
    clip: Annotated[str, typer.Argument(help="Film that gets moved, or a JOB.toml.")],
    ref: Annotated[str | None, typer.Argument(help="Film it is moved onto.")] = None,
    out: OutOption = None,
    offset: Offset = None,
    tr: Radius = None,
    no_sync: NoSync = False,
    no_warp: NoWarp = False,
    precision: Precision = None,
    codec: Codec = None,
    crf: Crf = None,
    pool: PoolOption = None,
    workers: Workers = None,
    cores_per_worker: Cores = None,
    chunk_frames: ChunkFrames = None,
    allow_truncated: Truncated = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show chunks, what each reads, and estimates of disk and time; writes nothing."""
    raise typer.Exit(commands.plan(_config({**locals(), "out": out or _unnamed(clip)}), json_output))


@app.command()
def sync(
    clip: ClipArg,
    ref: RefArg,
    out: Annotated[str, typer.Option("-o", "--out", help="Frame map to write (CSV).")],
    job: JobOption = None,
    tr: Radius = None,
    offset: Offset = None,
    force: Force = False,
    overwrite: Overwrite = False,
    pool: Annotated[str | None, typer.Option("--pool", help="ray or local [local for short films, else ray].")] = None,
    address: Address = None,
    workers: Workers = None,
    allow_truncated: Truncated = False,
    quiet: Quiet = False,
) -> None:
    """Write the frame map of CLIP and REF as CSV: ref_frame, clip_frame, cost, confidence, source."""
    raise typer.Exit(commands.sync(_config(locals()), pool is None))


@app.command()
def resume(job_dir: Annotated[Path, typer.Argument(help="Job directory.")], quiet: Quiet = False) -> None:
    """Go on with the job of JOBDIR where it stopped."""
    raise typer.Exit(commands.resume(job_dir, quiet))


@app.command()
def status(
    job_dir: Annotated[Path, typer.Argument(help="Job directory.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how far the job of JOBDIR is, from its directory alone."""
    raise typer.Exit(commands.status(job_dir, json_output))


@app.command()
def report(
    job_dir: Annotated[Path, typer.Argument(help="Job directory.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the report of the last run in JOBDIR."""
    raise typer.Exit(commands.report(job_dir, json_output))


@app.command()
def verify(out: Annotated[Path, typer.Argument(help="A rendered film.")], job: JobOption = None) -> None:
    """Check OUT against its job: bytes, number of frames, every PTS."""
    raise typer.Exit(commands.verify(out, Path(job) if job else None))


@app.command()
def doctor() -> None:
    """Say what this machine can do: versions, cores, GPUs, encoders."""
    raise typer.Exit(commands.doctor())


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where films, output and picture go.")] = Path("demo"),
    pool: PoolOption = None,
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
        stderr_line(f"vsalign: {error} (--help lists what is accepted)")
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


#: Which flag goes to which table of the job file, under which key.
_FLAGS = {
    "sync": ("offset", "frame_map", "tr", "force"),
    "align": ("precision", "unmatched", "fallback"),
    "output": ("audio", "overwrite", "clean"),
    "run": ("pool", "address", "workers", "cores_per_worker", "device", "chunk_frames", "allow_truncated", "job", "quiet"),
    "encode": ("codec", "crf", "preset"),
}
_RENAMED = {"pix_fmt": "pixel_format", "encode_threads": "threads"}


def _config(flags: dict[str, Any]) -> Any:
    """The job that the flags describe, over that of a JOB.toml when the first argument is one."""
    clip, ref, out = flags["clip"], flags.get("ref"), flags.get("out")
    base: dict[str, Any] = {}
    if clip.endswith(".toml") and ref is None:
        base, where = load_job_file(Path(clip)), clip
    else:
        where = "vsalign"
        if ref is None:
            raise InputError("REF is missing; wanted: vsalign render CLIP REF -o OUT, or vsalign render JOB.toml")
        base = {"clip": clip, "ref": ref}
        if out is None:
            raise InputError("-o OUT is missing; wanted: the path of the output, .mkv, .mp4 or .mov")
    values = merge(base, {"out": out} if out is not None else {})
    return job_config(merge(values, _tables(flags)), where)


def _tables(flags: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Only what was given: a flag that was not set leaves the job file's value alone."""
    tables: dict[str, dict[str, Any]] = {
        table: {key: flags[key] for key in keys if _given(flags, key)} for table, keys in _FLAGS.items()
    }
    for flag, key in _RENAMED.items():
        if flags.get(flag) is not None:
            tables["encode"][key] = flags[flag]
    if flags.get("encoder_opt"):
        tables["encode"]["options"] = dict(_option(text) for text in flags["encoder_opt"])
    if flags.get("no_warp"):
        tables["align"]["warp"] = False
    modes = [mode for flag, mode in (("no_sync", "none"), ("offset", "offset"), ("frame_map", "map")) if _given(flags, flag)]
    if len(modes) > 1:
        raise InputError("--no-sync, --offset and --frame-map exclude each other; accepted: one of them")
    if modes:
        tables["sync"] |= {"mode": modes[0], "frame_map": flags.get("frame_map") or ""}
    return {table: values for table, values in tables.items() if values}


def _given(flags: dict[str, Any], flag: str) -> bool:
    """0 is a value that was given; None and an unset switch are not."""
    value = flags.get(flag)
    return value is not None and value is not False


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InputError(f"--encoder-opt {text!r}; accepted: key=value")
    return key, value


if __name__ == "__main__":
    main()
