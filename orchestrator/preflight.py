"""Everything that can be found wrong before work begins. Nothing here writes: each fault is an InputError of one line."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from orchestrator.config import AlignConfig, JobConfig
from orchestrator.estimate import Estimate
from orchestrator.inputs import Inputs
from tasks.codecs import container_of
from tasks.encode import check_output, choose_pixel_format
from tasks.errors import StitchError
from tasks.formats import planar_format
from tasks.joinplan import check_times
from tasks.messages import MediaInfo, Probe, VideoFormat
from tasks.metrics import find_metric
from tasks.probe import parse_source, probe
from tasks.sound import check_sound
from tasks.stitch import check_audio
from tasks.store import file_sha256
from vsalign.errors import InputError
from vsalign.framemap import FrameMap
from vsalign.picture import MATRIX_UNSPECIFIED, usual_matrix

#: Pictures that --plot draws.
PLOT_SUFFIXES = (".png", ".svg")


def look_at_inputs(config: JobConfig, out_may_exist: bool = False) -> Inputs:
    """Probe the sources and check all settings against them and against the output. Raises InputError."""
    check_out_path(config, out_may_exist)
    inputs = look_at_sources(config)
    settings, video = config.encode.settings(), inputs.video
    check_output(settings.codec, config.out, video.width, video.height, inputs.pixel_format, settings)
    try:
        check_times(inputs.ref.index.pts, inputs.ref.index.time_base, container_of(config.out))
    except StitchError as error:
        raise InputError(f"{config.out}: {error}") from None
    _check_audio(config, inputs)
    return inputs


def _check_audio(config: JobConfig, inputs: Inputs) -> None:
    if config.output.audio == "none":
        return
    info = (inputs.ref if config.output.audio == "ref" else inputs.clip).info
    if config.output.audio == "clip" and not info.has_audio:
        raise InputError(f"--audio clip: {config.clip} has no audio; accepted: ref or none")
    if config.output.audio == "clip":
        check_sound(info.source.path, config.out)
    else:
        check_audio(info, config.out)


def look_at_sources(config: JobConfig) -> Inputs:
    """Probe the sources and see what they ask of the output's format. Raises InputError."""
    ref = _probe(config.ref, config)
    lines = ref.info.height
    clip = _with_matrix(_probe(config.clip, config), lines)
    fallback = _with_matrix(_probe(config.align.fallback, config), lines) if config.align.fallback else None
    if fallback is not None and len(fallback.index) != len(ref.index):
        raise InputError(
            f"--fallback {config.align.fallback} has {len(fallback.index)} frames; accepted: as many as ref, {len(ref.index)}"
        )
    mask = _probe_mask(config) if config.align.mask else None
    mask_sha256 = file_sha256(Path(mask.info.source.path)) if mask else ""
    weights, sha256 = find_rife_weights(config.align)
    metric = find_metric(config.sync.precision, config.run.device) if config.sync.mode == "auto" else None
    settings = config.encode.settings()
    pixel_format, notice = choose_pixel_format(settings.codec, settings.pixel_format or clip.info.pixel_format)
    notices = (notice, *_notices(clip, ref, config))
    video = video_format(clip.info, ref.info)
    told = tuple(line for line in notices if line)
    return Inputs(clip, ref, fallback, video, pixel_format, told, mask, mask_sha256, weights, sha256, metric)


def video_format(clip: MediaInfo, ref: MediaInfo) -> VideoFormat:
    """The output's format: ref's size, shape of pixels and rate; the clip's colour, since the samples are the clip's."""
    rate = ref.average_rate.limit_denominator(1001) if ref.average_rate > 0 else Fraction(25)
    return VideoFormat(ref.width, ref.height, rate, ref.sample_aspect_ratio, clip.colour)


def check_out_path(config: JobConfig, out_may_exist: bool) -> None:
    """OUT lies in a folder we can write, is none of the inputs, and does not exist unless it may."""
    _check_target(config, Path(config.out), out_may_exist, _existing(config.job_dir))


def check_plot_path(config: JobConfig, plot: str) -> None:
    """The same for a picture of the frame map, which may not be the map either."""
    path = Path(plot)
    if path.suffix.lower() not in PLOT_SUFFIXES:
        raise InputError(f"--plot {plot}: accepted is a path that ends in {' or '.join(PLOT_SUFFIXES)}")
    for name, given in (("OUT", config.out), ("the frame map", config.sync.frame_map)):
        if given and _same_file(given, path):
            raise InputError(f"--plot {plot} is {name} itself; accepted: another file")
    _check_target(config, path, False)


def _check_target(config: JobConfig, out: Path, out_may_exist: bool, *folders: Path) -> None:
    """``out`` can be written and is no input; ``folders``: others that must be writable."""
    if not out.parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} does not exist; accepted: a path in an existing folder")
    if out.is_dir():
        raise InputError(f"{out} is a folder; accepted: the path of a file")
    for name, given in (
        ("CLIP", config.clip),
        ("REF", config.ref),
        ("FALLBACK", config.align.fallback),
        ("MASK", config.align.mask),
    ):
        if given and _same_file(parse_source(given).path, out):
            raise InputError(f"{out} is {name} itself; accepted: another file")
    for folder in (out.parent, *folders):
        if not os.access(folder, os.W_OK) or _read_only_mount(folder):
            raise InputError(f"{out}: the folder {folder} is read-only; accepted: a folder that can be written")
    if out.exists() and not (config.output.overwrite or out_may_exist):
        raise InputError(f"{out} exists; --overwrite replaces it")


def check_disk(config: JobConfig, need: Estimate) -> None:
    """The disks of the job directory and of OUT have room for what is still missing. Raises InputError."""
    out_folder, job_folder = Path(config.out).parent, _existing(config.job_dir)
    still = max(need.job_dir_bytes - _bytes_in(config.job_dir), 0)
    needs: dict[int, tuple[Path, int]] = {}
    for folder, size in ((job_folder, still), (out_folder, need.output_bytes if still else 0)):
        device = os.stat(folder).st_dev
        needs[device] = (folder, needs.get(device, (folder, 0))[1] + size)
    for folder, size in needs.values():
        free = shutil.disk_usage(folder).free
        if free < size:
            raise InputError(
                f"the disk of {folder} has {free / 1e9:.1f} GB free and the job needs about {size / 1e9:.1f} GB; "
                f"free some, or put OUT or --job elsewhere"
            )


def _bytes_in(job_dir: Path) -> int:
    """Bytes of results that a job has already."""
    results = (path for folder in ("scan", "costs", "seg") for path in (job_dir / folder).glob("*"))
    return sum(path.stat().st_size for path in results)


def load_frame_map(config: JobConfig, num_ref: int, num_clip: int) -> FrameMap:
    """The user's own frame map. Raises InputError naming file and line."""
    path = Path(config.sync.frame_map)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--frame-map {path}: can't be read ({error})") from None
    try:
        return FrameMap.from_csv(text, num_ref, num_clip)
    except InputError as error:
        raise InputError(f"--frame-map {path}: {error}") from None


def _probe(given: str, config: JobConfig) -> Probe:
    source = parse_source(given)
    # Absolute, so that workers find it wherever they were started, and FFmpeg takes no ":" in a name for a protocol.
    found = probe(replace(source, path=os.path.abspath(source.path)), config.run.allow_truncated)
    if found.info.rotation_degrees:
        raise InputError(
            f"{given} is turned by {found.info.rotation_degrees} degrees by its player; accepted: films stored upright "
            f"(re-encode it turned, or remove the rotation tag)"
        )
    return found


def _probe_mask(config: JobConfig) -> Probe:
    try:
        return _probe(config.align.mask, config)
    except InputError as error:
        raise InputError(f"--mask {error}; accepted: a picture or a film") from None


def find_rife_weights(align: AlignConfig) -> tuple[str, str]:
    """Where the engine's weights lie, "" for inside its package, and their hash; read once, so that a wrong file shows here."""
    if align.engine != "rife" or not align.warp:
        return "", ""
    from vsalign.weights import RIFE_4_14, find_weights, load_tensors

    try:
        path = find_weights(RIFE_4_14, align.weights)
        load_tensors(RIFE_4_14, path)
    except InputError as error:
        raise InputError(f"--engine rife: {error}") from None
    return str(path) if align.weights else "", RIFE_4_14.sha256


def _with_matrix(found: Probe, out_lines: int) -> Probe:
    """A YUV film without a matrix tag is read by its height; where the output's height would read it otherwise, say it."""
    info = found.info
    read_as = usual_matrix(info.height)
    untagged = info.colour.matrix == MATRIX_UNSPECIFIED and planar_format(info.pixel_format).family == "yuv"
    if not untagged or read_as == usual_matrix(out_lines):
        return found
    colour = replace(info.colour, matrix=read_as)
    return replace(found, info=replace(info, colour=colour))


def _notices(clip: Probe, ref: Probe, config: JobConfig) -> list[str]:
    lines = []
    if config.output.audio == "ref" and not ref.info.has_audio:
        lines.append("ref has no audio; the output will be silent (--audio clip takes the clip's)")
    for name, info in (("clip", clip.info), ("ref", ref.info)):
        if info.truncated:
            lines.append(f"{name} is truncated: it {info.truncated}; the frames that are there are used")
        if info.field_order not in {"progressive", "unknown", ""}:
            lines.append(f"{name} is tagged interlaced ({info.field_order}); its frames are used as they are, fields woven")
    if config.align.warp is False and (clip.info.width, clip.info.height) != (ref.info.width, ref.info.height):
        lines.append(f"clip is scaled from {clip.info.width}x{clip.info.height} to {ref.info.width}x{ref.info.height}")
    return lines


def _same_file(one: str, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.abspath(one) == os.path.abspath(other)


def _read_only_mount(folder: Path) -> bool:
    """root may write anywhere as far as os.access knows; a read-only mount refuses it all the same."""
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY) or not folder.stat().st_mode & 0o222


def _existing(folder: Path) -> Path:
    while not folder.is_dir():
        folder = folder.parent
    return folder
